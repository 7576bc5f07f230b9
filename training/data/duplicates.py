"""Photographs that show the same eye."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from drcore.agreement.statistics import bootstrap_interval
from drcore.errors import DrcoreError
from drcore.preprocessing.network_input import Preprocessing
from training.data.labels import Labelled
from training.data.lesion_masks import Annotated, read_lesions
from training.data.squares import SQUARE, Squares, warped

__all__ = [
    "Picture",
    "Repeat",
    "RepeatsError",
    "eyes_of",
    "find_repeats",
    "grades_of_repeats",
    "keep_apart",
    "photographs_with_masks",
    "pictures_of",
    "read_repeats",
    "with_eyes_in",
    "with_eyes_in_training",
    "write_repeats",
]


_POINTS = 400
_NEIGHBOURS = 8
_DISTINCT = 0.75  # Lowe's ratio
_VOTES = 8
_ENOUGH = 20
"""Key points that lie alike. Photographs of different eyes have fewer than ten."""
_LARGEST_TURN = 25.0
_LARGEST_ZOOM = 1.25
_RIM = 15
_COLUMNS = ("image", "other", "matches", "same_picture")


class RepeatsError(DrcoreError):
    """The table of repeated photographs cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A photograph in which to look for an eye.

    Attributes:
        name: file name.
        pixels: uint8 (512, 512, 3), 0-255.
        mask: uint8 (m, m), 255 on the retina.
    """

    name: str
    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Repeat:
    """Two photographs of one eye.

    Attributes:
        image: file name.
        other: file name of the second.
        matches: key points that lie alike in both.
        same_picture: whether nothing has moved, to two pixels of 512: the same photograph twice, or
            one cropped from the other.
    """

    image: str
    other: str
    matches: int
    same_picture: bool


def find_repeats(pictures: Iterable[Picture], *, quiet: bool = True) -> list[Repeat]:
    """Find the pairs of photographs that show the same eye."""
    names, points, descriptors = [], [], []
    for picture in tqdm(pictures, desc="key points", unit="photograph", disable=quiet):
        found = _key_points(picture)
        if found is not None:
            names.append(picture.name)
            points.append(found[0])
            descriptors.append(found[1])
    if len(names) < 2:
        return []
    # One approximate index of all key points names the candidates, in time that grows little more
    # than with their number; each candidate is then compared exactly.
    cv2.setRNGSeed(0)
    index = cv2.FlannBasedMatcher({"algorithm": 1, "trees": 4}, {"checks": 48})
    index.add(descriptors)
    index.train()
    repeats = []
    for first, mine in enumerate(tqdm(descriptors, desc="repeats", disable=quiet)):
        votes = np.zeros(len(names), np.int64)
        for near in index.knnMatch(mine, k=_NEIGHBOURS):
            votes[list({match.imgIdx for match in near})] += 1
        for second in np.flatnonzero(votes[first + 1 :] >= _VOTES) + first + 1:
            alike = _alike(points[first], mine, points[second], descriptors[second])
            if alike is not None:
                repeats.append(Repeat(names[first], names[second], *alike))
    return repeats


def eyes_of(repeats: Sequence[Repeat]) -> dict[str, int]:
    """Number the eyes that are shown more than once."""
    names = sorted({name for repeat in repeats for name in (repeat.image, repeat.other)})
    place = {name: i for i, name in enumerate(names)}
    ends = [(place[repeat.image], place[repeat.other]) for repeat in repeats]
    rows, columns = np.array(ends, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(ends)), (rows, columns)), shape=(len(names), len(names)))
    _, eye = connected_components(graph, directed=False)
    return dict(zip(names, eye.tolist(), strict=True))


def with_eyes_in(
    names: Iterable[str], others: Collection[str], repeats: Sequence[Repeat]
) -> set[str]:
    """Return the photographs whose eye is in other photographs, too.

    Returns:
        Those of `names`; empty where there is none.
    """
    eyes = eyes_of(repeats)
    there = {eyes[name] for name in others if name in eyes}
    return {name for name in names if eyes.get(name) in there}


def with_eyes_in_training(
    names: Iterable[str], rows: Iterable[Labelled], repeats: Sequence[Repeat]
) -> set[str]:
    """Return the photographs whose eye is trained on, under another name.

    Returns:
        Those of `names`; empty where there is none.
    """
    trained = {row.path.name for row in rows if row.split == "train"}
    return with_eyes_in(names, trained, repeats)


def keep_apart(
    rows: Sequence[Labelled], measured: Collection[str], repeats: Sequence[Repeat]
) -> list[Labelled]:
    """Take out of training the photographs whose eye is measured on.

    Returns:
        All rows; the split of those taken out is "left out".
    """
    others = {row.path.name for row in rows if row.split != "train"} | set(measured)
    trained = [row.path.name for row in rows if row.split == "train"]
    out = with_eyes_in(trained, others, repeats)
    return [replace(row, split="left out") if row.path.name in out else row for row in rows]


def grades_of_repeats(
    repeats: Sequence[Repeat], grades: Mapping[str, int], spread: float, *, draws: int = 2000
) -> dict[str, Any]:
    """Say how far the grades agree that one eye was given twice, and what that allows.

    Where grades of one eye differ by d, the variance of their error is mean(d^2) / 2, and no score,
    however good, correlates with such grades by more than sqrt(1 - that / their variance).

    Args:
        grades: 0-4 by file name; pairs with one not in here are left out.
        spread: variance of the grades of the whole dataset.

    Returns:
        "pairs", "alike" (share with the same grade) and "largest_correlation", both with their
        95 % "interval" over pairs; nan where there are none, or all grades of the dataset are
        equal.
    """
    pairs = np.array(
        [
            (grades[repeat.image], grades[repeat.other])
            for repeat in repeats
            if repeat.image in grades and repeat.other in grades
        ],
        np.int64,
    ).reshape(-1, 2)
    difference = pairs[:, 0] - pairs[:, 1]

    def alike(i: NDArray[np.int64]) -> float:
        return float((difference[i] == 0).mean())

    def largest(i: NDArray[np.int64]) -> float:
        return float(np.sqrt(max(0.0, 1 - float(np.mean(difference[i] ** 2)) / 2 / spread)))

    result: dict[str, Any] = {"pairs": len(pairs)}
    for name, measure in (("alike", alike), ("largest_correlation", largest)):
        # Where all grades are equal, nothing can correlate with them.
        known = len(pairs) > 0 and (name == "alike" or spread > 0)
        result[name] = {
            "value": measure(np.arange(len(pairs))) if known else float("nan"),
            "interval": bootstrap_interval(measure, len(pairs), draws=draws)
            if known
            else (float("nan"), float("nan")),
        }
    return result


def photographs_with_masks(table: Path, rows: Iterable[Labelled]) -> list[Annotated]:
    """Read which photographs have lesion masks, where there is a table of them.

    Args:
        table: CSV as `read_lesions` wants it, or a path where nothing is.

    Raises:
        LesionsError: see `read_lesions`.
    """
    if not table.is_file():
        return []
    return read_lesions(table, {row.path.name: row.split for row in rows})


def write_repeats(repeats: Iterable[Repeat], file: Path) -> None:
    """Write pairs as CSV with the columns image, other, matches, same_picture."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        for repeat in repeats:
            row = (repeat.image, repeat.other, repeat.matches, int(repeat.same_picture))
            writer.writerow(row)


