"""Models of other packages, found by the entry point `drcore.models`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from drcore.errors import CheckpointError, DrcoreError
from drcore.grading.grader import Grader
from drcore.grading.report import SQUARE
from drcore.model.bundle import Bundle, bundled_folder
from drcore.model.calibration import GradeCalibration
from drcore.model.inference import Predictions, Squares
from drcore.model.manifest import read_manifest
from drcore.preprocessing.network_input import Preprocessing
from drcore.preprocessing.retina_square import RetinaSquare
from drcore.text import one_line

__all__ = ["GROUP", "Model", "installed_models", "open_grader", "version_and_certainty"]

GROUP = "drcore.models"
"""Group of the entry points: `my-net = "my_package:load"` in a package's metadata."""

PLAIN_THRESHOLDS = (0.5, 1.5, 2.5, 3.5)


class Model(Protocol):
    """A network of another package; an entry point names a function that returns it.

    It may also have `version` (that of its package where left out) and `thresholds`, the four
    scores at which grades 1 to 4 begin (0.5, 1.5, 2.5 and 3.5 where left out). Both methods are
    called from several threads.

    Attributes:
        name: what reports call it.
        scales: input sizes in pixels, each with a score and a map of its own; they count alike.
    """

    name: str
    scales: Sequence[int]

    def prepare(
        self, square: NDArray[np.uint8], retina: NDArray[np.bool_], scale: int
    ) -> NDArray[np.float32]:
        """Turn a photograph into the input of a scale.

        Args:
            square: uint8 (512, 512, 3), RGB; the field of view fills the square.
            retina: bool (512, 512), where there is retina.
            scale: one of `scales`.

        Returns:
            float32, what `predict` takes for this scale.
        """
        ...

    def predict(
        self, inputs: Mapping[int, NDArray[np.float32]]
    ) -> Mapping[int, tuple[float, NDArray[np.float32]]]:
        """Score a photograph.

        Args:
            inputs: by scale, what `prepare` returned.

        Returns:
            By scale: score in grades (0 to 4, may go beyond), and map float32 (m, m) in grades, 0
            where the retina looks healthy; m is always the same for a scale.
        """
        ...


def installed_models() -> dict[str, EntryPoint]:
    """Return the models that installed packages bring, by name, without loading them."""
    return {point.name: point for point in entry_points(group=GROUP)}


def open_grader(weights: str | Path | None = None, device: str | None = None) -> Grader:
    """Open weights from a folder, or a model that an installed package brings.

    Args:
        weights: folder with a manifest, or the name of an installed model; None for the weights
            that ship with drcore.
        device: "cpu" or "cuda"; CUDA if available, if None. Installed models choose for themselves.

    Returns:
        The grader.

    Raises:
        CheckpointError: the weights are missing or damaged, or the model does not work.
    """
    if weights is None:
        return Grader.bundled(device)
    point = _installed(weights)
    if point is None:
        return Grader.from_folder(weights, device)
    return _InstalledGrader(*_load(point))


def version_and_certainty(
    weights: str | Path | None = None,
) -> tuple[str, GradeCalibration | None]:
    """Return name and version of weights as reports have them, and their calibration.

    Args:
        weights: as for `open_grader`.

    Raises:
        CheckpointError: as for `open_grader`.
    """
    point = _installed(weights)
    if point is None:
        manifest = read_manifest(Path(weights or bundled_folder()))
        return f"{manifest.name} {manifest.version}", manifest.calibration()
    model, version = _load(point)
    return f"{model.name} {version}", None


def _installed(weights: str | Path | None) -> EntryPoint | None:
    """Return the entry point of a name that is no folder; None for folders."""
    if weights is None or Path(weights).is_dir():
        return None
    return installed_models().get(str(weights))


def _load(point: EntryPoint) -> tuple[Model, str]:
    try:
        model: Model = point.load()()
        version = getattr(model, "version", None) or (point.dist.version if point.dist else "0")
        scales = tuple(model.scales)
    except Exception as error:  # whatever foreign code raises
        raise CheckpointError(
            f"The installed model {one_line(point.name)} cannot be used ({one_line(error)}). "
            "Update or reinstall its package."
        ) from error
    if not scales:
        raise CheckpointError(f"The installed model {one_line(point.name)} names no scales.")
    return model, str(version)


class _InstalledGrader(Grader):
    """Grades with a model of another package: its own input, our field of view and reports."""

    def __init__(self, model: Model, version: str) -> None:
        self._model = model
        runner = _Runner(model)
        sizes = runner.map_sizes()
        networks: dict[int, Any] = {
            scale: SimpleNamespace(config=SimpleNamespace(map_size=sizes[scale]), bias=0.0)
            for scale in sorted(model.scales)
        }
        a, b, c, d = getattr(model, "thresholds", PLAIN_THRESHOLDS)
        bundle = Bundle(model.name, version, networks, Preprocessing(), (a, b, c, d))
        super().__init__(bundle, "cpu", runner=runner)

    def _inputs(
        self, frame: RetinaSquare, small: NDArray[np.uint8], rgb: NDArray[np.uint8]
    ) -> tuple[dict[int, NDArray[np.float32]], NDArray[np.uint8]]:
        del rgb
        preparation = self.bundle.preparation
        square = np.asarray(frame.warp(small), np.uint8)
        mask = frame.mask(preparation.margin)
        contrast = preparation.contrast(square, mask, SQUARE)
        inputs = {scale: self._model.prepare(square, mask, scale) for scale in self._model.scales}
        return inputs, np.ascontiguousarray(contrast[..., 1])


class _Runner:
    """Runs a model of another package, and checks what it returns."""

    prefers_single = True

    def __init__(self, model: Model) -> None:
        self._model = model

    def map_sizes(self) -> dict[int, int]:
        """Return the side of the map of each scale, from a photograph in which there is nothing."""
        square = np.zeros((SQUARE, SQUARE, 3), np.uint8)
        retina = np.ones((SQUARE, SQUARE), np.bool_)
        try:
            inputs = {s: self._model.prepare(square, retina, s) for s in self._model.scales}
            return {s: ram.shape[0] for s, (_, ram) in self._predict(inputs).items()}
        except DrcoreError:
            raise
        except Exception as error:  # whatever foreign code raises
            raise CheckpointError(
                f"The model {one_line(self._model.name)} does not work ({one_line(error)}). Update "
                "or reinstall its package."
            ) from error

    def run(self, inputs: Sequence[Squares], coverage: Sequence[Squares]) -> list[Predictions]:
        """See `drcore.model.inference.Runner.run`."""
        del coverage  # what is no retina is left out of maps by the report
        return [self._predict(one) for one in inputs]

    def _predict(self, inputs: Squares) -> Predictions:
        found = self._model.predict(inputs)
        answers: Predictions = {}
        for scale in sorted(self._model.scales):
            score, ram = found[scale]
            cells = np.asarray(ram, np.float32)
            if cells.ndim != 2 or cells.shape[0] != cells.shape[1] or not np.isfinite(score):
                raise CheckpointError(
                    f"The model {one_line(self._model.name)} gives no score with a square map at "
                    f"{scale}. Update its package."
                )
            answers[scale] = float(score), cells
        return answers
