"""How well the network of the gradability check does on what it was not trained on."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import binomtest

from drcore.evaluation.metrics import expected_calibration_error
from training.data.gate_squares import GRADABLE, GateSquares

__all__ = [
    "Calibration",
    "Judged",
    "calibrated",
    "figures",
    "judged_by_folds",
    "partitions",
    "table",
]

Floats = NDArray[np.float64]

_BARS = {"good": 0.04, "reject": 0.15, "healthy": 0.025, "eophtha": 0.05, "severe": 0.02}
"""Shares of rejects graded and of the others refused that are wanted at most."""

_CAMERAS = ("drimdb", "healthy")
"""Kinds that are left out as a whole: cameras that nobody thought of."""

_FOLDS = 5
_NEW = "without "


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


def partitions(data: GateSquares) -> dict[str, NDArray[np.bool_]]:
    """Return, by name, the pictures that a network is not trained on and is judged by.

    A fifth of the patients, and of the families of other things, at a time; then all of DRIMDB, and
    all healthy eyes of foreign cameras, which is the figure for a camera that nobody thought of.
    """
    codes = np.array([zlib.crc32(group.encode()) for group in data.groups])
    first = np.array([kind.split()[0] for kind in data.kinds])
    out = {f"fold {fold + 1}": codes % _FOLDS == fold for fold in range(_FOLDS)}
    return out | {f"{_NEW}{camera}": first == camera for camera in _CAMERAS}


def judged_by_folds(odds: Mapping[str, Floats], data: GateSquares) -> Judged:
    """Put together what the networks of `partitions` say of pictures to train on.

    Args:
        odds: by name of the partition, float64 (N,); read where the partition is left out.
        data: the N pictures.

    Returns:
        Each picture once, and those of cameras that were left out again under a kind that says so.
    """
    parts = [
        (name, out & ~data.held_out, _NEW if name.startswith(_NEW) else "")
        for name, out in partitions(data).items() if name in odds
    ]  # fmt: skip
    return Judged(
        np.concatenate([np.char.add(before, data.kinds[out]) for _, out, before in parts]),
        np.concatenate([data.classes[out] == GRADABLE for _, out, _ in parts]),
        np.concatenate([odds[name][out] for name, out, _ in parts]),
    )


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
        for kind, entry in found.items() for word, bar in _BARS.items()
        if word in kind and not kind.startswith(("equalised", _NEW))
    )  # fmt: skip


def _shares(judged: Judged, calibration: Calibration) -> dict[str, dict[str, float]]:
    """By kind: how many, and the share of mistakes with its 95 % interval (Wilson)."""
    mistaken = (calibration.scores(judged.odds) >= calibration.threshold) != judged.gradable
    shares = {}
    for kind in np.unique(judged.kinds):
        here = mistaken[judged.kinds == kind]
        interval = binomtest(int(here.sum()), len(here)).proportion_ci(method="wilson")
        shares[str(kind)] = {
            "photographs": len(here), "wrong": float(here.mean()),
            "low": float(interval.low), "high": float(interval.high),
        }  # fmt: skip
    return shares


def figures(unseen: Judged, held_out: Judged, calibration: Calibration) -> dict[str, Any]:
    """Measure.

    Args:
        unseen: what was left out, judged by a network that was not trained on it.
        held_out: judged by the network that ships, which was not trained on them.
    """
    return {
        "threshold": calibration.threshold,
        "left_out": _shares(unseen, calibration),
        "held_out": _shares(held_out, calibration),
        "calibration": {
            name: _reliability(judged.of("eyeq"), calibration)
            for name, judged in (("left out", unseen), ("held out", held_out))
        },
    }


def _reliability(judged: Judged, calibration: Calibration) -> dict[str, Any]:
    scores = calibration.scores(judged.odds)
    place = np.minimum((scores * 5).astype(int), 4)
    return {
        "photographs": len(scores),
        "error": expected_calibration_error(
            np.stack([1 - scores, scores], axis=1), judged.gradable.astype(np.int64), bins=10
        ),
        "bins": [
            {"photographs": int((place == bin_).sum()),
             "score": float(scores[place == bin_].mean()),
             "gradable": float(judged.gradable[place == bin_].mean())}
            for bin_ in np.unique(place)
        ],
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """Lay out the result of `figures` as text."""
    lines = [f"threshold {result['threshold']:.2f}"]
    for part in ("left_out", "held_out"):
        lines.append(f"{part.replace('_', ' ')}: refused though gradable, or graded though not")
        lines += [
            f"  {kind:<24}{entry['wrong']:7.3f} ({entry['low']:.3f}-{entry['high']:.3f}) "
            f"of {entry['photographs']}"
            for kind, entry in result[part].items()
        ]
    for name, entry in result["calibration"].items():
        lines.append(
            f"calibration error, EyeQ {name}: {entry['error']:.3f} of {entry['photographs']}"
        )
        lines += [
            f"  score {bin_['score']:.2f}: gradable {bin_['gradable']:.2f} of {bin_['photographs']}"
            for bin_ in entry["bins"]
        ]
    return "\n".join(lines)
