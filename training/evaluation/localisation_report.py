"""Localisation figures as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from drcore.grading.grader import Grader
from training.data.lesion_masks import LESION_TYPES, Annotated
from training.evaluation.localisation import (
    FUSED,
    GRID,
    HEALTHY_LIMIT,
    LocalisationFigures,
    compare,
    summarise,
)

__all__ = ["table"]


def table(result: Mapping[str, Any]) -> str:
    """Lay out what the command measured as text, one line a map.

    Args:
        result: what is written as JSON.

    Returns:
        Lines of text.
    """
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
        f"{'map':<26} {'pointing hit':<17} {'AP all lesions':<17} {'pooled':<7} "
        f"{'energy on lesions':<18} {'on the disc':<17} {'outside':<7}"
    ]
    for name, f in maps.items():
        area = f["average_precision"]["all"]
        lines.append(
            f"{name:<26} {_cell(f['hit']):<17} {_cell(area):<17} {area['pooled']:<7.3f} "
            f"{_cell(f['energy_on_lesions']):<18} {_cell(f['energy_on_disc']):<17} "
            f"{f['energy_outside']['mean']:<7.4f}"
        )
    chance = next(iter(maps.values()))["average_precision"]["all"]["chance"]
    return [*lines, f"{'(share of pixels: chance)':<26} {'':<17} {chance:.3f}"]


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


def _plain(value: Any) -> Any:
    """JSON has no NaN: it becomes null."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _result(
    grader: Grader,
    photographs: Sequence[Annotated],
    figures: Mapping[str, list[LocalisationFigures]],
    selections: Mapping[str, Sequence[int]],
    draws: int,
) -> dict[str, Any]:
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
    """Name the map of highest average precision among single scales, and among real rivals."""
    kinds = {"single scales": ("ram ",), "Grad-CAM and occlusion": ("grad-cam ", "occlusion ")}
    best = {}
    for kind, starts in kinds.items():
        names = [name for name in maps if name.startswith(starts)]
        if names:
            best[kind] = max(names, key=lambda n: maps[n]["average_precision"]["all"]["mean"])
    return best
