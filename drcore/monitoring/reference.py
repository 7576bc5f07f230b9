"""Reference histograms: how the measures are distributed while nothing has changed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drcore.errors import DrcoreError
from drcore.files import replacing
from drcore.model.manifest import read_manifest
from drcore.model.manifest_format import MANIFEST
from drcore.monitoring.observations import MEASURES, values_of
from drcore.results.columns import Row

__all__ = [
    "FEWEST", "Fit", "Histogram", "add_reference", "has", "histogram_of", "reference_of",
    "reference_of_bundle",
]  # fmt: skip

FEWEST = 300
"""Photographs of a reference at least."""

_BINS = 10

_TOGETHER = ("score", "sharpness", "brightness", "spread", "pixels", "field")
"""Measures of a photograph that go together: sharpness is told from pixels and score, and so on."""

_GIVEN = "_given"

_OTHERS = {
    f"{own}{_GIVEN}": tuple(other for other in _TOGETHER if other != own)
    for own in ("score", "sharpness", "brightness")
} | {f"colour{_GIVEN}": ("red_green_spread", "green_blue_spread")}
"""What a measure is told from. Cameras differ in how colourful the retina is: then also in colour.
Another light changes the colour alone."""

_NEEDED = {name: (name.removesuffix(_GIVEN), *_OTHERS.get(name, ())) for name in MEASURES}
"""Values that a photograph or decision has if it has a measure."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What is expected of one measure, given the others: a quadratic of each.

    Attributes:
        means, deviations: of the others.
        weights: of 1, the others in deviations from their means, and their squares.
    """

    means: tuple[float, ...]
    deviations: tuple[float, ...]
    weights: tuple[float, ...]

    def expected(self, others: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is expected (N,) given the others (N, number of others)."""
        terms = _quadratic(others, self.means, self.deviations)
        return np.asarray(terms @ np.array(self.weights), np.float64)


