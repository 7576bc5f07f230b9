"""Squares that the gradability check learns from: photographs, spoilt ones, and other things."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from drcore.errors import DrcoreError
from drcore.photographs.reader import read_photograph
from drcore.preprocessing.field_of_view import find_field_of_view
from drcore.preprocessing.gate import CLASSES
from drcore.preprocessing.quality_measures import SIDE, retina_square
from training.data.labels import Labelled
from training.synthetic.distractors import DRAWN
from training.synthetic.non_fundus import FAMILIES
from training.synthetic.phantom import make_phantom
from training.synthetic.recipe import random_recipe

__all__ = ["GRADABLE", "UNGRADABLE", "GateSquares", "Picture", "build", "pictures_of"]

RGB = NDArray[np.uint8]
Rng = np.random.Generator

GRADABLE = 1
"""Bit of the class "gradable"; bit `n` stands for `CLASSES[n]`."""
UNGRADABLE = 2 ** len(CLASSES) - 1 - GRADABLE
"""Any other class: a reader said "reject" and not why."""
_NOT_A_RETINA = 2 ** CLASSES.index("not a retina")

_SHARES = {"aptos2019": 0.15, "eyepacs": 0.0, "eyepacs severe": 0.0, "messidor2": 0.5,
           "equalised good": 0.5, "equalised usable": 0.5}  # fmt: skip
"""By kind: the share of photographs that is used, where it is not all."""

_QUALITIES = {"0": "good", "1": "usable", "2": "reject"}
"""Labels of EyeQ as the table of equalised photographs writes them."""

_SEVERE = 3
_PHANTOMS, _DRAWN = 48, 1000


@dataclass(frozen=True, slots=True)
class Picture:
    """A photograph, or something drawn.

    Attributes:
        path: of the photograph, or a name.
        kind: source and what was said of it, such as "eyeq reject"; "severe" are grades 3 and 4.
        classes: bits of the classes that it may belong to.
        group: photographs of one group are on one side of every division.
        held_out: True where it is only measured on.
        draw: makes it; None where it is read from `path`.
    """

    path: Path
    kind: str
    classes: int
    group: str
    held_out: bool = False
    draw: Callable[[], RGB] | None = None


@dataclass(frozen=True, slots=True)
class GateSquares:
    """The field of view of each picture as it is; arrays of the same length N.

    Attributes:
        squares: uint8 (N, 256, 256, 3), black around the field of view.
        classes: uint8, bits of the classes that it may belong to.
        kinds, groups, names: str.
        held_out: bool, only measured on.
    """

    squares: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    kinds: NDArray[np.str_]
    groups: NDArray[np.str_]
    names: NDArray[np.str_]
    held_out: NDArray[np.bool_]


def pictures_of(root: Path, rows: list[Labelled], seed: int = 0) -> list[Picture]:
    """List all pictures that the check is trained and measured on.

    Args:
        root: folder with the tables quality.csv, equalised.csv, healthy.csv and eophtha.csv; what
            is missing is left out.
        rows: graded photographs; those of another split than "train" are only measured on, and
            their kind says so ("val idrid") where no reader judged their quality.
    """
    graded = {row.path.name: row for row in rows}
    found, labelled = [], set()
    for row in _table(root / "quality.csv"):
        path, quality, source = root / row["image"], row["quality"], row["source"]
        known = graded.get(path.name)
        if source == "eyeq" and known is None:
            continue
        labelled.add(path.name)
        found.append(
            Picture(path, f"{source} {quality}", _classes_of(quality),
                    path.stem if known is None else known.patient,
                    held_out=known is not None and known.split != "train")
        )  # fmt: skip
    found += [_graded(row) for row in rows if row.path.name not in labelled]
    found += [
        Picture(root / "equalised" / row["image"], f"equalised {_QUALITIES[row['quality']]}",
                _classes_of(_QUALITIES[row["quality"]]), row["patient"])
        for row in _table(root / "equalised.csv") if row["quality"] in _QUALITIES
    ]  # fmt: skip
    found += [
        Picture(root / "healthy" / row["image"], "healthy", GRADABLE, row["patient"])
        for row in _table(root / "healthy.csv")
    ]
    found += [
        Picture(root / "eophtha" / row["image"], "eophtha", GRADABLE, row["patient"])
        for row in _table(root / "eophtha.csv")
        if row["split"] == "train"
    ]
    return [*found, *_drawn(seed)]


def _graded(row: Labelled) -> Picture:
    held_out = row.split != "train"
    kind = "val " * held_out + row.dataset + " severe" * (row.grade >= _SEVERE)
    return Picture(row.path, kind, GRADABLE, row.patient, held_out)


def _classes_of(quality: str) -> int:
    if quality == "not_a_retina":
        return _NOT_A_RETINA
    return UNGRADABLE if quality == "reject" else GRADABLE


def _table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _drawn(seed: int) -> Iterator[Picture]:
    """Phantoms, pictures of other things, and pictures without light or with nothing else."""
    for number in range(_PHANTOMS):
        yield Picture(Path(f"phantom {number}"), "phantom", GRADABLE, f"phantom {number}",
                      draw=lambda number=number: _phantom(number, seed))  # fmt: skip
    for number in range(40):
        level, kind = (0, "dark") if number % 2 else (255, "over-exposed")
        yield Picture(Path(f"{kind} {number}"), "drawn", 2 ** CLASSES.index(kind), "empty",
                      draw=lambda level=level, number=number: _empty(level, number))  # fmt: skip
    families: dict[str, Callable[[Rng], NDArray[np.generic]]] = {**FAMILIES, **DRAWN}
    names = [*FAMILIES, *DRAWN, *DRAWN]
    for number in range(_DRAWN):
        name = names[number % len(names)]
        yield Picture(Path(f"{name} {number}"), "drawn", _NOT_A_RETINA, name,
                      draw=lambda name=name, number=number: _levels(
                          families[name](np.random.default_rng([seed, 77, number]))))  # fmt: skip


def _phantom(number: int, seed: int) -> RGB:
    rng = np.random.default_rng([seed, 5, number])
    return make_phantom(random_recipe(rng, size=int(rng.integers(300, 560)))).rgb


def _empty(level: int, number: int) -> RGB:
    rng = np.random.default_rng(number)
    noise = rng.normal(0, rng.uniform(0, 2), (300, int(rng.integers(200, 400)), 3))
    return _levels(level + noise)


def _levels(values: NDArray[np.generic]) -> RGB:
    return np.clip(np.asarray(values, np.float32), 0, 255).astype(np.uint8)


def build(
    pictures: list[Picture], file: Path, *, seed: int = 0, quiet: bool = False
) -> GateSquares:
    """Bring all pictures into squares, or open what an earlier run has made.

    Args:
        file: receives the arrays (npz) and, beside it, the squares (npy); 197 kB a picture.
    """
    pixels = file.with_suffix(".npy")
    if not file.exists():
        _fill(pictures, file, pixels, seed, quiet=quiet)
    with np.load(file, allow_pickle=False) as kept:
        arrays = {name: kept[name] for name in kept.files}
    return GateSquares(squares=np.load(pixels, mmap_mode="r")[: len(arrays["classes"])], **arrays)


def _fill(pictures: list[Picture], file: Path, pixels: Path, seed: int, *, quiet: bool) -> None:
    squares = np.lib.format.open_memmap(
        pixels, mode="w+", dtype=np.uint8, shape=(len(pictures), SIDE, SIDE, 3)
    )
    made: list[Picture] = []
    for picture in tqdm(pictures, disable=quiet):
        # By its name: the same choice and the same noise whatever else is in the list.
        rng = np.random.default_rng([seed, zlib.crc32(picture.path.name.encode())])
        if rng.random() > _SHARES.get(picture.kind, 1.0) and not picture.held_out:
            continue
        try:
            rgb = picture.draw() if picture.draw else _read(picture.path)
        except DrcoreError as error:
            print(f"{picture.path.name} is left out: {error}")
            continue
        squares[len(made)] = retina_square(rgb, find_field_of_view(rgb))
        made.append(picture)
    squares.flush()
    np.savez_compressed(
        file,
        classes=np.array([picture.classes for picture in made], np.uint8),
        kinds=np.array([picture.kind for picture in made]),
        groups=np.array([picture.group for picture in made]),
        names=np.array([picture.path.name for picture in made]),
        held_out=np.array([picture.held_out for picture in made]),
    )


def _read(path: Path) -> RGB:
    return read_photograph(path, for_grading=True).rgb
