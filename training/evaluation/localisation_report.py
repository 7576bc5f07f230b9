"""Localisation figures as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcore.agreement.statistics import bootstrap_interval
from drcore.grading.grader import Grader
from training.data.lesion_masks import LESION_TYPES, Annotated
from training.evaluation.localisation import (
    GRID,
    SINGLE_FIGURES,
    TARGETS,
    LocalisationFigures,
    from_counts,
)
from training.evaluation.localised_maps import FUSED, HEALTHY_LIMIT

__all__ = ["compare", "plain", "result_of", "summarise", "table"]


def table(result: Mapping[str, Any]) -> str:
    """Lay out what the command measured as text, one line a map."""
    lines = [result["model"]]
    for name, entry in result["sets"].items():
        lines += ["", f"{name}: {entry['photographs']} photographs, 95 % intervals over them", ""]
        lines += [*_where_table(entry["maps"]), "", *_type_table(entry["maps"]), ""]
        lines.append(f"paired: {FUSED} less, and over, other maps; AP of all lesions")
        for other, c in entry["compared"].items():
            lines.append(
                f"  {other:<26} hit {_cell(c['hit'])}   AP {_cell(c['average_precision'])}   "
                f"ratio {_cell(c['average_precision_ratio'])}"
            )
        lines += [f"best by AP among {kind}: {name}" for kind, name in entry["best"].items()]
    if result.get("healthy"):
        lines += ["", f"healthy eyes whose {FUSED} map exceeds {HEALTHY_LIMIT:g} grade somewhere"]
        for name, entry in result["healthy"].items():
            for label, some in ((name, entry), (f"{name}, cells", entry["cells"])):
                low, high = some["interval"]
                lines.append(
                    f"  {label:<20}{some['share']:6.3f} ({low:.3f} {high:.3f}) of "
                    f"{entry['photographs']}; median largest value {some['median_largest']:.2f}"
                )
    return "\n".join(lines)


def _where_table(maps: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{'map':<26} {'pointing hit':<17} {'ten patches':<17} {'AP all lesions':<17} "
        f"{'pooled':<7} {'energy on lesions':<18} {'on the disc':<17} {'outside':<7}"
    ]
    for name, f in maps.items():
        area = f["average_precision"]["all"]
        lines.append(
            f"{name:<26} {_cell(f['hit']):<17} {_cell(f['patch_precision']):<17} "
            f"{_cell(area):<17} {area['pooled']:<7.3f} {_cell(f['energy_on_lesions']):<18} "
            f"{_cell(f['energy_on_disc']):<17} {f['energy_outside']['mean']:<7.4f}"
        )
    chance = next(iter(maps.values()))["average_precision"]["all"]["chance"]
    return [*lines, f"{'(share of pixels: chance)':<26} {'':<17} {'':<17} {chance:.3f}"]


def _type_table(maps: Mapping[str, Any]) -> list[str]:
    first = next(iter(maps.values()))
    heads = [f"AP {t} (n {first['average_precision'][t]['photographs']})" for t in LESION_TYPES]
    heads += ["deletion", "insertion"]
    lines = [f"{'map':<26} " + " ".join(f"{head:<17}" for head in heads)]
    for name, f in maps.items():
        cells = [f["average_precision"][t] for t in LESION_TYPES] + [f["deletion"], f["insertion"]]
        lines.append(f"{name:<26} " + " ".join(f"{_cell(cell):<17}" for cell in cells))
    chance = [f"{first['average_precision'][t]['chance']:.4f}" for t in LESION_TYPES]
    lines.append(f"{'(share of pixels: chance)':<26} " + " ".join(f"{c:<17}" for c in chance))
    return lines


def _cell(entry: Mapping[str, Any]) -> str:
    low, high = entry["interval"]
    return "-" if math.isnan(entry["mean"]) else f"{entry['mean']:.3f} ({low:.2f} {high:.2f})"


def plain(value: Any) -> Any:
    """JSON has no NaN: it becomes null."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def result_of(
    grader: Grader,
    photographs: Sequence[Annotated],
    figures: Mapping[str, list[LocalisationFigures]],
    selections: Mapping[str, Sequence[int]],
    draws: int,
) -> dict[str, Any]:
    """Bring figures together by selection of photographs: means, comparisons, best maps."""
    result: dict[str, Any] = {"model": grader.version, "grid": GRID, "sets": {}}
    for selection, places in selections.items():
        chosen = {name: [entries[i] for i in places] for name, entries in figures.items()}
        result["sets"][selection] = {
            "photographs": len(places),
            "maps": {name: summarise(some, draws=draws) for name, some in chosen.items()},
            "compared": {
                name: compare(chosen[FUSED], some, draws=draws)
                for name, some in chosen.items()
                if name != FUSED
            },
        }
        result["sets"][selection]["best"] = _best(result["sets"][selection]["maps"])
    result["photographs"] = {
        photograph.name: {
            "clean": photograph.clean,
            "maps": {name: entries[i].to_dict() for name, entries in figures.items()},
        }
        for i, photograph in enumerate(photographs)
    }
    return result


