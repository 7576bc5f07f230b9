"""What grading one photograph found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from drcore import logs
from drcore.errors import DrcoreError
from drcore.eye import FIELD_DEGREES, Laterality
from drcore.maps.attenuation import attenuate
from drcore.maps.evidence import Evidence, find_evidence
from drcore.maps.fusion import FusionRule, fuse, resample
from drcore.maps.refinement import neighbourhoods_of, refine
from drcore.preprocessing.field_of_view import FieldOfView
from drcore.preprocessing.gradability import Quality
from drcore.preprocessing.retina_square import RetinaSquare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
from drcore.icdr import GRADE_NAMES, REFERABLE

__all__ = ["Cells", "GradeReport", "Scale", "Status"]


SQUARE = 512
"""Side of the square from which network inputs up to this size are shrunk, in pixels; larger ones
have a square of their own."""

Scale = int | Literal["fused"]
Status = Literal["graded", "ungradable", "failed"]


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
        thresholds: scores at which grades 1, 2, 3 and 4 begin.
        probabilities: of the grades 0-4, sum 1; None without a grade or without calibration.
        grade_set: neighbouring grades, `grade` among them, that hold the reference grade as often
            as the calibration says (`GradeCalibration.coverage`, 90 %); None like `probabilities`.
        referable_sensitive: referable at the sensitive operating point, which misses fewer eyes
            than `referable` and calls more healthy ones; None like `probabilities`.
        fusion: by input size: how much it counts in the score and in the fused map, sum 1.
        biases: by input size: score less the mean of the map.
        width, height: of the original, upright, in pixels; 0 where it failed.
        field_of_view: in pixels of the original; None where it failed.
        quality: what the gradability check measured; None where it failed.
        laterality, patient: None where neither DICOM header, pattern nor name tells for certain.
        model_version: name and version of the weights.
        burned_in: whether the DICOM header says that identity is burnt in; None where it is silent.
        exam_date: of the examination, `YYYY-MM-DD`; None where unknown. Two visits are told by it.
        file_size: of the file, in bytes; 0 where it failed.
        note: what else the file holds and was passed over, such as a thumbnail; else empty.
        identity_source: where eye, patient and date were read: `eye=name patient=dicom`.
        placed: 0-1, how much of a map's detail is shown; see `drcore.maps.attenuation`.
        placed_finest: the same by the score of the finest scale, for its map alone; the larger of
            the two counts there.
        field_degrees: width of the field of view by the DICOM header or the user; else 45.
        ceilings: by input size: score that the network stays below; absent where there is none.
        sensitive_threshold: score of the sensitive operating point; None without calibration.
        camera: model by the DICOM header; empty where it gives none. Untrusted text.
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
    _frame: RetinaSquare | None = field(repr=False)
    _maps: dict[int, NDArray[np.float32]] = field(repr=False)
    _contrast: NDArray[np.uint8] = field(repr=False)
    _rim: float = field(repr=False)
    burned_in: bool | None = field(default=None, kw_only=True)
    exam_date: str | None = field(default=None, kw_only=True)
    identity_source: str = field(default="", kw_only=True)
    file_size: int = field(default=0, kw_only=True)
    note: str = field(default="", kw_only=True)
    field_degrees: float = field(default=FIELD_DEGREES, kw_only=True)
    placed_finest: float = field(default=0.0, kw_only=True)
    camera: str = field(default="", kw_only=True)
    sensitive_threshold: float | None = field(default=None, kw_only=True)
    ceilings: dict[int, float] = field(default_factory=dict, kw_only=True)

    @property
    def gradable(self) -> bool:
        """True where the photograph was fit for a grade and got one."""
        return self.status == "graded"

    @property
    def referable(self) -> bool | None:
        """Grade 2 or more; None without a grade."""
        return None if self.grade is None else self.grade >= REFERABLE

    @property
    def probability_referable(self) -> float | None:
        """Probability of grade 2 or more, 0-1; None like `probabilities`."""
        return None if self.probabilities is None else sum(self.probabilities[REFERABLE:])

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
    def shown(self) -> float:
        """How much detail the maps show at most, 0-1; 0 where all of them are flat."""
        return max(self.placed, self.placed_finest)

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
            scales: which input sizes to fuse, all if None; only for "fused".

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
        """Return the map with its evidence at the places that stand out.

        Where the score is one that healthy eyes have, the map is flat.

        Args:
            scale: input size in pixels, or "fused".
            rule: how to fuse; only for "fused".
            scales: which input sizes to fuse, all if None; only for "fused".

        Returns:
            The map and its place on the photograph, a cell for each pixel of the finest input.

        Raises:
            DrcoreError: the photograph failed, or there is no such scale.
        """
        frame = self._there()
        return self._on_photograph(frame, self._refined(frame, scale, rule, scales))

    def ram(
        self,
        scale: Scale = "fused",
        *,
        rule: FusionRule = "mean",
        scales: Sequence[int] | None = None,
    ) -> NDArray[np.float32]:
        """Return the focused Regression Activation Map on the original photograph's pixels.

        Where the score is one that healthy eyes have, the map is flat.

        Args:
            scale: input size in pixels, or "fused".
            rule: how to fuse; only for "fused". "mean" and "max" are in grade units.
            scales: which input sizes to fuse, all if None; only for "fused".

        Returns:
            float32 (height, width), grades above a healthy retina; NaN outside the field of view.

        Raises:
            DrcoreError: the photograph failed, or there is no such scale.
        """
        frame = self._there()
        values = self._refined(frame, scale, rule, scales)
        full = np.asarray(frame.warp_back(values), np.float32)
        full[~frame.field_of_view.mask(self.height, self.width, self._rim)] = np.nan
        return full

    def evidence(self, scale: Scale = "fused", *, raw: bool = False) -> Evidence:
        """Return what each part of the retina adds to the score, and the regions that stand out.

        Args:
            scale: input size in pixels, whose score is `scores[scale]`, or "fused".
            raw: of the map in full detail where the score is one that healthy eyes have, too.

        Returns:
            The evidence: per disc area, and exact for every region. A flat map has no region.

        Raises:
            DrcoreError: the photograph failed, or there is no such scale.
        """
        frame = self._there()
        values = self._refined(frame, scale, "mean", None, share=1.0 if raw else None)
        view = frame.field_of_view
        return find_evidence(
            values,
            frame.coverage(values.shape[0], self._rim),
            degrees=self.field_degrees,
            square=(view.x - view.radius, view.y - view.radius, 2 * view.radius),
            outlined=raw or self.shown > 0,
        )

    def _there(self) -> RetinaSquare:
        if self._frame is None:
            raise DrcoreError(f"{self.name}: there is no map, because {self.reason}")
        return self._frame

    def _on_photograph(self, frame: RetinaSquare, values: NDArray[np.float32]) -> Cells:
        cells = values.shape[0]
        values = np.where(frame.coverage(cells, self._rim) > 0, values, np.float32(np.nan))
        step = 2 * frame.field_of_view.radius / cells
        return Cells(
            values=values.astype(np.float32),
            x0=frame.field_of_view.x - frame.field_of_view.radius + step / 2,
            y0=frame.field_of_view.y - frame.field_of_view.radius + step / 2,
            step=step,
        )

    def _refined(
        self,
        frame: RetinaSquare,
        scale: Scale,
        rule: FusionRule,
        scales: Sequence[int] | None,
        share: float | None = None,
    ) -> NDArray[np.float32]:
        wanted = self._wanted(scale, scales)
        if scale != "fused" or rule != "mean":
            return self._refined_part(frame, scale, rule, wanted, share)
        # Maps whose evidence moves alike are fused before they are refined: one pass at the finest
        # of them, and no coarse one that blurs.
        parts: dict[int, list[int]] = {}
        for size in wanted:
            parts.setdefault(neighbourhoods_of(len(self._maps[size])), []).append(size)
        if len(parts) < 2:
            return self._refined_part(frame, scale, rule, wanted, share)
        fine = frame.coverage(self._side(wanted), self._rim)
        refined = [
            resample(
                self._refined_part(frame, scale, rule, part, share),
                frame.coverage(self._side(part), self._rim),
                fine,
            )
            for part in parts.values()
        ]
        weights = [sum(self.fusion[size] for size in part) for part in parts.values()]
        return fuse(
            refined, fine, rule, weights if any(weights) else list(map(len, parts.values()))
        )

    def _refined_part(
        self,
        frame: RetinaSquare,
        scale: Scale,
        rule: FusionRule,
        wanted: Sequence[int],
        share: float | None,
    ) -> NDArray[np.float32]:
        """Refine the fused map of some scales, all at once."""
        ram = self._square_map(frame, scale, rule, wanted)
        coverage = frame.coverage(ram.shape[0], self._rim)
        return refine(
            attenuate(ram, coverage, self._share_of(wanted) if share is None else share),
            coverage,
            self._contrast,
            frame.coverage(self._side(wanted), self._rim),
            min(neighbourhoods_of(len(self._maps[size])) for size in wanted),
        )

    def _share_of(self, wanted: Sequence[int]) -> float:
        """How much detail of a map of these scales is shown, 0-1."""
        return self.shown if list(wanted) == [max(self._maps)] else self.placed

    def _side(self, wanted: Sequence[int]) -> int:
        """Pixels a side to which a map of these scales is refined."""
        return min(max(wanted), len(self._contrast))

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
        frame: RetinaSquare,
        scale: Scale,
        rule: FusionRule,
        scales: Sequence[int] | None,
    ) -> NDArray[np.float32]:
        """Return the map of a scale, or several fused, with the cells of the finest of them."""
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


def log_report(
    report: GradeReport, *, reading: float | None = None, network: float | None = None
) -> None:
    """Write the line of a photograph, at debug.

    Args:
        report: of the photograph.
        reading: seconds to read and prepare it; None where another machine did.
        network: seconds in the networks, its share of what went through together; None likewise.
    """
    times = {"reading_ms": reading, "network_ms": network}
    milliseconds: dict[str, Any] = {
        key: round(1000 * value, 1) for key, value in times.items() if value is not None
    }
    logs.event(
        "photograph",
        sha256=report.sha256[: logs.SHA256_SHOWN],
        status=report.status,
        width=report.width,
        height=report.height,
        image=report.name,
        **milliseconds,
    )
