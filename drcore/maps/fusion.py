"""Fusing Regression Activation Maps of several scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from drcore.errors import DrcoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FUSION_RULES", "FusionRule", "covered_mean", "fuse", "resample"]

FusionRule = Literal["mean", "max", "minmax_sum", "product"]
FUSION_RULES: tuple[FusionRule, ...] = get_args(FusionRule)

Map = NDArray[np.float32]


def covered_mean(ram: Map, coverage: Map) -> float:
    """Mean of a map over the retina.

    Args:
        ram: float32 (m, m), grades.
        coverage: float32 (m, m), 0-1, share of each cell that is retina.

    Returns:
        Mean in grades; 0 where there is no retina.
    """
    # Sums in float64, several times as fast as NumPy's.
    values, share = np.asarray(ram, np.float32), np.asarray(coverage, np.float32)
    total = cv2.sumElems(share)[0]
    return cv2.sumElems(cv2.multiply(values, share))[0] / total if total > 0 else 0.0


def resample(ram: Map, coverage: Map, fine_coverage: Map) -> Map:
    """Bring a map to more cells without changing its mean over the retina.

    Bilinear interpolation shifts the mean a little where the map is steep along the rim; that
    constant is taken off again, so that `mean(map) + bias == score` survives.

    Args:
        ram: float32 (m, m), grades.
        coverage: float32 (m, m), 0-1.
        fine_coverage: float32 (n, n), 0-1, coverage of the cells wanted.

    Returns:
        float32 (n, n), grades.
    """
    cells = fine_coverage.shape[0]
    if ram.shape[0] == cells:
        return ram
    resized = cv2.resize(ram, (cells, cells), interpolation=cv2.INTER_LINEAR)
    fine = np.asarray(resized, np.float32)
    return fine + np.float32(covered_mean(ram, coverage) - covered_mean(fine, fine_coverage))


def fuse(
    maps: Sequence[Map],
    coverage: Map,
    rule: FusionRule = "mean",
    weights: Sequence[float] | None = None,
) -> Map:
    """Fuse maps of one photograph from several input scales.

    Args:
        maps: float32 (m, m) each, grades, all with the same cells (see `resample`).
        coverage: float32 (m, m), 0-1; cells without retina do not count in minima and maxima.
        rule: "mean", in grade units: its mean over the retina plus the mean bias is the mean
            score, all three with the same weights. "max", in grade units: the highest claim of
            any scale. "minmax_sum": each map stretched to 0-1, then added (Wang & Yang 2017,
            section 4); no unit. "product": each stretched to 0-1, then multiplied; no unit.
        weights: how much each map counts in the mean, not all 0; equal if None. The
            other rules have none.

    Returns:
        float32 (m, m).

    Raises:
        DrcoreError: no map was given, or the rule is unknown.
    """
    if not maps:
        raise DrcoreError("There is no map to fuse: choose at least one scale.")
    if rule == "mean":
        shares = np.ones(len(maps)) if weights is None else np.asarray(weights, np.float64)
        shares = (shares / shares.sum()).astype(np.float32)
        fused = maps[0] * shares[0]
        for ram, share in zip(maps[1:], shares[1:], strict=True):
            fused += ram * share
        return np.asarray(fused, np.float32)
    if rule == "max":
        return np.asarray(np.max(maps, axis=0), np.float32)
    if rule not in FUSION_RULES:
        raise DrcoreError(f"Unknown fusion rule {rule!r}: choose {', '.join(FUSION_RULES)}.")
    stretched = [_stretch(ram, coverage > 0) for ram in maps]
    combine = np.sum if rule == "minmax_sum" else np.prod
    return np.asarray(combine(stretched, axis=0), np.float32)


def _stretch(ram: Map, retina: NDArray[np.bool_]) -> Map:
    """Stretch the retina's values to 0-1; a flat map becomes 0, never 0 / 0."""
    inside = ram[retina]
    if inside.size == 0:
        return np.zeros_like(ram)
    low, high = float(inside.min()), float(inside.max())
    if high - low < 1e-9:
        return np.zeros_like(ram)
    return np.asarray(np.clip((ram - low) / (high - low), 0, 1), np.float32)
