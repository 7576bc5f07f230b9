"""Grading: from a photograph to a report."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from drcore import logs
from drcore.errors import DrcoreError
from drcore.eye import FIELD_DEGREES
from drcore.grading.report import log_report
from drcore.model.bundle import Bundle, bundled_folder, load_bundle
from drcore.model.calibration import spread_of
from drcore.model.inference import Runner, open_runner
from drcore.model.link import Link
from drcore.photographs.dicom_frames import DicomFrame
from drcore.photographs.photograph import GRADING_SIDE, Photograph, Source
from drcore.photographs.raster import reduction_to
from drcore.photographs.reader import read_photograph
from drcore.preprocessing.field_of_view import find_field_of_view, thumbnail
from drcore.preprocessing.gradability import Quality, assess
from drcore.preprocessing.retina_square import RetinaSquare, block_mean
from drcore.text import clean_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray
from drcore.grading.report import SQUARE, GradeReport

__all__ = ["Grader", "Named", "Prepared"]

Named = tuple[str, Source]
"""A display name and the source that goes by it, for uploads that have no path."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A photograph ready for the networks, without its pixels, so that many can wait."""

    photograph: Photograph
    frame: RetinaSquare
    quality: Quality
    inputs: dict[int, NDArray[np.float32]]
    coverage: dict[int, NDArray[np.float32]]
    contrast: NDArray[np.uint8]
    seconds: float = 0.0


