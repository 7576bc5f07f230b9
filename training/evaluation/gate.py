"""How well the network of the gradability check does on what it was not trained on."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from drcore.evaluation.metrics import expected_calibration_error
from training.data.gate_squares import GRADABLE, GateSquares

__all__ = ["Calibration", "Judged", "calibrated", "figures", "left_out", "table"]

Floats = NDArray[np.float64]

_BARS = {"good": 0.04, "reject": 0.15, "healthy": 0.03}
"""Shares of good and healthy refused and of rejects graded that are wanted at most."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Photographs as they are, judged by a network that has not seen them.

    Attributes:
        kinds: of `training.data.gate_squares.Picture`.
        gradable: bool, what a reader said.
        odds: log odds of "gradable", before calibration.
    """

    kinds: NDArray[np.str_]
    gradable: NDArray[np.bool_]
    odds: Floats

    def of(self, prefix: str) -> Judged:
        """Return those whose kind begins so."""
        chosen = np.char.startswith(self.kinds, prefix)
        return Judged(self.kinds[chosen], self.gradable[chosen], self.odds[chosen])


@dataclass(frozen=True, slots=True)
class Calibration:
    """From log odds to a probability, and from which one on a photograph is graded."""

    slope: float
    offset: float
    threshold: float

    def scores(self, odds: Floats) -> Floats:
        """Return probabilities of "gradable", 0-1."""
        return np.asarray(expit(self.slope * odds + self.offset), np.float64)


def left_out(data: GateSquares) -> NDArray[np.bool_]:
    """Return which examples the network that tells of foreign cameras is not trained on.

    DRIMDB and the healthy eyes wholly, a third of the patients of EyeQ, and half of the families of
    other things.
    """
    codes = np.array([zlib.crc32(group.encode()) for group in data.groups])
    patients = np.char.startswith(data.kinds, "eyeq") & (codes % 3 == 0)
    families = (data.kinds == "drawn") & (codes % 2 == 0)
    cameras = np.char.startswith(data.kinds, "drimdb") | (data.kinds == "healthy")
    return np.asarray(patients | families | cameras)


def calibrated(judged: Judged) -> Calibration:
    """Fit the probability on the labels of EyeQ, and the threshold that meets all bars best.

    Args:
        judged: by a network that has not seen them.
    """
    eyeq = judged.of("eyeq")
    truth = eyeq.gradable.astype(np.float64)

    def cost(values: Floats) -> float:
        logits = values[0] * eyeq.odds + values[1]
        return float(np.mean(np.logaddexp(0, logits) - truth * logits))

    slope, offset = minimize(cost, np.array([1.0, 0.0]), method="Nelder-Mead").x
    fitted = Calibration(float(slope), float(offset), 0.5)
    grid = np.round(np.arange(0.05, 0.951, 0.01), 2)
    worst = [_farthest(judged, Calibration(fitted.slope, fitted.offset, t)) for t in grid]
    return Calibration(fitted.slope, fitted.offset, float(grid[int(np.argmin(worst))]))


def _farthest(judged: Judged, calibration: Calibration) -> float:
    """The largest share of its bar that a measured share takes up."""
    found = _shares(judged, calibration)
    return max(
        entry["wrong"] / bar
        for kind, entry in found.items() for word, bar in _BARS.items() if word in kind
    )  # fmt: skip


def _shares(judged: Judged, calibration: Calibration) -> dict[str, dict[str, float]]:
    """By kind: how many there are, and the share refused that is gradable or graded that is not."""
    graded = calibration.scores(judged.odds) >= calibration.threshold
    return {
        str(kind): {
            "photographs": int((judged.kinds == kind).sum()),
            "wrong": float((graded != judged.gradable)[judged.kinds == kind].mean()),
        }
        for kind in np.unique(judged.kinds)
    }


def figures(unseen: Judged, held_out: Judged, calibration: Calibration) -> dict[str, Any]:
    """Measure.

    Args:
        unseen: what was left out, judged by a network that was not trained on it.
        held_out: judged by the network that ships, which was not trained on them.
    """
    eyeq = held_out.of("eyeq")
    scores = calibration.scores(eyeq.odds)
    return {
        "threshold": calibration.threshold,
        "left_out": _shares(unseen, calibration),
        "held_out": _shares(held_out, calibration),
        "calibration": {
            "photographs": len(scores),
            "error": expected_calibration_error(
                np.stack([1 - scores, scores], axis=1), eyeq.gradable.astype(np.int64), bins=10
            ),
            "reliability": _reliability(scores, eyeq.gradable),
        },
    }


def _reliability(scores: Floats, gradable: NDArray[np.bool_]) -> list[dict[str, float]]:
    place = np.minimum((scores * 5).astype(int), 4)
    return [
        {"photographs": int((place == bin_).sum()), "score": float(scores[place == bin_].mean()),
         "gradable": float(gradable[place == bin_].mean())}
        for bin_ in np.unique(place)
    ]  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """Lay out the result of `figures` as text."""
    lines = [f"threshold {result['threshold']:.2f}"]
    for part in ("left_out", "held_out"):
        lines.append(f"{part.replace('_', ' ')}: refused though gradable, or graded though not")
        lines += [
            f"  {kind:<24}{entry['wrong']:7.3f} of {entry['photographs']}"
            for kind, entry in result[part].items()
        ]
    calibration = result["calibration"]
    lines.append(
        f"calibration error {calibration['error']:.3f} on {calibration['photographs']} held out"
    )
    lines += [
        f"  score {bin_['score']:.2f}: gradable {bin_['gradable']:.2f} of {bin_['photographs']}"
        for bin_ in calibration["reliability"]
    ]
    return "\n".join(lines)


def is_gradable(data: GateSquares, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return what a reader said of examples."""
    return np.asarray(data.classes[chosen] == GRADABLE)