@dataclass(frozen=True, slots=True)
class Histogram:
    """How one measure is distributed.

    Attributes:
        edges: between the bins, rising, one less than there are bins.
        counts: photographs or decisions by bin.
        mean, deviation: of the values.
        fit: of a measure given the others, from which its values are taken; else None.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    mean: float
    deviation: float
    fit: Fit | None = None

    def __post_init__(self) -> None:
        values = (*self.edges, self.mean, self.deviation)
        sound = (
            len(self.counts) == len(self.edges) + 1
            and all(math.isfinite(value) for value in values)
            and list(self.edges) == sorted(set(self.edges))
            and min(self.counts) >= 0
            and self.total > 0
        )
        if not sound:
            raise DrcoreError("A reference histogram of the bundle is damaged. Write it again.")

    @property
    def total(self) -> int:
        """Number of photographs or decisions."""
        return sum(self.counts)

    @property
    def shares(self) -> NDArray[np.float64]:
        """Probability of each bin, none of them zero."""
        counts = np.array(self.counts) + 0.5
        return np.asarray(counts / counts.sum(), np.float64)

    def bins_of(self, values: Sequence[float]) -> NDArray[np.int64]:
        """Return the bin of each value."""
        return np.searchsorted(np.array(self.edges), np.asarray(values, float), side="right")

    def values_of(self, name: str, photographs: Sequence[Mapping[str, float]]) -> list[float]:
        """Return the values (N,) of a measure of photographs that have it."""
        return [float(value) for value in _values(name, photographs, self.fit)]


def has(name: str, values: Mapping[str, float]) -> bool:
    """Tell whether a photograph or decision with these values has a measure."""
    return all(map(values.__contains__, _NEEDED[name]))


def histogram_of(name: str, photographs: Sequence[Mapping[str, float]]) -> Histogram:
    """Return the histogram of a measure: ten bins of equal counts, or its classes.

    Args:
        name: key of `MEASURES`.
        photographs: values of at least one photograph or decision; all have the measure.
    """
    fit = _fitted(name, photographs) if name.endswith(_GIVEN) else None
    given = _values(name, photographs, fit)
    classes = MEASURES[name].classes
    if classes:
        edges = np.arange(classes - 1) + 0.5
    else:
        edges = np.unique(np.quantile(given, np.arange(1, _BINS) / _BINS).round(4))
        edges = edges[edges > given.min()]
    counts = np.bincount(np.searchsorted(edges, given, side="right"), minlength=len(edges) + 1)
    return Histogram(
        tuple(edges.tolist()), tuple(counts.tolist()),
        round(float(given.mean()), 4), round(float(given.std()), 4), fit,
    )  # fmt: skip


def _values(
    name: str, photographs: Sequence[Mapping[str, float]], fit: Fit | None
) -> NDArray[np.float64]:
    if fit is None:
        return np.array([one[name] for one in photographs], float)
    target, others = _apart(name, photographs)
    return target - fit.expected(others)


def _fitted(name: str, photographs: Sequence[Mapping[str, float]]) -> Fit:
    target, others = _apart(name, photographs)
    means, deviations = others.mean(axis=0), others.std(axis=0) + 1e-9
    terms = _quadratic(others, means, deviations)
    weights, *_ = np.linalg.lstsq(terms, target, rcond=1e-6)
    return Fit(*(tuple(np.round(part, 6).tolist()) for part in (means, deviations, weights)))


def _apart(
    name: str, photographs: Sequence[Mapping[str, float]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    own, others = name.removesuffix(_GIVEN), _OTHERS[name]
    return (
        np.array([one[own] for one in photographs], float),
        np.array([[one[other] for other in others] for one in photographs], float),
    )


def _quadratic(
    others: NDArray[np.float64], means: ArrayLike, deviations: ArrayLike
) -> NDArray[np.float64]:
    x = np.clip((others - np.asarray(means)) / np.maximum(deviations, 1e-6), -3, 3)
    return np.hstack([np.ones((len(x), 1)), x, x**2])


def reference_of(rows: Iterable[Row]) -> dict[str, Histogram]:
    """Return the histograms of photographs.

    Args:
        rows: of a table of results; failed photographs are left out.

    Returns:
        By measure; those of which fewer than `FEWEST` photographs have a value are left out.

    Raises:
        DrcoreError: no measure has enough.
    """
    photographs = [values_of(row) for row in rows if row["status"] != "failed"]
    having = {name: [one for one in photographs if has(name, one)] for name in MEASURES}
    made = {name: histogram_of(name, v) for name, v in having.items() if len(v) >= FEWEST}
    if not made:
        most = max(map(len, having.values()), default=0)
        raise DrcoreError(
            f"A reference needs at least {FEWEST} photographs; the tables have {most}. Add more."
        )
    return made


def add_reference(folder: Path, rows: Sequence[Row], source: str) -> int:
    """Write reference histograms into the manifest of a bundle; weights stay as they are.

    Args:
        folder: of the bundle.
        rows: of a table of results that this bundle made.
        source: what the photographs are, such as "validation photographs"; no name of a patient.

    Returns:
        Number of photographs.

    Raises:
        DrcoreError: the photographs are too few, or graded by another model.
    """
    manifest = read_manifest(folder)
    model = f"{manifest.name} {manifest.version}"
    used = [row for row in rows if row["status"] != "failed"]
    if any(row.get("model_version", "") != model for row in used):
        raise DrcoreError(f"The photographs were not graded by {model}. Grade them with it first.")
    histograms = reference_of(used)
    entry = {
        "source": source,
        "photographs": len(used),
        "histograms": {
            name: {key: value for key, value in asdict(h).items() if value is not None}
            for name, h in histograms.items()
        },
    }
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    text = json.dumps({**content, "reference": entry}, indent=1, ensure_ascii=False) + "\n"
    with replacing(folder / MANIFEST) as file:
        file.write_text(text, encoding="utf-8")
    return len(used)


def reference_of_bundle(entry: Mapping[str, Any] | None) -> dict[str, Histogram]:
    """Return the histograms of a manifest's entry `reference`; none where it has no such entry.

    Raises:
        DrcoreError: the entry is damaged.
    """
    try:
        given = {} if entry is None else entry["histograms"]
        return {
            name: Histogram(
                tuple(map(float, h["edges"])), tuple(map(int, h["counts"])),
                float(h["mean"]), float(h["deviation"]), _fit_of(name, h.get("fit")),
            )
            for name, h in given.items()
            if name in MEASURES
        }  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DrcoreError(
            "The reference in the bundle's manifest is damaged. Write it again."
        ) from error


def _fit_of(name: str, entry: Mapping[str, Any] | None) -> Fit | None:
    if entry is None:
        return None
    made = Fit(*(tuple(map(float, entry[key])) for key in ("means", "deviations", "weights")))
    others = len(_OTHERS.get(name, ()))
    given = [len(made.means), len(made.deviations), len(made.weights)]
    if given != [others, others, 2 * others + 1]:
        raise ValueError("not as many numbers as there are measures")
    return made
