"""Pages and the photographs pasted on them: what `training.synthetic.composites` draws with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from drcore.preprocessing.field_of_view import find_field_of_view

__all__ = [
    "Piece",
    "blank_page",
    "finished",
    "fitted",
    "paste",
    "piece_of",
    "random_style",
    "write_lines",
]

RGB = NDArray[np.uint8]
Rng = np.random.Generator

_LINES = (
    "Eye Clinic", "OD", "OS", "Right eye", "Left eye", "Patient: A. Example", "1962-04-13",
    "Visual acuity 0.8", "IOP 16 mmHg", "Fundus photography", "Image quality 8/10",
    "HbA1c 7.9 %, diabetes since 2004, no earlier laser treatment", "Page 1 of 2", "Signature",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Piece:
    """A photograph ready to be pasted: its pixels and which of them count."""

    rgb: RGB
    shown: NDArray[np.bool_]


def piece_of(rgb: RGB, rng: Rng, style: str) -> Piece:
    """Turn, mirror, cut and frame a photograph the way pages show them."""
    if rng.random() < 0.3:
        rgb = rgb[:, ::-1]
    if style != "turned" and rng.random() < 0.1:
        rgb = np.rot90(rgb, int(rng.integers(1, 4)))
    rgb = np.array(rgb, order="C")
    height, width = rgb.shape[:2]
    if style == "cut":
        above, below = (int(share * height) for share in rng.uniform(0.03, 0.18, 2))
        rgb = np.ascontiguousarray(rgb[above : height - below])
    if style == "close":
        rgb = np.ascontiguousarray(
            rgb[height // 6 : height - height // 6, width // 6 : -(width // 6)]
        )
    shown = np.ones(rgb.shape[:2], bool)
    if style in {"disc", "turned"}:
        shown = find_field_of_view(rgb).mask(*rgb.shape[:2], margin=rng.uniform(0, 0.02))
    if style == "turned":
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(0, 360), 0.8)
        rgb = np.asarray(cv2.warpAffine(rgb, turn, (width, height)), np.uint8)
        shown = cv2.warpAffine(shown.astype(np.uint8), turn, (width, height)) > 0
    if style == "framed":
        colour = int(rng.choice([0, 90, 200, 255]))
        line = int(rng.integers(1, 5))
        cv2.rectangle(rgb, (0, 0), (rgb.shape[1] - 1, rgb.shape[0] - 1), (colour,) * 3, line)
    return Piece(rgb, shown)


def random_style(rng: Rng) -> str:
    """Draw one of the styles of `piece_of`."""
    return str(rng.choice(["plain", "plain", "disc", "framed", "cut", "turned", "close"]))


def fitted(piece: Piece, width: float, height: float) -> Piece:
    """Scale a piece so that it fits into a box."""
    factor = min(width / piece.rgb.shape[1], height / piece.rgb.shape[0])
    size = (max(8, int(piece.rgb.shape[1] * factor)), max(8, int(piece.rgb.shape[0] * factor)))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    shown = cv2.resize(piece.shown.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return Piece(np.asarray(cv2.resize(piece.rgb, size, interpolation=way), np.uint8), shown)


def paste(page: RGB, piece: Piece, x: float, y: float, *, lighten: bool = False) -> None:
    """Put a piece with its upper left corner at (x, y); what is beyond the page is lost."""
    left, top = max(0, int(x)), max(0, int(y))
    right = min(page.shape[1], int(x) + piece.rgb.shape[1])
    bottom = min(page.shape[0], int(y) + piece.rgb.shape[0])
    if right <= left or bottom <= top:
        return
    there = slice(top - int(y), bottom - int(y)), slice(left - int(x), right - int(x))
    part = page[top:bottom, left:right]
    over = np.maximum(part, piece.rgb[there]) if lighten else piece.rgb[there]
    np.copyto(part, over, where=piece.shown[there][..., None])


def blank_page(rng: Rng, width: float, height: float, grounds: Sequence[tuple[int, ...]]) -> RGB:
    """A page of one of the colours."""
    page = np.empty((int(height), int(width), 3), np.uint8)
    page[:] = grounds[rng.integers(len(grounds))]
    return page


def write_lines(page: RGB, rng: Rng, lines: int, where: tuple[float, float, float, float]) -> None:
    """Write lines of text within a box given in shares of the page: left, top, right, bottom."""
    height, width = page.shape[:2]
    ink = (20, 20, 20) if page[0, 0].mean() > 90 else (230, 230, 230)
    if rng.random() < 0.15:
        ink = tuple(int(v) for v in rng.integers(0, 200, 3))
    left, top, right, bottom = where
    for _ in range(lines):
        scale = rng.uniform(0.0006, 0.0014) * max(width, height)
        x, y = rng.uniform(left, right) * width, rng.uniform(top, bottom) * height
        line = str(rng.choice(_LINES))
        thick = max(1, round(2 * scale))
        at = (int(x), int(y))
        cv2.putText(page, line, at, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thick, cv2.LINE_AA)


def finished(page: RGB, rng: Rng) -> RGB:
    """Noise of a scanner or none, and one trip through JPEG."""
    if rng.random() < 0.2:
        grain = rng.normal(0, rng.uniform(1, 3), page.shape).astype(np.float32)
        page = np.clip(page + grain, 0, 255).astype(np.uint8)
    order = cv2.COLOR_RGB2BGR
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 97))]
    coded = cv2.imencode(".jpg", cv2.cvtColor(page, order), quality)[1]
    return np.asarray(cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), order), np.uint8)