class Grader:
    """Grades photographs with the networks of a bundle; safe to share between threads.

    Args:
        bundle: networks, thresholds and preparation; later changes to the networks do not count.
        device: "cpu" or "cuda".
        field_degrees: width of the field of view of photographs whose DICOM header does not give
            it; what maps say is per disc area.
        runner: runs the networks; made for the device where left out.

    Attributes:
        bundle, device, field_degrees: as given.
        runner: runs the networks.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "cpu",
        *,
        field_degrees: float = FIELD_DEGREES,
        runner: Runner | None = None,
    ) -> None:
        self.bundle = bundle
        self.device = device
        self.field_degrees = field_degrees
        self.runner = runner or open_runner(bundle.networks, device)
        self._side = max(SQUARE, *bundle.networks)

    @classmethod
    def bundled(cls, device: str | None = None) -> Grader:
        """Open the weights that ship with the package.

        Args:
            device: "cpu" or "cuda"; CUDA if available, if None.

        Returns:
            The grader.

        Raises:
            CheckpointError: the weights are missing or damaged.
        """
        return cls.from_folder(bundled_folder(), device)

    @classmethod
    def from_folder(cls, folder: str | Path, device: str | None = None) -> Grader:
        """Open weights from a folder with a manifest.

        Args:
            folder: written by `drcore.model.bundle.save_bundle`.
            device: "cpu" or "cuda"; CUDA if available, if None.

        Returns:
            The grader.

        Raises:
            CheckpointError: the weights are missing, damaged or not understood.
        """
        import torch

        chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(load_bundle(Path(folder), chosen), chosen)

    @property
    def version(self) -> str:
        """Name and version of the weights."""
        return f"{self.bundle.name} {self.bundle.version}"

    @property
    def scales(self) -> tuple[int, ...]:
        """Input sizes of the networks, in pixels."""
        return tuple(sorted(self.bundle.networks))

    def grade(self, source: Source, *, name: str | None = None) -> GradeReport:
        """Grade one photograph.

        Args:
            source: path, encoded bytes, binary file object, or RGB uint8 (H, W, 3).
            name: display name; from the path if None.

        Returns:
            The report; "ungradable" is an answer, not an error.

        Raises:
            PhotographError: the source cannot be read as a photograph.
        """
        return self._report([self._prepare(source, name)])[0]

    def attempt(self, source: Source, name: str | None = None) -> Prepared | GradeReport:
        """Read and prepare one photograph, the part of the work that threads may do ahead.

        Args:
            source: as for `grade`.
            name: display name; from the path if None.

        Returns:
            What `finish` takes: a prepared photograph, or the failed report of a bad one.
        """
        began = time.perf_counter()
        try:
            prepared = self._prepare(source, name)
        except DrcoreError as error:
            report = self.failed(_name_of(source, name), str(error))
        except Exception as error:  # noqa: BLE001 - no input may stop ten thousand good ones
            logs.accident("reading a photograph", error)
            label = _name_of(source, name)
            kind = type(error).__name__  # what it says may hold a path of the server
            report = self.failed(label, f"{label}: it cannot be read ({kind}). Export it again.")
        else:
            return replace(prepared, seconds=time.perf_counter() - began)
        log_report(report, reading=time.perf_counter() - began, network=0.0)
        return report

    def finish(self, attempted: Sequence[Prepared | GradeReport]) -> list[GradeReport]:
        """Run the networks over what `attempt` returned.

        Args:
            attempted: photographs that go through the networks together, and failed reports.

        Returns:
            One report for each, in order.
        """
        ready = [item for item in attempted if isinstance(item, Prepared)]
        began = time.perf_counter()
        finished = self._report(ready) if ready else []
        share = (time.perf_counter() - began) / max(len(ready), 1)
        for item, report in zip(ready, finished, strict=True):
            log_report(report, reading=item.seconds, network=share)
        reports = iter(finished)
        return [item if isinstance(item, GradeReport) else next(reports) for item in attempted]

    def grade_many(
        self, sources: Iterable[Source | Named] | Source, *, batch: int = 8
    ) -> Iterator[GradeReport]:
        """Grade photographs one after the other, lazily; a bad one becomes a failed report.

        Args:
            sources: as for `grade`, or pairs of display name and source; a single source is
                graded as a list of one.
            batch: photographs that go through the networks together.

        Yields:
            One report for each source, in order.
        """
        waiting: list[Prepared | GradeReport] = []
        items: Any = [sources] if _is_single(sources) else sources
        for item in items:
            if isinstance(item, tuple) and len(item) == 2:
                name, source = item
            else:
                name, source = None, item  # what is neither pair nor source fails when it is read
            waiting.append(self.attempt(source, name))
            if len(waiting) >= batch:
                yield from self.finish(waiting)
                waiting = []
        yield from self.finish(waiting)

    def failed(self, name: str, reason: str) -> GradeReport:
        """Return the report of a photograph that could not be read.

        Args:
            name: display name.
            reason: a sentence.

        Returns:
            A report without grade, score or map.
        """
        return GradeReport(
            name=name, sha256="", status="failed", reason=reason, grade=None, score=float("nan"),
            scores={}, thresholds=self.bundle.thresholds, probabilities=None, grade_set=None,
            referable_sensitive=None, fusion=self.bundle.fusion, biases={}, width=0, height=0,
            field_of_view=None, quality=None, laterality=None, patient=None,
            model_version=self.version, placed=0.0, _frame=None, _maps={},
            _contrast=np.zeros((0, 0), np.uint8), _rim=0.0,
        )  # fmt: skip

    def grade_of(self, score: float) -> int:
        """Return the ICDR grade of a score by the bundle's thresholds.

        Args:
            score: continuous severity in grades.

        Returns:
            0-4.

        Raises:
            DrcoreError: the score is not a number; a grade is never invented.
        """
        if not np.isfinite(score):
            raise DrcoreError(f"A score of {score} has no grade.")
        return int(np.searchsorted(self.bundle.thresholds, score, side="right"))

    def _prepare(self, source: Source, name: str | None) -> Prepared:
        photograph = read_photograph(
            source, name=name, for_grading=True, least_side=GRADING_SIDE * self._side // SQUARE
        )
        # Field of view, gradability and the coarse networks need no more than these pixels.
        height, width = photograph.rgb.shape[:2]
        shrink = reduction_to(GRADING_SIDE, width, height)
        small = np.asarray(block_mean(photograph.rgb, shrink), np.uint8)
        reduction = photograph.reduction * shrink
        smallest = thumbnail(small)
        field_of_view = find_field_of_view(small, smallest)
        quality = assess(small, field_of_view, reduction, small=smallest)
        frame = RetinaSquare(
            field_of_view.scaled(reduction), photograph.width, photograph.height, SQUARE
        )
        enough = 2 * field_of_view.radius >= SQUARE
        inputs, green = self._inputs(frame, small if enough else photograph.rgb, photograph.rgb)
        margin = self.bundle.preparation.margin
        coverage = {
            size: frame.coverage(network.config.map_size, margin)
            for size, network in self.bundle.networks.items()
        }
        kept = replace(photograph, rgb=np.empty((0, 0, 3), np.uint8))
        return Prepared(kept, frame, quality, inputs, coverage, green)

    def _inputs(
        self, frame: RetinaSquare, small: NDArray[np.uint8], rgb: NDArray[np.uint8]
    ) -> tuple[dict[int, NDArray[np.float32]], NDArray[np.uint8]]:
        """Network inputs by size, and the green channel of the finest contrast."""
        preparation = self.bundle.preparation
        contrasts: dict[int, NDArray[np.uint8]] = {}
        for side in sorted({SQUARE, self._side}):
            fine = side > SQUARE
            square = np.asarray(frame.at(side).warp(rgb if fine else small, quick=fine), np.uint8)
            mask = frame.at(side).mask(preparation.margin)
            for size in (side, *self.bundle.networks):
                if size not in contrasts and (size > SQUARE) == fine:
                    contrasts[size] = preparation.contrast(square, mask, size)
        inputs = {size: preparation.normalise(contrasts[size]) for size in self.bundle.networks}
        return inputs, np.ascontiguousarray(contrasts[self._side][..., 1])

    @property
    def _ceilings(self) -> dict[int, float]:
        """By input size: score that the network stays below."""
        return {
            size: link.ceiling for size, network in self.bundle.networks.items()
            if isinstance(link := getattr(network, "link", None), Link) and link.ceiling
        }  # fmt: skip

    def _placed_finest(self, scores: dict[int, float]) -> float:
        placement = self.bundle.placement
        if placement is None or placement.finest is None:
            return 0.0
        return placement.finest.share(scores[max(scores)])

    def _report(self, prepared: list[Prepared]) -> list[GradeReport]:
        answers = self.runner.run(
            [item.inputs for item in prepared], [item.coverage for item in prepared]
        )
        placement, certainty = self.bundle.placement, self.bundle.certainty
        reports = []
        for item, answer in zip(prepared, answers, strict=True):
            scores = {size: score for size, (score, _) in answer.items()}
            score = sum(weight * scores[size] for size, weight in self.bundle.fusion.items())
            grade = self.grade_of(score) if item.quality.gradable else None
            photograph = item.photograph
            probabilities, grade_set, sensitive = self._certainty(grade, score, scores)
            reports.append(
                GradeReport(
                    name=photograph.name,
                    sha256=photograph.sha256,
                    status="ungradable" if grade is None else "graded",
                    reason=item.quality.reason,
                    grade=grade,
                    score=score,
                    scores=scores,
                    thresholds=self.bundle.thresholds,
                    probabilities=probabilities,
                    grade_set=grade_set,
                    referable_sensitive=sensitive,
                    fusion=self.bundle.fusion,
                    biases={s: n.bias for s, n in sorted(self.bundle.networks.items())},
                    ceilings=self._ceilings,
                    width=photograph.width,
                    height=photograph.height,
                    field_of_view=item.frame.field_of_view,
                    quality=item.quality,
                    laterality=photograph.laterality,
                    patient=photograph.patient,
                    burned_in=photograph.burned_in,
                    exam_date=photograph.exam_date,
                    identity_source=photograph.identity_source,
                    file_size=photograph.file_size,
                    note=photograph.note,
                    field_degrees=photograph.field_degrees or self.field_degrees,
                    camera=photograph.camera,
                    sensitive_threshold=None if certainty is None else certainty.sensitive,
                    model_version=self.version,
                    placed=1.0 if placement is None else placement.share(score),
                    placed_finest=self._placed_finest(scores),
                    _frame=item.frame,
                    _maps={size: ram for size, (_, ram) in answer.items()},
                    _contrast=item.contrast,
                    _rim=self.bundle.preparation.margin,
                )
            )
        return reports

    def _certainty(
        self, grade: int | None, score: float, scores: dict[int, float]
    ) -> tuple[tuple[float, ...] | None, tuple[int, ...] | None, bool | None]:
        """Probabilities, set of grades and the call at the sensitive operating point."""
        certainty = self.bundle.certainty
        if certainty is None or grade is None:
            return None, None, None
        probabilities = certainty.probabilities(score, spread_of(scores.values()))
        return (
            tuple(probabilities.tolist()),
            certainty.grade_set(probabilities, grade),
            score >= certainty.sensitive,
        )


def _is_single(sources: object) -> bool:
    """Whether one photograph was given where many may be: a path is no list of letters."""
    single = (str, Path, bytes, bytearray, memoryview, Photograph, DicomFrame)
    return isinstance(sources, single) or hasattr(sources, "read") or (
        isinstance(sources, np.ndarray) and sources.ndim == 3 and sources.dtype == np.uint8
        and sources.shape[2] == 3
    )  # fmt: skip


def _name_of(source: object, name: str | None) -> str:
    found: object = name
    if name is None:
        found = source if isinstance(source, str | Path) else getattr(source, "name", None)
    return clean_name(str(found)) if isinstance(found, str | Path) else "upload"
