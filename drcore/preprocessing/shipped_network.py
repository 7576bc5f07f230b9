"""Small networks that come with the package: read, checked, and compiled by OpenVINO."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcore.errors import CheckpointError

__all__ = ["load_shipped"]


def load_shipped(
    name: str,
    graph: Callable[[Mapping[str, NDArray[np.floating]]], Any],
    figures: Sequence[str],
    damaged: str,
    **settings: Any,
) -> tuple[Any, list[float]]:
    """Read a network of `drcore/weights` and compile it for processors, in float32.

    Args:
        name: of its files, `NAME.json` and `NAME.safetensors`.
        graph: makes an `openvino.Model` of the weights.
        figures: numbers to read from the manifest.
        damaged: sentence for files that are missing or damaged.
        **settings: further ones of OpenVINO.

    Returns:
        The compiled network, and the figures in their order.

    Raises:
        CheckpointError: the files are missing or damaged.
    """
    # Its converter can report its use over the network; without its sender it is a stub.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino
    from safetensors.numpy import load

    folder = Path(str(resources.files("drcore"))) / "weights"
    try:
        manifest = json.loads((folder / f"{name}.json").read_text("utf-8"))
        data = (folder / f"{name}.safetensors").read_bytes()
        intact = hashlib.sha256(data).hexdigest() == manifest["sha256"]
        model = graph(load(data))
        numbers = [float(manifest[figure]) for figure in figures]
    except Exception as error:
        raise CheckpointError(damaged) from error
    if not intact:
        raise CheckpointError(damaged)
    exact = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
    return openvino.Core().compile_model(model, "CPU", exact | settings), numbers