def read_repeats(file: Path) -> list[Repeat]:
    """Read what `write_repeats` has written.

    Args:
        file: CSV.

    Raises:
        RepeatsError: it cannot be read, or a column or a number is missing.
    """
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            return [
                Repeat(row["image"], row["other"], int(row["matches"]), row["same_picture"] == "1")
                for row in csv.DictReader(stream)
            ]
    except (OSError, UnicodeDecodeError) as error:
        raise RepeatsError(f"{file.name}: cannot be read ({error}).") from error
    except (KeyError, TypeError, ValueError) as error:
        raise RepeatsError(
            f"{file.name}: is not a table of repeats ({error}); write one with "
            f"python -m training.repeats --out {file.name}."
        ) from error


def _key_points(
    picture: Picture,
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Key points of the vessels and lesions: places (P, 2) in pixels, descriptors (P, 128)."""
    retina = cv2.resize(picture.mask, (SQUARE, SQUARE), interpolation=cv2.INTER_NEAREST)
    retina = cv2.erode(retina, np.ones((_RIM, _RIM), np.uint8))
    # Vessels stand out in green; spread alike, whatever the lighting.
    green = cv2.createCLAHE(3.0, (8, 8)).apply(np.ascontiguousarray(picture.pixels[..., 1]))
    points, descriptors = cv2.SIFT_create(_POINTS).detectAndCompute(green, retina)
    if len(points) < _ENOUGH:
        return None
    return np.array([point.pt for point in points], np.float32), np.asarray(descriptors, np.float32)


def _alike(
    mine: NDArray[np.float32],
    my_descriptors: NDArray[np.float32],
    theirs: NDArray[np.float32],
    their_descriptors: NDArray[np.float32],
) -> tuple[int, bool] | None:
    """How many key points lie alike, and whether nothing has moved; None for another eye."""
    matched = [
        (best.queryIdx, best.trainIdx)
        for best, second in cv2.BFMatcher().knnMatch(my_descriptors, their_descriptors, 2)
        if best.distance < _DISTINCT * second.distance
    ]
    if len(matched) < _ENOUGH:
        return None
    i, j = np.array(matched).T
    cv2.setRNGSeed(0)
    moved, agreeing = cv2.estimateAffinePartial2D(mine[i], theirs[j], ransacReprojThreshold=5.0)
    if moved is None or (count := int(agreeing.sum())) < _ENOUGH:
        return None
    zoom = float(np.hypot(moved[0, 0], moved[1, 0]))
    turn = abs(float(np.degrees(np.arctan2(moved[1, 0], moved[0, 0]))))
    # A camera is held upright, and a field of view was scaled to one size before.
    if not 1 / _LARGEST_ZOOM < zoom < _LARGEST_ZOOM or turn > _LARGEST_TURN:
        return None
    corners = np.array([[0, 0], [SQUARE, 0], [0, SQUARE], [SQUARE, SQUARE]], float)
    shift = corners @ moved[:, :2].T + moved[:, 2] - corners
    return count, bool(np.abs(shift).max() < 2.0)


def pictures_of(
    squares: Squares, wanted: Collection[str], annotated: Sequence[Annotated]
) -> Iterator[Picture]:
    """Yield the wanted photographs and those with masks, in which to look for an eye."""
    for i, row in enumerate(squares.rows):
        if row.path.name in wanted:
            yield Picture(
                row.path.name, np.asarray(squares.pixels[i]), np.asarray(squares.masks[i])
            )
    for photograph in annotated:
        _, pixels, mask = warped(photograph.path, Preprocessing())
        yield Picture(photograph.path.name, pixels, mask)
