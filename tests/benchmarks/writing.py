"""How much writing is found on photographs, and how often a photograph without any is held back.

python -m tests.benchmarks.writing DATA renders names and dates in many scripts onto real
photographs at their own size and looks for them, then looks at every photograph as it is. DATA has
images/, lesions/, eophtha/, healthy/, originals/ or some of them; fonts are taken from the system
(Debian: fonts-noto-core, fonts-noto-cjk, fonts-freefont-ttf, fonts-dejavu).
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from drcore.errors import PhotographError
from drcore.export.writing import find_writing
from drcore.photographs.formats import EXTENSIONS
from drcore.photographs.reader import read_photograph
from drcore.preprocessing.field_of_view import find_field_of_view
from training.data.writing_squares import HELD_OUT
from training.synthetic.burnt_in import COLOURS, NAMES, Line, burn_in, fonts_in, random_line

FOLDERS = ("images", "lesions", "eophtha", "healthy", "originals")
QUALITIES = (60, 75, 85, 95, 0)
"""Of the JPEG that a photograph becomes after the writing; 0 for none."""
HEIGHTS = ((0, 12), (12, 16), (16, 24), (24, 40), (40, 1000))
"""Of the ink, in pixels."""
LEGIBLE = 25
"""Levels by which half of the ink differs from what it covers, at least."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One line on one photograph: what was written, and the score of what was found."""

    line: Line
    photograph: str
    height: int
    legible: bool
    quality: int
    score: float
    found: bool


def photographs(data: Path, folders: Iterable[str]) -> dict[str, list[Path]]:
    """Return the photographs of a data folder by set; masks are none."""
    sets: dict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        for file in sorted((data / folder).glob("*")):
            if file.suffix.lower() in EXTENSIONS and not file.stem.endswith("_mask"):
                name = file.name.split("_")[0] if folder == "images" else folder
                sets["eyepacs" if name.isdigit() else name].append(file)
    if not sets:
        raise SystemExit(f"There are no photographs in {data}.")
    return dict(sets)


def trials(data: Path, fonts: Path, count: int, seed: int) -> Iterator[Trial]:
    """Write lines on photographs, each script and each set as often as the others."""
    rng = np.random.default_rng(seed)
    sets, known = photographs(data, FOLDERS), fonts_in(fonts)
    scripts = [*(script for script in NAMES if script in known), "Date"]
    names = sorted(sets)
    done = 0
    while done < count:
        # Six originals of 12 megapixels are not a set like the others.
        odds = np.array([0.2 if name == "originals" else 1.0 for name in names])
        name = names[int(rng.choice(len(names), p=odds / odds.sum()))]
        rgb = read_photograph(sets[name][int(rng.integers(len(sets[name])))]).rgb
        line = random_line(rng, known, scripts[done % len(scripts)], (11, 64))
        view = find_field_of_view(rgb)
        made = burn_in(rgb, line, view if view.found else None, rng)
        if made is None:
            continue
        done += 1
        written, (left, top, right, bottom) = made
        gap = np.abs(written.astype(int) - rgb).max(axis=2)[top:bottom, left:right]
        legible = float(np.quantile(gap[gap > 8], 0.5)) >= LEGIBLE if (gap > 8).any() else False
        quality = QUALITIES[int(rng.integers(len(QUALITIES)))]
        if quality:
            written = compressed(written, quality)
        height = min(bottom - top, right - left)
        told = find_writing(exported(written))
        yield Trial(line, name, height, legible, quality, told.score, told.found)


