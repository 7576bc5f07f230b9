"""Pictures that hold more than one retina, or a retina in another picture, from real photographs.

`python -m training.composites --measure` draws them, with single photographs on pages beside them,
and prints how many of each kind the check finds or refuses. Nothing is stored.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from drcore.errors import DrcoreError
from drcore.photographs.reader import read_photograph
from drcore.preprocessing.retina_count import why_not_single
from training.data.labels import data_root, read_labels
from training.synthetic.composites import COMPOSITES, RGB, SINGLES, Draw, Rng
from training.synthetic.pages import (
    finished,
)

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


def main(arguments: list[str] | None = None) -> None:
    """Print the figures from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.composites", description=__doc__)
    parser.add_argument("--measure", action="store_true", help="draw, and measure the check")
    parser.add_argument("--labels", type=Path, help="labels.csv (default: $DRCORE_DATA/labels.csv)")
    parser.add_argument("--images", type=Path, help="folder of the photographs")
    parser.add_argument("--count", type=int, default=500, help="composites, and singles on pages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    given = parser.parse_args(arguments)
    if not given.measure:
        parser.error("nothing to do: ask with --measure")
    cv2.setNumThreads(1)
    try:
        rows = read_labels(given.labels or data_root() / "labels.csv", given.images)
    except DrcoreError as error:
        parser.exit(1, f"{error}\n")
    result = measure(
        [row.path for row in rows], count=given.count, seed=given.seed, quiet=given.quiet
    )
    print(table(result))
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
