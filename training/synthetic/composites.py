"""Pictures with several retinas, reports and screens, made from single photographs."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthetic.non_fundus import not_retinas
from training.synthetic.pages import (
    Piece,
    blank_page,
    fitted,
    paste,
    piece_of,
    random_style,
    write_lines,
)

__all__ = ["COMPOSITES", "SINGLES"]


RGB = NDArray[np.uint8]
Rng = np.random.Generator
Draw = Callable[[], RGB]
"""Gives another photograph each time."""

_GROUNDS = ((255, 255, 255), (0, 0, 0), (128, 128, 128), (235, 232, 226), (60, 60, 62), (8, 8, 9))
_PAGES = tuple(ground for ground in _GROUNDS if min(ground) > 30)


# --- composites ---------------------------------------------------------------------------------


def _pair(rng: Rng, draw: Draw) -> RGB:
    """Two photographs side by side or one above the other, alike or mirrored, of two sizes."""
    first = draw()
    second = first[:, ::-1] if rng.random() < 0.3 else draw()
    style, side = random_style(rng), int(rng.integers(300, 620))
    smaller = side * (1.0 if rng.random() < 0.5 else rng.uniform(0.4, 1))
    pieces = [
        fitted(piece_of(rgb, rng, style), size, size)
        for rgb, size in zip((first, second), (side, smaller), strict=True)
    ]
    gap = int(rng.choice([0, 0, 2, 8, 30, 90]))
    heights, widths = zip(*(piece.rgb.shape[:2] for piece in pieces), strict=True)
    margin_x, margin_y = (rng.integers(0, 120) * (rng.random() < 0.7) for _ in range(2))
    beside = rng.random() < 0.75
    if beside:
        page = blank_page(
            rng, sum(widths) + gap + 2 * margin_x, max(heights) + 2 * margin_y, _GROUNDS
        )
        places = [(0, 0), (widths[0] + gap, rng.uniform(0, 1) * (heights[0] - heights[1]))]
    else:
        page = blank_page(
            rng, max(widths) + 2 * margin_x, sum(heights) + gap + 2 * margin_y, _GROUNDS
        )
        places = [(0, 0), (rng.uniform(0, 1) * (widths[0] - widths[1]), heights[0] + gap)]
    order = rng.permutation(2) if heights[0] == heights[1] else (0, 1)
    for piece, (x, y) in zip((pieces[i] for i in order), places, strict=True):
        paste(page, piece, x + margin_x, y + margin_y)
    write_lines(page, rng, int(rng.choice([0, 0, 1, 3])), (0, 0.02, 0.8, 0.1))
    return page


def _touching(rng: Rng, draw: Draw) -> RGB:
    """Two to four circles that touch or overlap a little."""
    count, side = int(rng.integers(2, 5)), int(rng.integers(260, 500))
    pieces = [fitted(piece_of(draw(), rng, "disc"), side, side) for _ in range(count)]
    step = side * rng.uniform(0.82, 1.0)
    page = blank_page(rng, side + step * (count - 1) + 40, 1.35 * side, _GROUNDS)
    for number, piece in enumerate(pieces):
        paste(page, piece, 20 + number * step, rng.uniform(0.02, 0.3) * side)
    return page if rng.random() < 0.7 else np.ascontiguousarray(np.rot90(page))


def _sheet(rng: Rng, draw: Draw) -> RGB:
    """A contact sheet of 2 to 20."""
    count = int(rng.integers(2, 21))
    columns = int(np.clip(round(np.sqrt(count * rng.uniform(0.5, 2.2))), 1, count))
    rows = -(-count // columns)
    cell = int(np.clip(1500 / max(columns, rows), 90, 420))
    gap = cell * rng.choice([0, 0.02, 0.06, 0.15])
    head = cell * rng.choice([0, 0, 0.4])
    page = blank_page(
        rng, columns * (cell + gap) + gap, head + rows * (cell * 1.05 + gap) + gap, _GROUNDS
    )
    style, caption = random_style(rng), rng.random() < 0.4
    for number in range(count):
        row, column = divmod(number, columns)
        piece = fitted(piece_of(draw(), rng, style), cell, cell)
        x = gap + column * (cell + gap) + (cell - piece.rgb.shape[1]) / 2
        y = head + gap + row * (cell * 1.05 + gap) + (cell - piece.rgb.shape[0]) / 2
        paste(page, piece, x, y)
        if caption:
            at = (int(x), int(y + piece.rgb.shape[0] + 0.04 * cell))
            ink = (0, 0, 0) if page[0, 0].mean() > 90 else (255, 255, 255)
            text = f"IMG_{rng.integers(9999):04d}"
            cv2.putText(page, text, at, cv2.FONT_HERSHEY_SIMPLEX, cell / 700, ink, 1, cv2.LINE_AA)
    if head:
        write_lines(page, rng, 3, (0.02, 0.01, 0.5, 0.05))
    return page


def _inset(rng: Rng, draw: Draw) -> RGB:
    """A small photograph on a large one, in a corner of its frame or over the retina."""
    side = int(rng.integers(500, 1000))
    large = fitted(piece_of(draw(), rng, "plain"), side * rng.uniform(1, 1.5), side)
    height, width = large.rgb.shape[:2]
    page = blank_page(rng, width * rng.uniform(1, 1.5), height * rng.uniform(1, 1.2), [(0, 0, 0)])
    paste(page, large, 0, (page.shape[0] - height) / 2)
    small = fitted(
        piece_of(draw(), rng, str(rng.choice(["plain", "framed", "disc"]))),
        *[rng.uniform(0.18, 0.4) * min(page.shape[:2])] * 2,
    )
    pad = int(rng.uniform(0, 0.03) * side)
    x = rng.choice([pad, page.shape[1] - small.rgb.shape[1] - pad])
    y = rng.choice([pad, page.shape[0] - small.rgb.shape[0] - pad])
    paste(page, small, x, y)
    return page


def _montage(rng: Rng, draw: Draw) -> RGB:
    """Fields of an eye laid over each other around the central one."""
    side, count = int(rng.integers(260, 420)), int(rng.integers(3, 8))
    first = draw()
    page = blank_page(rng, 2.5 * side, 2.5 * side, [(0, 0, 0), (0, 0, 0), (255, 255, 255)])
    turn = rng.uniform(0, 2 * np.pi)
    for number in range(count):
        rgb = first if rng.random() < 0.5 else draw()
        piece = fitted(piece_of(rgb, rng, "turned" if rng.random() < 0.5 else "disc"), side, side)
        angle, far = turn + 2 * np.pi * number / (count - 1), rng.uniform(0.45, 0.72) * side
        x, y = (0.75 * side, 0.75 * side) if number == 0 else (
            0.75 * side + far * np.cos(angle), 0.75 * side + far * np.sin(angle),
        )  # fmt: skip
        paste(page, piece, x, y)
    return page


def _report(rng: Rng, draw: Draw) -> RGB:
    """A page with a head, lines of text and two to four photographs of several sizes."""
    width, height = (1000, 1414) if rng.random() < 0.6 else (1414, 1000)
    page = blank_page(rng, width, height, [(255, 255, 255), (255, 255, 255), (235, 232, 226)])
    write_lines(page, rng, 5, (0.03, 0.03, 0.6, 0.14))
    write_lines(page, rng, 6, (0.03, 0.8, 0.5, 0.97))
    count, x, y = int(rng.integers(2, 5)), 40.0, 0.18 * height
    tallest = 0.0
    for _ in range(count):
        size = width * rng.uniform(0.22, 0.42)
        piece = fitted(piece_of(draw(), rng, random_style(rng)), size, size)
        if x + piece.rgb.shape[1] > width - 20:
            x, y, tallest = 40.0, y + tallest + rng.uniform(10, 60), 0.0
        paste(page, piece, x, y)
        x += piece.rgb.shape[1] + rng.uniform(5, 60)
        tallest = max(tallest, piece.rgb.shape[0])
    if rng.random() < 0.5:
        cv2.line(
            page, (30, int(0.155 * height)), (width - 30, int(0.155 * height)), (0, 60, 120), 3
        )
    return page


def _scan(rng: Rng, width: int, height: int) -> RGB:
    """A cross-section as optical coherence tomography shows it: bright layers in grey speckle."""
    columns, rows = np.arange(width), np.arange(height)[:, None]
    dip = 0.1 * height * np.exp(-(((columns - width / 2) / (0.12 * width)) ** 2))
    top = height * rng.uniform(0.3, 0.5) + 0.05 * height * np.sin(columns / width * 3) + dip
    depth = (rows - top) / height
    bands = sum(
        level * np.exp(-(((depth - at) / thick) ** 2))
        for at, thick, level in ((0.02, 0.012, 190), (0.09, 0.05, 90), (0.22, 0.02, 220))
    )
    speckle = rng.gamma(2.0, 0.5, (height, width))
    grey = np.clip((bands + 18) * speckle, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        grey = 255 - grey
    return np.dstack([grey] * 3)


def _oct_report(rng: Rng, draw: Draw) -> RGB:
    """A report of optical coherence tomography with a photograph of the fundus as an inset."""
    width, height = (1414, 1000) if rng.random() < 0.6 else (1000, 1414)
    page = blank_page(
        rng, width, height, [(255, 255, 255), (0, 0, 0), (40, 40, 40), (225, 228, 235)]
    )
    size = width * rng.uniform(0.1, 0.4)
    inset = fitted(piece_of(draw(), rng, random_style(rng)), size, size)
    left = rng.random() < 0.6
    paste(
        page, inset, 0.03 * width if left else 0.97 * width - size, rng.uniform(0.12, 0.3) * height
    )
    room = int(width * 0.94 - size - 0.03 * width)
    for number in range(int(rng.integers(1, 3))):
        scan = _scan(rng, room, int(rng.uniform(0.2, 0.33) * height))
        x = 0.05 * width + size if left else 0.03 * width
        paste(page, Piece(scan, np.ones(scan.shape[:2], bool)), x, (0.14 + 0.4 * number) * height)
    if rng.random() < 0.5:  # a map of thickness in false colours
        side = int(0.22 * width)
        field = cv2.GaussianBlur(rng.random((side, side)).astype(np.float32), (0, 0), side / 6)
        level = cv2.normalize(field, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
        colours = np.asarray(cv2.applyColorMap(level, cv2.COLORMAP_JET), np.uint8)
        paste(page, Piece(colours, np.ones(level.shape, bool)), 0.05 * width, 0.7 * height)
    write_lines(page, rng, 6, (0.03, 0.02, 0.6, 0.1))
    return page


def _room(rng: Rng, width: int, height: int) -> RGB:
    """What stands around a screen, out of focus."""
    (_, scene), *_ = not_retinas(1, int(rng.integers(1 << 30)))
    if rng.random() < 0.5:
        level = rng.uniform(30, 220)
        soft = cv2.resize(rng.normal(level, 40, (4, 5, 3)), (width, height), interpolation=3)
        return np.clip(soft, 0, 255).astype(np.uint8)
    scene = np.asarray(cv2.resize(scene, (width, height)), np.uint8)
    return np.asarray(cv2.GaussianBlur(scene, (0, 0), rng.uniform(2, 15)), np.uint8)


def _screen(rng: Rng, draw: Draw) -> RGB:
    """A photograph of a screen that shows a photograph: bezel, room and a slanted view."""
    wide, high = 800, int(rng.uniform(450, 640))
    screen = blank_page(rng, wide, high, [(0, 0, 0), (20, 20, 24), (60, 60, 62), (240, 240, 240)])
    shown = fitted(piece_of(draw(), rng, "plain"), wide, high * rng.uniform(0.6, 1))
    x = rng.uniform(0, 1) * (wide - shown.rgb.shape[1])
    paste(screen, shown, x, (high - shown.rgb.shape[0]) / 2)
    if rng.random() < 0.6:
        cv2.rectangle(screen, (0, 0), (wide, int(0.05 * high)), (200, 205, 210), -1)
        write_lines(screen, rng, 2, (0.02, 0.03, 0.4, 0.045))
    bezel = int(rng.uniform(8, 40))
    level = int(rng.choice([10, 25, 60, 190]))
    screen = cv2.copyMakeBorder(screen, *[bezel] * 4, cv2.BORDER_CONSTANT, value=(level,) * 3)
    width, height = int(wide * rng.uniform(1.1, 1.6)), int(high * rng.uniform(1.15, 1.7))
    room = _room(rng, width, height)
    h, w = screen.shape[:2]
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    fit = min(width / w, height / h) * rng.uniform(0.75, 0.98)
    moved = corners * fit + rng.normal(0, 0.02 * min(width, height), (4, 2))
    moved += (np.array([width, height]) - np.array([w, h]) * fit) / 2
    view = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    cv2.warpPerspective(
        screen,
        view,
        (width, height),
        dst=room,
        flags=cv2.INTER_AREA,
        borderMode=cv2.BORDER_TRANSPARENT,
    )
    return np.asarray(cv2.GaussianBlur(room, (0, 0), rng.uniform(0.3, 1.2)), np.uint8)


COMPOSITES: dict[str, Callable[[Rng, Draw], RGB]] = {
    "pair": _pair,
    "touching": _touching,
    "sheet": _sheet,
    "inset": _inset,
    "montage": _montage,
    "report": _report,
    "OCT report": _oct_report,
    "screen": _screen,
}
"""Ways to put photographs together, none of which can be graded."""


# --- singles ------------------------------------------------------------------------------------


def _on_page(rng: Rng, draw: Draw) -> RGB:
    """One photograph on a white or grey page, with writing or without."""
    piece = piece_of(draw(), rng, random_style(rng))
    height, width = piece.rgb.shape[:2]
    page = blank_page(rng, width * rng.uniform(1.02, 2.2), height * rng.uniform(1.02, 2.2), _PAGES)
    x, y = (
        (p - s) * rng.uniform(0, 1) for p, s in zip(page.shape[1::-1], (width, height), strict=True)
    )
    if rng.random() < 0.6:
        write_lines(page, rng, int(rng.integers(1, 8)), (0, 0.03, 0.7, 0.99))
    paste(page, piece, x, y)
    return page


def _in_black(rng: Rng, draw: Draw) -> RGB:
    """One photograph in a larger black frame, with writing or without."""
    piece = piece_of(draw(), rng, random_style(rng))
    height, width = piece.rgb.shape[:2]
    page = blank_page(
        rng, width * rng.uniform(1.02, 2.2), height * rng.uniform(1.02, 2.2), [(0, 0, 0)]
    )
    x, y = (
        (p - s) * rng.uniform(0, 1) for p, s in zip(page.shape[1::-1], (width, height), strict=True)
    )
    if rng.random() < 0.4:
        write_lines(page, rng, int(rng.integers(1, 4)), (0, 0.03, 0.7, 0.99))
    paste(page, piece, x, y)
    return page


def _ground_changed(rng: Rng, draw: Draw) -> RGB:
    """One photograph whose frame is white or grey instead of black, as it was, or on a page."""
    piece = piece_of(draw(), rng, "disc")
    page = blank_page(rng, piece.rgb.shape[1], piece.rgb.shape[0], _PAGES)
    paste(page, piece, 0, 0)
    return page


SINGLES: dict[str, Callable[[Rng, Draw], RGB]] = {
    "on a page": _on_page,
    "in a black frame": _in_black,
    "frame made white or grey": _ground_changed,
}
"""Ways to show one photograph, all of which can be graded as it can."""
