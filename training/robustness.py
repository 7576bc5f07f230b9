"""Does a grade survive another camera? `python -m training.robustness`.

Validation photographs are graded as they are, and again as if another camera, another light or
another archive had made them: changes that a reader would not mind. What the score then does says
more of photographs from elsewhere than any figure of the photographs themselves, which come from
the cameras that were trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from drcore.agreement.statistics import bootstrap_interval, quadratic_weighted_kappa, roc_auc
from drcore.errors import DrcoreError
from drcore.grading.grader import Grader
from drcore.icdr import REFERABLE
from drcore.photographs.reader import read_photograph
from drcore.preprocessing.field_of_view import FieldOfView, find_field_of_view
from training.data.augmentation import compressed
from training.data.labels import Labelled
from training.evaluation.sampling import even_sample, measuring_command
from training.gradability import RGB, blurred

__all__ = ["CHANGES", "UNTOUCHED", "measure", "table"]

UNTOUCHED = "untouched"

_SMALL = 400
"""Pixels across the field of view of a photograph that was kept small."""


def _lit(*factors: float) -> Callable[[RGB, FieldOfView], RGB]:
    """Brightness of red, green and blue by a factor, the surround left as it is."""

    def change(rgb: RGB, fov: FieldOfView) -> RGB:
        return _inside(rgb, fov, rgb * np.array(factors, np.float32))

    return change


def _toned(exponent: float) -> Callable[[RGB, FieldOfView], RGB]:
    """Another tone curve: levels, 0-1, to a power."""

    def change(rgb: RGB, fov: FieldOfView) -> RGB:
        del fov
        curve = np.round((np.arange(256) / 255) ** exponent * 255).astype(np.uint8)
        return np.asarray(cv2.LUT(rgb, curve), np.uint8)

    return change


def _unevenly_lit(rgb: RGB, fov: FieldOfView) -> RGB:
    """Light from one side: 1.2 times as bright at the left rim, 0.5 times at the right."""
    along = (np.arange(rgb.shape[1]) - fov.x) / (2 * fov.radius) + 0.5
    factor = 1.2 - 0.7 * np.clip(along, 0, 1)
    return _inside(rgb, fov, rgb * factor[None, :, None].astype(np.float32))


def _noisy(rgb: RGB, fov: FieldOfView) -> RGB:
    """Sensor noise, standard deviation 6 grey levels; the same for the same photograph."""
    rng = np.random.default_rng(int(rgb.sum(dtype=np.int64)))
    noise = rng.standard_normal(rgb.shape, dtype=np.float32) * 6
    return _inside(rgb, fov, rgb + noise)


def _small(rgb: RGB, fov: FieldOfView) -> RGB:
    """Kept with 400 px across the field of view, if it has more."""
    factor = min(1.0, _SMALL / (2 * fov.radius))
    size = [max(1, round(side * factor)) for side in rgb.shape[1::-1]]
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _compressed(rgb: RGB, fov: FieldOfView) -> RGB:
    """A trip through JPEG of quality 30."""
    del fov
    return compressed(rgb, 30)


def _upside_down(rgb: RGB, fov: FieldOfView) -> RGB:
    """Turned by 180 degrees, as seen by an indirect lens."""
    del fov
    return np.ascontiguousarray(rgb[::-1, ::-1])


def _narrower(rgb: RGB, fov: FieldOfView) -> RGB:
    """Four fifths of the field of view, as 36 degrees are of 45, about the same centre."""
    less = replace(fov, radius=0.8 * fov.radius).mask(rgb.shape[0], rgb.shape[1])
    return np.where(less[..., None], rgb, 0).astype(np.uint8)


def _inside(rgb: RGB, fov: FieldOfView, changed: NDArray[Any]) -> RGB:
    """Changed levels within the field of view, rounded; the surround as it was."""
    levels = np.clip(np.round(changed), 0, 255).astype(np.uint8)
    return np.where(fov.mask(rgb.shape[0], rgb.shape[1])[..., None], levels, rgb)


CHANGES: dict[str, Callable[[RGB, FieldOfView], RGB]] = {
    "darker": _lit(0.6, 0.6, 0.6),
    "brighter": _lit(1.35, 1.35, 1.35),
    "flat tones": _toned(0.7),
    "steep tones": _toned(1.4),
    "warmer": _lit(1.1, 1.0, 0.8),
    "cooler": _lit(0.9, 1.0, 1.2),
    "lit from a side": _unevenly_lit,
    "soft": lambda rgb, fov: blurred(rgb, fov, 0.25),
    "noise": _noisy,
    "small": _small,
    "compressed": _compressed,
    "small, compressed": lambda rgb, fov: _compressed(_small(rgb, fov), fov),
    "upside down": _upside_down,
    "narrower": _narrower,
}
"""What another camera, light or archive does, by name; takes pixels and their field of view."""


def measure(
    grader: Grader,
    rows: Sequence[Labelled],
    *,
    count: int = 150,
    seed: int = 0,
    quiet: bool = False,
) -> dict[str, Any]:
    """Grade photographs as they are and changed.

    Args:
        grader: to measure.
        rows: labelled photographs; `count` of the split "val" are used, data sets and grades as
            even as they can be.
        count: photographs.
        seed: of the choice.
        quiet: no progress bar.

    Returns:
        By change, "untouched" first and "mean" of the changes last: squared error, quadratic
        weighted kappa and referable AUC of the fused score, mean absolute difference of the score
        from that of the untouched photograph, the share whose grade is another, and the share
        called ungradable (their scores count all the same); of the squared error also by how much
        it grew, with the 95 % interval over patients.

    Raises:
        DrcoreError: there is nothing to measure, or a photograph cannot be graded.
    """
    chosen = even_sample([row for row in rows if row.split == "val"], count, seed)
    if not chosen:
        raise DrcoreError("No photograph has the split 'val': there is nothing to measure.")
    names = (UNTOUCHED, *CHANGES)
    scores, refused = np.empty((len(chosen), len(names))), np.empty((len(chosen), len(names)), bool)
    for place, row in enumerate(tqdm(chosen, unit="photograph", disable=quiet)):
        for column, report in enumerate(grader.grade_many(_changed(row))):
            if report.status == "failed":
                raise DrcoreError(f"{row.path.name}, {names[column]}: {report.reason}")
            scores[place, column] = report.score
            refused[place, column] = report.status == "ungradable"
    truth = np.array([row.grade for row in chosen])
    patients = np.array([f"{row.dataset} {row.patient}" for row in chosen])
    given = np.vectorize(grader.grade_of, otypes=[int])(scores)
    figures = {
        name: _figures(truth, patients, scores[:, [i, 0]], given[:, [i, 0]], refused[:, i])
        for i, name in enumerate(names)
    }
    figures["mean"] = {
        key: float(np.mean([figures[name][key] for name in CHANGES]))
        for key in figures[UNTOUCHED]
        if not key.endswith("_interval")
    }
    return {"model": grader.version, "photographs": len(chosen), "changes": figures}


def _changed(row: Labelled) -> Iterator[RGB]:
    rgb = read_photograph(row.path, for_grading=True).rgb
    fov = find_field_of_view(rgb)
    yield rgb
    for change in CHANGES.values():
        yield change(rgb, fov)


def _figures(
    truth: NDArray[np.int64],
    patients: NDArray[np.str_],
    scores: NDArray[np.float64],
    grades: NDArray[np.int64],
    refused: NDArray[np.bool_],
) -> dict[str, Any]:
    """Figures of one change; scores and grades (N, 2) are those after and before it."""
    (score, before), (given, given_before) = scores.T, grades.T
    error = (score - truth) ** 2
    grown = error - (before - truth) ** 2

    def growth(i: NDArray[np.int64]) -> float:
        return float(grown[i].mean())

    return {
        "squared_error": float(error.mean()),
        "grown": growth(np.arange(len(truth))),
        "grown_interval": bootstrap_interval(growth, len(truth), groups=patients),
        "kappa": quadratic_weighted_kappa(truth, given),
        "referable_auc": roc_auc(truth >= REFERABLE, score),
        "moved": float(np.abs(score - before).mean()),
        "other_grade": float((given != given_before).mean()),
        "ungradable": float(refused.mean()),
    }


def table(result: dict[str, Any]) -> str:
    """Lay out the result of `measure` as text.

    Args:
        result: what `measure` returned.

    Returns:
        Lines of text.
    """
    lines = [
        f"{result['model']}: {result['photographs']} photographs, grades and data sets alike",
        f"{'change':<19}{'squared error':>14}{'grown by (95 %)':>25}{'kappa':>7}{'AUC':>7}"
        f"{'moved by':>10}{'other grade':>13}{'ungradable':>12}",
    ]
    for name, entry in result["changes"].items():
        interval = entry.get("grown_interval")
        span = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval and entry["moved"] else ""
        lines.append(
            f"{name:<19}{entry['squared_error']:>14.3f}{entry['grown']:>7.3f}{span:>18}"
            f"{entry['kappa']:>7.3f}{entry['referable_auc']:>7.3f}{entry['moved']:>10.2f}"
            f"{entry['other_grade']:>13.2f}{entry['ungradable']:>12.2f}"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Print the figures from the command line."""
    measuring_command("training.robustness", __doc__, measure, table, arguments, count=150)


if __name__ == "__main__":
    main()