def _best(maps: Mapping[str, Any]) -> dict[str, str]:
    """Name the map of highest average precision, of single scales and of other methods."""
    kinds = {"single scales": ("ram ",), "Grad-CAM and occlusion": ("grad-cam ", "occlusion ")}
    best = {}
    for kind, starts in kinds.items():
        names = [name for name in maps if name.startswith(starts)]
        if names:
            best[kind] = max(names, key=lambda n: maps[n]["average_precision"]["all"]["mean"])
    return best


def summarise(figures: Sequence[LocalisationFigures], *, draws: int = 1000) -> dict[str, Any]:
    """Bring the figures of one kind of map together over photographs.

    Args:
        figures: one a photograph.

    Returns:
        By measure, the mean over the photographs that have it, its 95 % interval by a bootstrap
        over photographs, and how many they are. Average precision by target, with that over the
        pixels of all photographs together ("pooled"), and the average precision of chance.
    """
    result: dict[str, Any] = {"photographs": len(figures)}
    for name in SINGLE_FIGURES:
        result[name] = _mean_and_interval([getattr(f, name) for f in figures], draws)
    result["average_precision"] = {
        target: {
            **_mean_and_interval([_precision(f, target) for f in figures], draws),
            "pooled": _pooled(figures, target),
            "chance": _mean(np.array([f.prevalence.get(target, math.nan) for f in figures])),
        }
        for target in TARGETS
    }
    return result


def compare(
    first: Sequence[LocalisationFigures],
    second: Sequence[LocalisationFigures],
    *,
    draws: int = 1000,
) -> dict[str, Any]:
    """Compare two kinds of map on the same photographs.

    Args:
        first, second: one a photograph, in the same order.

    Returns:
        For pointing hit and for average precision of all lesions, the mean of first - second with
        its 95 % interval; for average precision also the ratio of the means with its interval.
    """
    hits = np.array([[f.hit for f in side] for side in (first, second)])
    areas = np.array([[_precision(f, "all") for f in side] for side in (first, second)])

    def ratio(i: NDArray[np.int64]) -> float:
        below = _mean(areas[1, i])
        return _mean(areas[0, i]) / below if below > 0 else math.nan

    return {
        "hit": _mean_and_interval(hits[0] - hits[1], draws),
        "average_precision": _mean_and_interval(areas[0] - areas[1], draws),
        "average_precision_ratio": {
            "mean": ratio(np.arange(areas.shape[1])),
            "interval": bootstrap_interval(ratio, areas.shape[1], draws=draws),
        },
    }


def _pooled(figures: Sequence[LocalisationFigures], target: str) -> float:
    total = np.zeros((1 << 16, 2), np.int64)
    column = 1 + TARGETS.index(target)
    for figure in figures:
        if target in figure.average_precision:
            total[figure.values] += figure.counts[:, [0, column]]
    falling = total[total[:, 0] > 0][::-1]
    if len(falling) == 0:
        return math.nan
    return from_counts(np.cumsum(falling[:, 0]), np.cumsum(falling[:, 1]))


def _precision(figures: LocalisationFigures, target: str) -> float:
    return figures.average_precision.get(target, math.nan)


def _mean(values: NDArray[Any]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan


def _mean_and_interval(values: Sequence[float] | NDArray[np.float64], draws: int) -> dict[str, Any]:
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return {
        "mean": _mean(known),
        "interval": bootstrap_interval(lambda i: _mean(known[i]), len(known), draws=draws),
        "photographs": len(known),
    }
