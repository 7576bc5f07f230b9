"""The public face: photograph in, graded and explained report out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from drcore import logs
from drcore.certainty import spread_of
from drcore.checkpoint import Bundle, bundled_folder, load_bundle
from drcore.errors import DrcoreError
from drcore.field_of_view import FieldOfView, find_field_of_view
from drcore.focus import focus
from drcore.frame import Frame
from drcore.photograph import Laterality, Photograph, Source, clean_name, read_photograph
from drcore.placement import placed
from drcore.quality import Quality, assess
from drcore.ram import FusionRule, fuse, resample
from drcore.runner import open_runner

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["GRADE_NAMES", "Cells", "GradeReport", "Grader", "Named", "Prepared", "Scale", "Status"]

GRADE_NAMES = (
    "No apparent retinopathy",
    "Mild non-proliferative",
    "Moderate non-proliferative",
    "Severe non-proliferative",
    "Proliferative",
)
"""International Clinical Diabetic Retinopathy scale (Wilkinson et al. 2003), grades 0-4."""

REFERABLE = 2
"""Grade from which diabetic retinopathy is referable."""

SQUARE = 512
"""Side of the square from which all network inputs are shrunk, in pixels."""

Scale = int | Literal["fused"]
Status = Literal["graded", "ungradable", "failed"]
Named = tuple[str, Source]
"""A display name and the source that goes by it, for uploads that have no path."""


@dataclass(frozen=True, slots=True)
class Cells:
    """An activation map at its own resolution, and where its cells lie on the photograph.

    Attributes:
        values: float32 (m, m), grades; NaN in cells without retina.
        x0, y0: centre of the first cell in pixels of the original photograph.
        step: distance between neighbouring cells in pixels of the original photograph.
    """

    values: NDArray[np.float32]
    x0: float
    y0: float
    step: float


@dataclass(frozen=True, slots=True, eq=False)
class GradeReport:
    """What the model says of one photograph.

    Attributes:
        name: display name; untrusted text.
        sha256: of the file, hex; empty where it could not be read.
        status: "graded", "ungradable" (read, scored, but not fit for a grade) or "failed".
        reason: a sentence where there is no grade, else empty.
        grade: ICDR grade 0-4, None unless graded.
        score: continuous severity in grades, the mean of `scores` with the weights of `fusion`; NaN
            where it failed.
        scores: by input size in pixels.
        thresholds: the four scores that part the grades.
        probabilities: of the grades 0-4, sum 1; None without a grade or without calibration.
        grade_set: neighbouring grades, `grade` among them, that hold the reference grade as often
            as the calibration says (`Certainty.coverage`, 90 %); None like `probabilities`.
        referable_sensitive: referable at the sensitive operating point, which misses fewer eyes
            than `referable` and calls more healthy ones; None like `probabilities`.
        fusion: by input size: how much it counts in the score and in the fused map, sum 1.
        biases: by input size: score less the mean of the map.
        width, height: of the original, upright, in pixels; 0 where it failed.
        field_of_view: in pixels of the original; None where it failed.
        quality: what the gradability check measured; None where it failed.
        laterality, patient: from the file name, None where it does not tell.
        model_version: name and version of the weights.
        burned_in: whether the DICOM header says that identity is burnt into the pixels; None where
            nothing is said.
        placed: 0-1, how much of the evidence is shown in its place; see `drcore.placement`.
    """

    name: str
    sha256: str
    status: Status
    reason: str
    grade: int | None
    score: float
    scores: dict[int, float]
    thresholds: tuple[float, float, float, float]
    probabilities: tuple[float, ...] | None
    grade_set: tuple[int, ...] | None
    referable_sensitive: bool | None
    fusion: dict[int, float]
    biases: dict[int, float]
    width: int
    height: int
    field_of_view: FieldOfView | None
    quality: Quality | None
    laterality: Laterality | None
    patient: str | None
    model_version: str
    placed: float
    _frame: Frame | None = field(repr=False)
    _maps: dict[int, NDArray[np.float32]] = field(repr=False)
    _contrast: NDArray[np.uint8] = field(repr=False)
    _rim: float = field(repr=False)
    burned_in: bool | None = field(default=None, kw_only=True)

    @property
    def gradable(self) -> bool:
        """True where the photograph was fit for a grade and got one."""
        return self.status == "graded"

    @property
    def referable(self) -> bool | None:
        """Grade 2 or more; None without a grade."""
        return None if self.grade is None else self.grade >= REFERABLE

    @property
    def margin(self) -> float | None:
        """Distance of the score to the nearest threshold, in grades; None without a grade."""
        if self.grade is None:
            return None
        return min(abs(self.score - threshold) for threshold in self.thresholds)

    @property
    def grade_name(self) -> str:
        """ICDR name of the grade, or what stands in its place."""
        if self.grade is None:
            return "Ungradable" if self.status == "ungradable" else "Failed"
        return GRADE_NAMES[self.grade]

    @property
    def scales(self) -> tuple[int, ...]:
        """Input sizes that have a map, in pixels."""
        return tuple(sorted(self._maps))

    def cells(
        self,
        scale: Scale = "fused",
        *,
        rule: FusionRule = "mean",
        scales: Sequence[int] | None = None,
    ) -> Cells:
        """Return the Regression Activation Map at its own resolution, as the network gave it.

        Args:
            scale: input size in pixels, or "fused".
            rule: how to fuse; only for "fused".
            scales: which input sizes to fuse, all where left out; only for "fused".

        Returns:
            The map and its place on the photograph.

        Raises:
            DrcoreError: the photograph failed, or there is no such scale.
        """
        frame = self._there()
        return self._on_photograph(frame, self._square_map(frame, scale, rule, scales))

    def focused(
        self,
        scale: Scale = "fused",
        *,
        rule: FusionRule = "mean",
        scales: Sequence[int] | None = None,
    ) -> Cells:
        """Return the map with its evidence at the places that stand out; see `drcore.focus`.

        Where the score is one that healthy eyes have, nothing is placed; see `drcore.placement`.

        Args:
            scale: input size in pixels, or "fused".
            rule: how to fuse; only for "fused".
            scales: which input sizes to fuse, all where left out; only for "fused".

        Returns:
            The map and its place on the photograph, a cell for each pixel of the network's input.

        Raises:
            DrcoreError: the photograph failed, or there is no such scale.
        """
        frame = self._there()
        return self._on_photograph(frame, self._focused(frame, scale, rule, scales))

    def ram(
        self,
        scale: Scale = "fused",
        *,
        rule: FusionRule = "mean",
        scales: Sequence[int] | None = None,
    ) -> NDArray[np.float32]:
        """Return the focused Regression Activation Map on the original photograph's pixels.

        Where the score is one that healthy eyes have, nothing is placed; see `drcore.placement`.

        Args:
            scale: input size in pixels, or "fused".
            rule: how to fuse; only for "fused". "mean" and "max" are in grade units.
            scales: which input sizes to fuse, all where left out; only for "fused".

        Returns:
            float32 (height, width), grades above a healthy retina; NaN outside the field of view.

        Raises:
            DrcoreError: the photograph failed, or there is no such scale.
        """
        frame = self._there()
        values = self._focused(frame, scale, rule, scales)
        full = np.asarray(frame.warp_back(values), np.float32)
        full[~frame.field_of_view.mask(self.height, self.width, self._rim)] = np.nan
        return full

    def _there(self) -> Frame:
        if self._frame is None:
            raise DrcoreError(f"{self.name}: there is no map, because {self.reason}")
        return self._frame

    def _on_photograph(self, frame: Frame, values: NDArray[np.float32]) -> Cells:
        cells = values.shape[0]
        values = np.where(frame.coverage(cells, self._rim) > 0, values, np.float32(np.nan))
        step = 2 * frame.field_of_view.radius / cells
        return Cells(
            values=values.astype(np.float32),
            x0=frame.field_of_view.x - frame.field_of_view.radius + step / 2,
            y0=frame.field_of_view.y - frame.field_of_view.radius + step / 2,
            step=step,
        )

    def _focused(
        self, frame: Frame, scale: Scale, rule: FusionRule, scales: Sequence[int] | None
    ) -> NDArray[np.float32]:
        # Fused before it is focused: one pass at the finest scale, and no coarse focus that blurs.
        ram = self._square_map(frame, scale, rule, scales)
        finest = min(max(self._wanted(scale, scales)), SQUARE)
        coverage = frame.coverage(ram.shape[0], self._rim)
        return focus(
            placed(ram, coverage, self.placed),
            coverage,
            self._contrast,
            frame.coverage(finest, self._rim),
        )

    def _wanted(self, scale: Scale, scales: Sequence[int] | None) -> list[int]:
        """Return the input sizes that a map is made of, all of them known."""
        fused = list(scales) if scales is not None else list(self.scales)
        wanted = fused if scale == "fused" else [scale]
        for size in wanted:
            if size not in self._maps:
                raise DrcoreError(
                    f"{self.name}: there is no map at {size}; choose "
                    f"{', '.join(map(str, self.scales))} or 'fused'."
                )
        return [int(size) for size in wanted]

    def _square_map(
        self,
        frame: Frame,
        scale: Scale,
        rule: FusionRule,
        scales: Sequence[int] | None,
    ) -> NDArray[np.float32]:
        wanted = self._wanted(scale, scales)
        if scale != "fused":
            return self._maps[wanted[0]]
        cells = max((self._maps[size].shape[0] for size in wanted), default=1)
        fine = frame.coverage(cells, self._rim)
        aligned = [
            resample(self._maps[size], frame.coverage(self._maps[size].shape[0], self._rim), fine)
            for size in wanted
        ]
        weights = [self.fusion[size] for size in wanted]
        # Of scales that count for nothing, asked for by themselves, all count alike.
        return fuse(aligned, fine, rule, weights if any(weights) else None)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A photograph on its way into the networks; its pixels are let go, so that many may wait."""

    photograph: Photograph
    frame: Frame
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

    Attributes:
        bundle, device: as given.
        runner: runs the networks.
    """

    def __init__(self, bundle: Bundle, device: str = "cpu") -> None:
        self.bundle = bundle
        self.device = device
        self.runner = open_runner(bundle.networks, device)

    @classmethod
    def bundled(cls, device: str | None = None) -> Grader:
        """Open the weights that ship with the package.

        Args:
            device: "cpu" or "cuda"; CUDA where there is one, if left out.

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
            folder: written by `drcore.checkpoint.save_bundle`.
            device: "cpu" or "cuda"; CUDA where there is one, if left out.

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
            name: display name; from the path where left out.

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
            name: display name; from the path where left out.

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
        logs.photograph(report, reading=time.perf_counter() - began, network=0.0)
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
            logs.photograph(report, reading=item.seconds, network=share)
        reports = iter(finished)
        return [item if isinstance(item, GradeReport) else next(reports) for item in attempted]

    def grade_many(
        self, sources: Iterable[Source | Named], *, batch: int = 8
    ) -> Iterator[GradeReport]:
        """Grade photographs one after the other, lazily; a bad one becomes a failed report.

        Args:
            sources: as for `grade`, or pairs of display name and source.
            batch: photographs that go through the networks together.

        Yields:
            One report for each source, in order.
        """
        waiting: list[Prepared | GradeReport] = []
        for item in sources:
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
        photograph = read_photograph(source, name=name, for_grading=True)
        field_of_view = find_field_of_view(photograph.rgb)
        quality = assess(photograph.rgb, field_of_view, photograph.reduction)
        frame = Frame(
            field_of_view.scaled(photograph.reduction), photograph.width, photograph.height, SQUARE
        )
        preparation = self.bundle.preparation
        square = np.asarray(frame.warp(photograph.rgb), np.uint8)
        mask = frame.mask(preparation.margin)
        finest = preparation.contrast(square, mask, SQUARE)
        inputs, coverage = {}, {}
        for size, network in self.bundle.networks.items():
            contrast = finest if size == SQUARE else preparation.contrast(square, mask, size)
            inputs[size] = preparation.normalise(contrast)
            coverage[size] = frame.coverage(network.config.map_size, preparation.margin)
        kept = replace(photograph, rgb=np.empty((0, 0, 3), np.uint8))
        green = np.ascontiguousarray(finest[..., 1])
        return Prepared(kept, frame, quality, inputs, coverage, green)

    def _report(self, prepared: list[Prepared]) -> list[GradeReport]:
        answers = self.runner.run(
            [item.inputs for item in prepared], [item.coverage for item in prepared]
        )
        placement = self.bundle.placement
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
                    width=photograph.width,
                    height=photograph.height,
                    field_of_view=item.frame.field_of_view,
                    quality=item.quality,
                    laterality=photograph.laterality,
                    patient=photograph.patient,
                    burned_in=photograph.burned_in,
                    model_version=self.version,
                    placed=1.0 if placement is None else placement.share(score),
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


def _name_of(source: object, name: str | None) -> str:
    found: object = name
    if name is None:
        found = source if isinstance(source, str | Path) else getattr(source, "name", None)
    return clean_name(str(found)) if isinstance(found, str | Path) else "upload"
