"""Running a bundle's networks on a device: squares in, scores and maps out.

An eye and its mirror image have one grade: the mean of both is steadier, and so is the map, of
which it remains the mean. Where the manifest says so, a square goes through its network twice.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drcore.model.network import RamNetwork
from drcore.maps.fusion import covered_mean
from drcore.model.link import Link, in_grades
from drcore.model.openvino_graph import graph

__all__ = ["OpenVinoRunner", "Predictions", "Runner", "Squares", "TorchRunner", "open_runner"]


Squares = dict[int, NDArray[np.float32]]
"""Of one photograph, by input size: network input (3, S, S), or coverage of its map (m, m)."""

Predictions = dict[int, tuple[float, NDArray[np.float32]]]
"""Of one photograph, by input size, ascending: score in grades, and map (m, m) in grades."""

_STREAMS = 8
"""Most networks that run at once; each keeps memory for its activations, about 60 MiB at 512 px."""


class Runner(Protocol):
    """Runs the networks of a bundle; safe to share between threads.

    Attributes:
        prefers_single: True where one photograph at a time is fastest, also from several threads;
            False where photographs should go through the networks together.
    """

    prefers_single: bool

    def run(self, inputs: Sequence[Squares], coverage: Sequence[Squares]) -> list[Predictions]:
        """Grade squares.

        Args:
            inputs: for each photograph and input size float32 (3, S, S), normalised.
            coverage: the same with float32 (m, m), 0-1, how much of each cell is retina.

        Returns:
            Scores and maps of each photograph.

        Raises:
            RuntimeError: the device cannot run them (out of memory, a lost device).
        """
        ...


def open_runner(networks: Mapping[int, RamNetwork], device: str) -> Runner:
    """Make networks ready for a device.

    Args:
        networks: by input size in pixels, in evaluation mode.
        device: "cpu" or "cuda".

    Returns:
        Compiled networks on a CPU that has OpenVINO, else the networks as they are.
    """
    if device == "cpu" and importlib.util.find_spec("openvino") is not None:
        if _FORKED.is_set() and "openvino" in sys.modules:
            return TorchRunner(networks, device)  # the threads of OpenVINO are gone: it would hang
        return OpenVinoRunner(networks)
    return TorchRunner(networks, device)


_FORKED = threading.Event()
"""Set in a process that was forked from one that had loaded this module."""


def _after_fork() -> None:
    """Work on one core: to share work with the threads of the parent would wait for ever."""
    _FORKED.set()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class TorchRunner:
    """The networks as PyTorch runs them: on a GPU, and where there is no compiler.

    Args:
        networks: by input size in pixels, in evaluation mode, on the device.
        device: "cpu" or "cuda".
    """

    prefers_single = False

    def __init__(self, networks: Mapping[int, RamNetwork], device: str) -> None:
        self._networks = dict(sorted(networks.items()))
        self._device = device
        # One forward pass at a time: two would only fight for the same cores and memory.
        self._lock = threading.Lock()

    def run(self, inputs: Sequence[Squares], coverage: Sequence[Squares]) -> list[Predictions]:
        """See `Runner.run`."""
        import torch

        def carried(squares: list[NDArray[np.float32]]) -> torch.Tensor:
            stacked = torch.from_numpy(np.stack(squares))
            if self._device == "cpu":
                return stacked
            return stacked.pin_memory().to(self._device, non_blocking=True)

        # On a CPU larger groups only fall out of its cache.
        group = 1 if self._device == "cpu" else len(inputs)
        answers: list[Predictions] = [{} for _ in inputs]
        with self._lock, torch.inference_mode():
            for size, network in self._networks.items():
                for first in range(0, len(inputs), group):
                    part = slice(first, first + group)
                    squares = carried([item[size] for item in inputs[part]])
                    squares = squares.to(memory_format=torch.channels_last)
                    passes = [network.features(squares).cpu().numpy()]
                    if network.mirrored:
                        passes.append(network.features(squares.flip(3)).cpu().numpy()[..., ::-1])
                    for index, features in enumerate(zip(*passes, strict=True), start=first):
                        answers[index][size] = _answer(network, features, coverage[index][size])
        return answers


class OpenVinoRunner:
    """The networks compiled by OpenVINO for this machine's CPU.

    In float32; in bfloat16 where the processor has it and the network says that its scores hold.

    In a forked process they run in PyTorch, on one core: OpenVINO does not survive a fork.

    Args:
        networks: by input size in pixels, in evaluation mode.
    """

    prefers_single = True

    def __init__(self, networks: Mapping[int, RamNetwork]) -> None:
        # The compiler's converter, which we do not use, can report its use over the network.
        # Nothing in a process that holds photographs may: without its sender it is a stub.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino

        self._networks = networks
        self._process = os.getpid()
        self._forked: TorchRunner | None = None
        cores = _cores()
        core = openvino.Core()
        settings = {
            # A core a stream: several photographs, sizes or mirror images run side by side and
            # never wait for each other, as threads within one small convolution would.
            "INFERENCE_NUM_THREADS": cores,
            "NUM_STREAMS": min(cores, _STREAMS),
            "ENABLE_CPU_PINNING": False,  # other programs have these cores too
        }
        quick = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")

        def compiled(network: RamNetwork) -> Any:
            hint = "bf16" if quick and network.precision == "bfloat16" else "f32"
            given = {**settings, "INFERENCE_PRECISION_HINT": hint}
            return core.compile_model(graph(network), "CPU", given)

        # The largest first, in which order they are run: the small ones fill the gaps.
        self._models = {
            size: compiled(network) for size, network in sorted(networks.items(), reverse=True)
        }

    def run(self, inputs: Sequence[Squares], coverage: Sequence[Squares]) -> list[Predictions]:
        """See `Runner.run`."""
        if os.getpid() != self._process:
            self._forked = self._forked or TorchRunner(self._networks, "cpu")
            return self._forked.run(inputs, coverage)
        return [self._run(*of_one) for of_one in zip(inputs, coverage, strict=True)]

    def _run(self, inputs: Squares, coverage: Squares) -> Predictions:
        begun = []
        for size, model in self._models.items():
            for step in (1, -1) if self._networks[size].mirrored else (1,):
                given = np.ascontiguousarray(inputs[size][None, ..., ::step])
                request = model.create_infer_request()
                request.start_async([given], share_inputs=True)
                begun.append((size, step, request, given))  # what is shared must stay alive
        passes: dict[int, list[NDArray[np.float32]]] = {}
        for size, step, request, _ in begun:
            request.wait()
            features = request.get_output_tensor(0).data[0]
            passes.setdefault(size, []).append(features[..., ::step])
        return {
            size: _answer(self._networks[size], features, coverage[size])
            for size, features in sorted(passes.items())
        }


def _answer(
    network: RamNetwork, passes: Sequence[NDArray[np.float32]], coverage: NDArray[np.float32]
) -> tuple[float, NDArray[np.float32]]:
    """Score and map from the feature maps (K, m, m) of the square and of its mirror image."""
    weight = network.linear.weight[0].cpu().numpy()
    bias = float(network.linear.bias)
    cells = [np.tensordot(weight, features, axes=1) for features in passes]
    if isinstance(network.link, Link):
        evidence = [np.logaddexp(0, ram.astype(np.float64) + bias) for ram in cells]
        return in_grades(np.mean(evidence, axis=0), coverage, network.link)
    ram = np.asarray(np.mean(cells, axis=0), np.float32)
    mean, level = covered_mean(ram, coverage), float(network.level)
    ram += np.float32(level)
    if network.link is None:
        return mean + bias, ram
    ram *= np.float32(network.link.factor(mean + level, bias - level))
    return float(network.link.score(mean + bias)), ram


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