def compressed(rgb: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Send a picture through JPEG."""
    data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(np.asarray(decoded, np.uint8)[..., ::-1])


def exported(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blacken what an export blackens; a photograph without a rim stays as it is."""
    view = find_field_of_view(rgb)
    if not view.found:
        return rgb
    return np.where(view.mask(*rgb.shape[:2])[..., None], rgb, np.uint8(0)).astype(np.uint8)


def share(title: str, groups: dict[str, list[bool]]) -> None:
    """Print what share of each group was found."""
    print(f"\n{title}")
    for name, found in groups.items():
        print(f"  {name:22} {np.mean(found):6.1%} of {len(found)}")


def recall(done: list[Trial]) -> None:
    """Print how much writing was found, by what it was like."""
    by_height = {
        f"{low}-{high - 1} px": [t.found for t in done if low <= t.height < high]
        for low, high in HEIGHTS
    }
    share("By height of the ink", {name: found for name, found in by_height.items() if found})
    done = [t for t in done if t.height >= 12]
    legible = [t for t in done if t.legible]
    groups = {"all": done, "legible": legible}
    share("12 px and more", {name: [t.found for t in group] for name, group in groups.items()})
    for title, key in (
        ("By script (* never seen in training)",
         lambda t: t.line.script + ("*" if t.line.script in HELD_OUT else "")),
        ("By colour", lambda t: t.line.colour), ("By style", lambda t: t.line.style),
        ("By quarter turns", lambda t: str(t.line.turned)), ("By set", lambda t: t.photograph),
        ("By JPEG quality", lambda t: str(t.quality)),
    ):  # fmt: skip
        groups_of: dict[str, list[bool]] = defaultdict(list)
        for trial in legible:
            groups_of[key(trial)].append(trial.found)
        share(f"{title}, legible, 12 px and more", dict(sorted(groups_of.items())))


@dataclass(frozen=True, slots=True)
class Looked:
    """One photograph as it is: its set, its file, and the score of what was found."""

    photograph: str
    file: Path
    rim: bool
    score: float
    found: bool


def false_alarms(data: Path, folders: Iterable[str], every: int) -> list[Looked]:
    """Look at photographs as they are; returns what was found on each."""
    done = []
    print("\nPhotographs held back")
    for name, files in photographs(data, folders).items():
        chosen = files[::every]
        before = len(done)
        for file in chosen:
            try:
                rgb = read_photograph(file).rgb
            except PhotographError as error:
                print(error)
                continue
            told, rim = find_writing(exported(rgb)), find_field_of_view(rgb).found
            done.append(Looked(name, file, rim, told.score, told.found))
        _say(name, done[before:])
    _say("all", done)
    return done


def _say(name: str, looked: list[Looked]) -> None:
    held, without = sum(one.found for one in looked), sum(not one.rim for one in looked)
    print(
        f"  {name:22} {held} of {len(looked)} ({held / max(1, len(looked)):.2%}); "
        f"no rim, left out anyway: {without}",
        flush=True,
    )


def main(arguments: list[str] | None = None) -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--fonts", type=Path, default=Path("/usr/share/fonts"))
    parser.add_argument("--lines", type=int, default=1000, help="lines to write")
    parser.add_argument(
        "--every", type=int, default=1, help="look at every n-th photograph; 0: none"
    )
    parser.add_argument("--folders", nargs="+", default=FOLDERS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="scores of every line and photograph held back")
    asked = parser.parse_args(arguments)
    print(f"Colours: {', '.join(COLOURS)}; sizes 11 to 64 px (em).")
    done = list(trials(asked.data, asked.fonts, asked.lines, asked.seed)) if asked.lines else []
    if done:
        recall(done)
    looked = false_alarms(asked.data, asked.folders, asked.every) if asked.every else []
    for one in sorted(looked, key=lambda one: -one.score):
        if one.found:
            print(f"  {one.score:.3f} {one.photograph} {one.file.name}")
    if asked.json:
        lines = [
            {"script": t.line.script, "colour": t.line.colour, "style": t.line.style,
             "size": t.line.size, "height": t.height, "legible": t.legible, "set": t.photograph,
             "font": t.line.font.file.name, "score": t.score, "text": t.line.text,
             "opacity": t.line.opacity, "quality": t.quality}
            for t in done
        ]  # fmt: skip
        alarms = [[o.photograph, o.file.name, o.rim, o.score] for o in looked]
        told = json.dumps({"lines": lines, "photographs": alarms}, ensure_ascii=False)
        asked.json.write_text(told, "utf-8")


if __name__ == "__main__":
    main()
