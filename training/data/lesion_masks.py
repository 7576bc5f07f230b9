"""Photographs with lesion masks: the table is read and checked."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drcore.errors import DrcoreError
from drcore.preprocessing.retina_square import RetinaSquare
from training.synthetic.recipe import MASK_FLAGS

__all__ = ["DISC", "LESION_TYPES", "Annotated", "Lesions", "LesionsError", "read_lesions"]

DISC = "OD"
"""IDRiD's name of the optic disc."""

_FLAGS = {
    "MA": MASK_FLAGS["microaneurysms"],
    "HE": MASK_FLAGS["haemorrhages"],
    "EX": MASK_FLAGS["hard_exudates"],
    "SE": MASK_FLAGS["soft_exudates"],
    DISC: MASK_FLAGS["optic_disc"],
}
"""Bit of each type in a mask, by IDRiD's names (Porwal et al. 2018)."""

LESION_TYPES = tuple(name for name in _FLAGS if name != DISC)
"""Microaneurysms, haemorrhages, hard exudates, soft exudates."""


class LesionsError(DrcoreError):
    """Lesion masks cannot be measured against; the message names the line and the reason."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesions:
    """Which pixels of one photograph are lesions.

    Attributes:
        name: of the photograph.
        flags: uint8 (H, W), in the photograph's geometry, bits of `MASK_FLAGS`.
        annotated: types that were looked for, of MA, HE, EX, SE and OD.
    """

    name: str
    flags: NDArray[np.uint8]
    annotated: frozenset[str]

    def on_square(self, frame: RetinaSquare) -> dict[str, NDArray[np.bool_]]:
        """Bring the masks into the square of a frame.

        Returns:
            By annotated type, and "all" for the lesions together: bool (S, S), True where at least
            half of a pixel is lesion.

        Raises:
            LesionsError: the masks have another size than the frame's photograph.
        """
        if self.flags.shape != (frame.height, frame.width):
            raise LesionsError(
                f"{self.name}: the mask has {self.flags.shape[1]} x {self.flags.shape[0]} pixels "
                f"and the photograph {frame.width} x {frame.height}; give masks of its geometry."
            )
        wanted = {name: flag for name, flag in _FLAGS.items() if name in self.annotated}
        wanted["all"] = sum(flag for name, flag in wanted.items() if name != DISC)
        return {
            name: np.asarray(frame.warp(((self.flags & flag) > 0).astype(np.uint8) * 255)) > 127
            for name, flag in wanted.items()
        }


@dataclass(frozen=True, slots=True)
class Annotated:
    """One row of the table of lesion masks.

    Attributes:
        name: of the photograph, without ending.
        path: of the photograph.
        mask: path of its mask.
        annotated: types that were looked for, of MA, HE, EX, SE and OD.
        clean: True where the picture is in no training or validation set.
        where: table and line, for messages.
    """

    name: str
    path: Path
    mask: Path
    annotated: frozenset[str]
    clean: bool
    where: str

    def lesions(self) -> Lesions:
        """Read the mask.

        Raises:
            LesionsError: the mask is damaged, or has bits that are unknown or not annotated.
        """
        try:
            with Image.open(self.mask, formats=("PNG",)) as image:
                flags = np.array(image, np.uint8)
        except Exception as error:  # decoders raise whatever they like on hostile bytes
            raise LesionsError(f"{self.where}: {self.mask.name} is damaged ({error}).") from error
        found = int(np.bitwise_or.reduce(flags, axis=None))
        extra = [
            name for name, flag in _FLAGS.items() if found & flag and name not in self.annotated
        ]
        if found & ~sum(_FLAGS.values()):
            raise LesionsError(f"{self.where}: {self.mask.name} has bits that name no lesion.")
        if extra:
            raise LesionsError(
                f"{self.where}: {self.mask.name} has pixels of {', '.join(extra)}, which the table "
                "does not call annotated."
            )
        return Lesions(self.name, flags, self.annotated)


def read_lesions(
    table: Path, splits: Mapping[str, str], folder: Path | None = None
) -> list[Annotated]:
    """Read the table of lesion masks and check that it can be measured against.

    Args:
        table: CSV with the columns image, annotated and same_as (others are ignored).
        folder: holds NAME.jpg and NAME_mask.png; `lesions` beside the table where left out.

    Raises:
        LesionsError: a column, a photograph or a mask is missing, a mask is no 8-bit PNG of its
            photograph's size, a type or the same photograph is unknown, or a name stands twice.
            Names the line.
    """
    folder = folder if folder is not None else table.parent / "lesions"
    try:
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
            columns = set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LesionsError(f"{table.name}: cannot be read ({error}).") from error
    missing = {"image", "annotated", "same_as"} - columns
    if missing:
        raise LesionsError(f"{table.name}: column(s) missing: {', '.join(sorted(missing))}.")
    annotated: list[Annotated] = []
    seen: dict[str, int] = {}
    for line, row in rows:
        where = f"{table.name}, line {line}"
        name, same_as = row["image"] or "", row["same_as"] or ""
        if name in seen:
            raise LesionsError(f"{where}: {name!r} stands already on line {seen[name]}.")
        photograph, mask = _files(folder, name, where)
        types = (row["annotated"] or "").split()
        unknown = sorted(set(types) - set(_FLAGS))
        if unknown or not set(types) & set(LESION_TYPES):
            raise LesionsError(
                f"{where}: {row['annotated']!r} of {name!r} does not say which of "
                f"{', '.join(LESION_TYPES)} (and {DISC}) were annotated."
            )
        if same_as and same_as not in splits:
            raise LesionsError(
                f"{where}: {name!r} is the same as {same_as!r}, which is no graded photograph; "
                "it is unknown whether a model was trained on it."
            )
        seen[name] = line
        clean = not same_as or splits[same_as] == "test"
        annotated.append(Annotated(name, photograph, mask, frozenset(types), clean, where))
    if not annotated:
        raise LesionsError(f"{table.name}: there are no rows.")
    return annotated


def _files(folder: Path, name: str, where: str) -> tuple[Path, Path]:
    """Paths of a photograph and its mask, whose headers agree."""
    photograph, mask = folder / f"{name}.jpg", folder / f"{name}_mask.png"
    # A path in the cell would reach out of the folder; a NUL or a backslash is no name of ours.
    if not name or Path(name).name != name or "\0" in name or "\\" in name:
        raise LesionsError(f"{where}: {name!r} is not the name of a photograph.")
    for file in (photograph, mask):
        if not file.is_file():
            raise LesionsError(f"{where}: there is no {file.name!r} in the folder {folder.name}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(photograph, formats=("JPEG",)) as image:
                size = image.size
            with Image.open(mask, formats=("PNG",)) as image:
                mask_size, mode = image.size, image.mode
    except Exception as error:  # decoders raise whatever they like on hostile bytes
        raise LesionsError(f"{where}: {name!r} or its mask is damaged ({error}).") from error
    if mode != "L":
        raise LesionsError(f"{where}: {mask.name} is not an 8-bit grey PNG, one byte a pixel.")
    if mask_size != size:
        raise LesionsError(
            f"{where}: {mask.name} has {mask_size[0]} x {mask_size[1]} pixels and its photograph "
            f"{size[0]} x {size[1]}."
        )
    return photograph, mask
