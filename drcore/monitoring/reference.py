"""Reference histograms: how the measures are distributed while nothing has changed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcore.errors import DrcoreError
from drcore.files import replacing
from drcore.model.manifest import read_manifest
from drcore.model.manifest_format import MANIFEST
from drcore.monitoring.observations import MEASURES, values_of
from drcore.results.columns import Row

__all__ = [
    "FEWEST", "Histogram", "add_reference", "histogram_of", "reference_of", "reference_of_bundle",
]  # fmt: skip

FEWEST = 300
"""Photographs of a reference at least."""

_BINS = 10


@dataclass(frozen=True, slots=True)
class Histogram:
    """How one measure is distributed.

    Attributes:
        edges: between the bins, rising, one less than there are bins.
        counts: photographs or decisions by bin.
        mean, deviation: of the values.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    mean: float
    deviation: float

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


def histogram_of(name: str, values: Sequence[float]) -> Histogram:
    """Return the histogram of a measure: ten bins of equal counts, or its classes.

    Args:
        name: key of `MEASURES`.
        values: at least one.
    """
    given = np.asarray(values, float)
    classes = MEASURES[name].classes
    if classes:
        edges = np.arange(classes - 1) + 0.5
    else:
        edges = np.unique(np.quantile(given, np.arange(1, _BINS) / _BINS).round(4))
        edges = edges[edges > given.min()]
    counts = np.bincount(np.searchsorted(edges, given, side="right"), minlength=len(edges) + 1)
    return Histogram(
        tuple(edges.tolist()), tuple(counts.tolist()),
        round(float(given.mean()), 4), round(float(given.std()), 4),
    )  # fmt: skip


def reference_of(rows: Iterable[Row]) -> dict[str, Histogram]:
    """Return the histograms of photographs.

    Args:
        rows: of a table of results; failed photographs are left out.

    Returns:
        By measure; those of which fewer than `FEWEST` photographs have a value are left out.

    Raises:
        DrcoreError: no measure has enough.
    """
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in values_of(row).items() if row["status"] != "failed" else ():
            values.setdefault(name, []).append(value)
    made = {name: histogram_of(name, v) for name, v in values.items() if len(v) >= FEWEST}
    if not made:
        most = max(map(len, values.values()), default=0)
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
            name: {"edges": h.edges, "counts": h.counts, "mean": h.mean, "deviation": h.deviation}
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
                float(h["mean"]), float(h["deviation"]),
            )
            for name, h in given.items()
            if name in MEASURES
        }  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DrcoreError(
            "The reference in the bundle's manifest is damaged. Write it again."
        ) from error
