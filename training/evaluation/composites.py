"""Composites of real photographs: does the check find pictures that hold more than one retina?

Composites and single photographs on pages are drawn anew for each measurement; nothing is stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from drcore.photographs.reader import read_photograph
from drcore.preprocessing.retina_count import why_not_single
from training.synthetic.composites import COMPOSITES, RGB, SINGLES, Draw, Rng, finished

__all__ = ["composites", "measure", "singles", "table"]


def _drawn(
    makers: dict[str, Callable[[Rng, Draw], RGB]], paths: Sequence[Path], count: int, seed: int
) -> Iterator[tuple[str, RGB]]:
    names = list(makers)
    for number in range(count):
        name = names[number % len(names)]
        rng = np.random.default_rng([seed, number])
        page = makers[name](rng, lambda rng=rng: _read(paths[rng.integers(len(paths))]))
        yield name, finished(page, rng)


def _read(path: Path) -> RGB:
    return read_photograph(path, for_grading=True).rgb


def composites(paths: Sequence[Path], count: int, seed: int = 0) -> Iterator[tuple[str, RGB]]:
    """Put photographs together, all kinds in turn.

    Args:
        paths: of single photographs.
        count: how many composites.
        seed: of everything that varies.

    Yields:
        Kind, and uint8 (H, W, 3).
    """
    return _drawn(COMPOSITES, paths, count, seed)


def singles(paths: Sequence[Path], count: int, seed: int = 0) -> Iterator[tuple[str, RGB]]:
    """Show single photographs in larger frames, all kinds in turn; arguments as `composites`."""
    return _drawn(SINGLES, paths, count, seed)


# --- measurement --------------------------------------------------------------------------------


def measure(
    paths: Sequence[Path], *, count: int = 500, seed: int = 0, quiet: bool = False
) -> dict[str, Any]:
    """Measure the check on composites, on singles in larger frames, and on the photographs.

    Args:
        paths: of single photographs, all of which are tried as they are.
        count: composites to draw, and as many singles in larger frames.
        seed: of both.
        quiet: no progress bar.

    Returns:
        By kind: pictures, and how many the check refuses; milliseconds a picture, of this process.
    """
    spent, tried = 0.0, 0
    result: dict[str, Any] = {"seed": seed}

    def refused(rgb: RGB) -> bool:
        nonlocal spent, tried
        began = time.process_time()
        reason = why_not_single(rgb)
        spent += time.process_time() - began
        tried += 1
        return bool(reason)

    sources: dict[str, tuple[int, Iterator[tuple[str, RGB]]]] = {
        "composites": (count, composites(paths, count, seed)),
        "singles in larger frames": (count, singles(paths, count, seed)),
        "photographs": (len(paths), ((path.parent.name, _read(path)) for path in paths)),
    }
    for name, (total, pictures) in sources.items():
        by_kind: dict[str, dict[str, int]] = {}
        for kind, rgb in tqdm(pictures, total=total, desc=name, disable=quiet):
            entry = by_kind.setdefault(kind, {"pictures": 0, "refused": 0})
            entry["pictures"] += 1
            entry["refused"] += refused(rgb)
        result[name] = by_kind
    result["milliseconds"] = 1000 * spent / max(tried, 1)
    return result


def table(result: dict[str, Any]) -> str:
    """Lay out the result of `measure` as text.

    Args:
        result: what `measure` returned.

    Returns:
        Lines of text.
    """
    lines = []
    for name in ("composites", "singles in larger frames", "photographs"):
        kinds = dict(result[name])
        total = {key: sum(e[key] for e in kinds.values()) for key in ("pictures", "refused")}
        for kind, entry in ((f"{name}, all", total), *kinds.items()):
            share = entry["refused"] / max(entry["pictures"], 1)
            lines.append(
                f"{kind:<32}{entry['refused']:>6} of {entry['pictures']:>5} refused {share:>7.3f}"
            )
        lines.append("")
    lines.append(f"{result['milliseconds']:.2f} ms a picture (processor time of the check)")
    return "\n".join(lines)
