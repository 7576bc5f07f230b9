"""What the gradability network is trained on: figures of photographs, changed and spoilt ones."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from drcore.preprocessing.gate import CLASSES, INPUT
from training.data.gate_squares import GRADABLE, UNGRADABLE, GateSquares
from training.data.gate_variants import RUINED, SPOILT, in_colours_of, mild, stored
from training.optimisation.gate_trunk import reader

__all__ = ["Examples", "examples"]

_GRADABLE = {"eyeq": 3, "drimdb": 3, "healthy": 2, "eophtha": 2}
_REJECTED = {"equalised": 2}
"""By source: how many changed copies of a photograph there are; 1 of gradable and 5 of rejected
ones where it is not named. Both are changed alike: noise or compression says nothing of quality."""
_NO_RETINA = 8
_SPOILT_OF = ("drimdb", "healthy", "eophtha", "phantom")
"""Cameras of which readers rejected no or few photographs: all are spoilt, of others a
fourth."""
_SPOILT = {"blurred": 0.4, "dark": 0.16, "over-exposed": 0.22, "cut": 0.22}
_OTHER_COLOURS = 0.3
"""How often a rejected photograph without colours gets those of a gradable one."""
_COLOURS_FROM = ("messidor2", "idrid", "aptos2019", "eophtha")
"""Not from the cameras that `training.evaluation.gate` leaves out."""
_DISC = cv2.circle(np.zeros((INPUT, INPUT, 1), np.uint8), (INPUT // 2,) * 2, INPUT // 2, 1, -1)
"""What of a square may be lit."""


@dataclass(frozen=True, slots=True)
class Examples:
    """What the trunk says of squares, as they are and changed; arrays of the same length M.

    Attributes:
        figures: float32 (M, F).
        classes: int64, bits of the classes that it may belong to.
        source: int64, index into `GateSquares`.
        change: "as it is", "changed", "kept" (in light and colours), "spoilt" or "ruined".
    """

    figures: NDArray[np.float32]
    classes: NDArray[np.int64]
    source: NDArray[np.int64]
    change: NDArray[np.str_]

    def of(self, chosen: NDArray[np.bool_]) -> Examples:
        """Return some of them."""
        return Examples(
            self.figures[chosen], self.classes[chosen], self.source[chosen], self.change[chosen]
        )


def examples(data: GateSquares, file: Path, *, quiet: bool = False) -> Examples:
    """Make examples of all squares, or open those that an earlier run has made.

    What is only measured on is there as it is, and not changed.
    """
    if not file.exists():
        read, draw = reader(), _Variants(data)
        plan = [step for index in range(len(data.classes)) for step in _plan(data, index)]
        figures, classes = [], []
        for index, change, number in tqdm(plan, disable=quiet):
            square, bits = draw.variant(index, change, number)
            figures.append(read(square))
            classes.append(bits)
        np.savez(
            file, figures=np.stack(figures), classes=np.array(classes, np.int64),
            source=np.array([step[0] for step in plan], np.int64),
            change=np.array([step[1] for step in plan]),
        )  # fmt: skip
    with np.load(file, allow_pickle=False) as kept:
        return Examples(**{name: kept[name] for name in kept.files})


def _plan(data: GateSquares, index: int) -> list[tuple[int, str, int]]:
    """Index, change and number of each example of a picture."""
    steps = [(index, "as it is", 0)]
    if data.held_out[index]:
        return steps
    name, kind, classes = data.names[index], str(data.kinds[index]), data.classes[index]
    source = kind.split(maxsplit=1)[0]
    change, count = "kept", 0
    if classes == GRADABLE:
        half = int(_code(name) % 2 == 0)
        count = half if source == "equalised" else _GRADABLE.get(source, 1)
        if source != "equalised":
            steps += [(index, "spoilt", 50)] * (source in _SPOILT_OF or _code(name) % 4 == 0)
            steps += [(index, "ruined", 60)] * (_code(name) % 4 == 1)
    elif classes == UNGRADABLE:
        count = _REJECTED.get(source, 5)
    elif source == "drimdb":
        change, count = "changed", _NO_RETINA
    return steps + [(index, change, 1 + number) for number in range(count)]


class _Variants:
    """Makes the squares of examples, each the same whatever else is made."""

    def __init__(self, data: GateSquares) -> None:
        self._data = data
        kinds, by_name = data.kinds, np.argsort(data.names, kind="stable")
        usual = by_name[~data.held_out[by_name]]
        sources = np.array([kind.split()[0] for kind in kinds])
        self._colours = {
            quality: usual[kinds[usual] == f"eyeq {quality}"]
            for quality in ("good", "usable", "reject")
        }
        self._colours["any"] = usual[np.isin(sources[usual], _COLOURS_FROM)]

    def variant(self, index: int, change: str, number: int) -> tuple[NDArray[np.uint8], int]:
        """Return uint8 (256, 256, 3) and the bits of the classes that it may belong to."""
        data = self._data
        rng = np.random.default_rng([0, _code(data.names[index]), number])
        square, classes = np.array(data.squares[index]), int(data.classes[index])
        kind = str(data.kinds[index])
        if kind.startswith("equalised"):
            other = change == "kept" and rng.random() < _OTHER_COLOURS
            pool = self._colours["any" if other else kind.split()[1]]
            model = pool[int(rng.integers(len(pool)))]
            square = in_colours_of(square, np.array(data.squares[model]))
        if change == "as it is":
            return square, classes
        if change == "spoilt":
            defect = str(rng.choice(list(_SPOILT), p=list(_SPOILT.values())))
            square = SPOILT[defect](mild(square, rng), rng)
            return stored(square, rng), 2 ** CLASSES.index(defect)
        if change == "ruined":
            square = RUINED[int(rng.integers(len(RUINED)))](mild(square, rng), rng) * _DISC
            return stored(square, rng), 2 ** CLASSES.index("not a retina")
        # Light and colour are part of what was accepted or rejected.
        return stored(mild(square, rng, recolour=change == "changed"), rng), classes


def _code(name: str) -> int:
    return zlib.crc32(name.encode())
