"""Pixels that a decoder made up.

A JPEG decoder that meets damage goes on with the next code that fits, and half of the time has
nothing to warn of. What it then makes up has a form: from the damage on, to the end of the picture
or of a restart interval, the brightness or a colour of all blocks is shifted by the same amount,
for each block stores only the difference from the one before it. `find_shift` looks for that. Rows
of pixels that are stored as they are, are displaced (`find_displacement`) or blank (`find_blank`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from drcore.photographs.jpeg import Blocks

__all__ = [
    "check_blocks", "check_noise", "check_rows", "find_blank", "find_displacement", "find_noise",
    "find_shift",
]  # fmt: skip


RGB = NDArray[np.uint8]

SHIFT_SURE = 7.0
"""Standard errors by which a shift must differ from none."""

SHIFT_LEAST = 1.0
"""Grey levels of the smallest shift that counts."""

LINE_SURE = 7.0
LINE_LEAST = 4.0
"""The same for a shift that begins with a row: it has to prove itself in other ways, too."""

QUANTA_LEAST = 1.6
"""Smallest steps that the file can store, as the smallest shift that counts."""

TRIES = 8
"""Places that are looked at, the surest first."""

BREAK_LEAST = 1.5
"""Blocks by which a shift must be explained better by a broken line than by a straight one."""

JUMP_SHARE = 0.3
JUMP_BREAK = 0.15
"""Shares of a row of blocks: of those that jump by four standard deviations, the ground included,
and of those that a straight line would not explain."""

DARK = 24.0
"""Luma below which blocks are taken for the ground around the field of view: it ends at edges that
are no damage."""

ODD_STEP = 96
NOISE_ROWS = 16
NOISE_SHARE = 0.06
"""Grey levels by which two channels must part from one pixel to the next, and the share of such
pixels in as many rows: 0.002 in photographs, 0.03 on pages with writing."""

_LUMA_CHROMA = np.array(
    [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], np.float32
).T
_LONGEST_BLANK = 4096


def check_blocks(rgb: RGB, blocks: Blocks, reduction: int = 1) -> None:
    """Check the pixels of a JPEG with `find_shift`.

    Args:
        rgb: uint8 (h, w, 3), as decoded, not turned.
        blocks: in which the picture is stored.
        reduction: pixels of the original per pixel of `rgb`.

    Raises:
        ValueError: a part is shifted, with a sentence on where it begins.
    """
    unit = (max(1, blocks.width // reduction), max(1, blocks.height // reduction))
    place = find_shift(rgb, unit, blocks.quantum)
    if place is not None:
        raise ValueError(f"from {place:.0%} of the height on, its brightness or colour is shifted")


def check_rows(rgb: RGB) -> None:
    """Check pixels that were stored row by row, with `find_displacement` and `find_blank`.

    Args:
        rgb: uint8 (h, w, 3), not turned.

    Raises:
        ValueError: pixels are displaced or blank, with a sentence on where that begins.
    """
    for find, what in ((find_displacement, "displaced"), (find_blank, "blank")):
        place = find(rgb)
        if place is not None:
            raise ValueError(f"from {place:.0%} of the height on, pixels are {what}")


def check_noise(rgb: RGB) -> None:
    """Check pixels that were stored without loss, with `find_noise`.

    Args:
        rgb: uint8 (h, w, 3), not turned.

    Raises:
        ValueError: a part is noise, with a sentence on where it begins.
    """
    place = find_noise(rgb)
    if place is not None:
        raise ValueError(f"from {place:.0%} of the height on, its colours are noise")


class _Edges(NamedTuple):
    """Upper edges of blocks, (rows, columns, 3): luma and two chroma planes.

    Attributes:
        above, below: mean of the row of pixels on either side.
        plain: what the two differ beyond what their neighbours within the blocks differ.
        step: `plain`, less what a gradient or the edges above and below could explain, cut at four
            standard deviations: vessels and lesions count little. Zero outside `lit`.
        jump: the same with twice the caution, dark and lit alike; 1 is four standard deviations.
        lit: (rows, columns), whether the edge and those above and below lie in the light.
        noise: standard deviation of `plain`, by plane.
    """

    above: NDArray[np.floating[Any]]
    below: NDArray[np.floating[Any]]
    plain: NDArray[np.floating[Any]]
    step: NDArray[np.floating[Any]]
    jump: NDArray[np.floating[Any]]
    lit: NDArray[np.bool_]
    noise: NDArray[np.floating[Any]]


def find_shift(
    rgb: RGB, unit: tuple[int, int], quantum: tuple[float, ...] = (0.0, 0.0, 0.0)
) -> float | None:
    """Look for blocks of a JPEG whose brightness or colour is shifted against those before them.

    A shift that begins at a block shows along the upper edge of the rest of its row of blocks, and
    along the upper edge of the next row up to the block below it: in the order of the blocks,
    exactly one row's length of steps of the same height and sign, broken off within a row. No
    object in a retina is so long and follows the blocks. Where it begins with a row, it is a
    straight line; then the picture must go on behind it as it was before, but for the shift: the
    edges of pages, of bars and of the field of view are straight, too.

    Args:
        rgb: uint8 (h, w, 3), not turned, perhaps decoded at a reduced size.
        unit: width and height of the blocks in pixels of `rgb`.
        quantum: grey levels of the smallest step that the file can store, of luma and two chroma
            planes: where the picture is smooth, lines of this height follow the blocks.

    Returns:
        Where the strongest shift begins, 0-1 of the height; None where there is none for sure.

    Source:
        Differences of direct-current coefficients: ITU-T T.81, F.1.2.1.
    """
    least = np.asarray(quantum) * QUANTA_LEAST
    edges = _edges(rgb, unit, least)
    if edges is None:
        return None
    length = -(-rgb.shape[1] // unit[0])  # blocks in a row, the last perhaps not whole
    spare = ((0, 0), (0, length - edges.lit.shape[1]))
    flat = np.pad(edges.step, (*spare, (0, 0))).reshape(-1, 3)
    total = np.cumsum(np.concatenate([np.zeros((1, 3), np.float32), flat]), axis=0)
    count = np.cumsum(np.concatenate([[0], np.pad(edges.lit, spare).ravel()]))
    sums = np.abs(total[length:] - total[:-length])
    counts = np.maximum(count[length:] - count[:-length], 8)[:, None]
    sure = sums / np.sqrt(counts) / edges.noise
    sure[sums < SHIFT_LEAST * counts] = 0
    if float(sure.max()) >= SHIFT_SURE:
        broken = np.where(_explained(sums, length) < BREAK_LEAST * sums / counts, 0, sure)
        plain, lit = np.pad(edges.plain, (*spare, (0, 0))).reshape(-1, 3), np.pad(edges.lit, spare)
        for _ in range(TRIES):
            best, plane = divmod(int(np.argmax(broken)), 3)
            if broken[best, plane] < SHIFT_SURE:
                break
            within = lit.ravel()[best : best + length]
            if abs(np.median(plain[best : best + length, plane][within])) > least[plane]:
                return _height(best // length, unit, rgb)
            broken[max(0, best - length) : best + length, plane] = 0
    row_of_jump = _broken_jump(np.pad(edges.jump, (*spare, (0, 0))))
    if row_of_jump is not None:
        return _height(row_of_jump, unit, rgb)
    for row in np.flatnonzero(sure[::length].max(axis=1) >= LINE_SURE):
        if _goes_on(edges, int(row), np.maximum(LINE_LEAST, least)):
            return _height(int(row), unit, rgb)
    return None


def _broken_jump(jump: NDArray[np.floating[Any]]) -> int | None:
    """Row in which the dark ground, too, jumps from some block on, and up to it in the next."""
    length = jump.shape[1]
    total = np.cumsum(np.concatenate([np.zeros((1, 3), np.float32), jump.reshape(-1, 3)]), axis=0)
    share = np.abs(total[length:] - total[:-length]) / length
    if share.max() > JUMP_SHARE:
        share[_explained(share, length) < JUMP_BREAK] = 0
        best = int(np.argmax(share)) // 3
        if share[best].max() > JUMP_SHARE:
            return int(best // length)
    return None


def _explained(sums: NDArray[np.floating[Any]], length: int) -> NDArray[np.floating[Any]]:
    """How much more a broken line explains than the straight ones of either row."""
    rows = np.concatenate([sums[::length], np.zeros((1, 3), sums.dtype)])
    first = np.arange(len(sums)) // length
    return np.asarray(sums - np.maximum(rows[first], rows[first + 1]))


def _height(row: int, unit: tuple[int, int], rgb: RGB) -> float:
    """Where the edges of a row lie, 0-1 of the height."""
    return min(1.0, (row + 1) * unit[1] / float(rgb.shape[0]))


def _edges(rgb: RGB, unit: tuple[int, int], least: NDArray[np.floating[Any]]) -> _Edges | None:
    """Measure the upper edges of blocks; None for a picture that is too small or too dark."""
    width, height = unit
    columns = rgb.shape[1] // width
    places = np.arange(height, rgb.shape[0] - 1, height)
    places = places[places >= 2]
    if columns < 4 or len(places) < 3:
        return None
    rows = (places[:, None] + np.arange(-2, 2)).ravel()
    near = rgb[rows, : columns * width].astype(np.float32)
    mean = cv2.resize(near, (columns, len(rows)), interpolation=cv2.INTER_AREA)
    before, above, below, after = np.moveaxis(
        (mean @ _LUMA_CHROMA).reshape(len(places), 4, columns, 3), 1, 0
    )
    bright = np.minimum.reduce([before, above, below, after])[..., 0] > DARK
    lit = bright.copy()
    lit[1:] &= bright[:-1]
    lit[:-1] &= bright[1:]
    lit[[0, -1]] = False  # what lies beyond is not known: it may be the rim
    if lit.sum() < 2 * columns:
        return None
    inside, outside = above - before, after - below
    plain = below - above - (inside + outside) / 2
    sign = np.sign(plain)
    none = np.zeros_like(plain[:1])
    along = np.maximum(
        sign * np.concatenate([none, plain[:-1]]), sign * np.concatenate([plain[1:], none])
    )
    step = np.abs(plain) - (np.abs(inside) + np.abs(outside)) / 2 - np.maximum(along, 0)
    noise, everywhere = _deviation(plain[lit]), _deviation(plain.reshape(-1, 3))
    jump = np.abs(plain) - np.abs(inside) - np.abs(outside) - np.maximum(along, 0)
    jump = sign * np.clip(jump / (4 * everywhere), 0, 1)
    jump[[0, -1]] = 0
    jump[np.abs(plain) <= least] = 0
    step = sign * np.clip(step, 0, 4 * noise) * lit[..., None]
    return _Edges(above, below, plain, step, jump, lit, noise)


def _deviation(values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Standard deviation about zero of each plane, of what is no outlier."""
    size = np.abs(values[:: max(1, len(values) // 5000)])  # enough of them, evenly spread
    usual = np.median(size, axis=0) * 1.48 + 0.3
    return np.asarray(np.maximum(usual, np.minimum(size, 6 * usual).mean(axis=0) * 1.25))


def _goes_on(edges: _Edges, row: int, least: NDArray[np.float64]) -> bool:
    """Whether the picture goes on behind a straight line as before, but for a constant shift."""
    lit = edges.lit[row]
    if lit.sum() < 8:
        return False
    above, below = edges.above[row][lit, 0], edges.below[row][lit, 0]
    texture = min(_spread(above), _spread(below))  # none on the ground of a page
    if texture < 1 or _spread(below - above) > 0.5 * texture:
        return False
    for plane, enough in zip(edges.plain[row][lit].T, least, strict=True):
        shift = abs(float(np.median(plane)))
        if shift >= enough and _spread(plane) <= 0.15 * shift:
            return True
    return False


def _spread(values: NDArray[np.floating[Any]]) -> float:
    return float(np.median(np.abs(values - np.median(values)))) * 1.48


def find_displacement(rgb: RGB) -> float | None:
    """Look for rows that are displaced sideways against those above: bytes came or went before.

    Args:
        rgb: uint8 (h, w, 3), as stored row by row without compression.

    Returns:
        Where the displacement begins, 0-1 of the height; None where there is none for sure.
    """
    thin = rgb[:, :: max(1, rgb.shape[1] // 500)].astype(np.int16)
    if len(thin) < 16:
        return None
    change = np.abs(thin[2:] - thin[:-2]).mean(axis=(1, 2))
    usual = cv2.blur(change[:, None], (1, 9))[:, 0]
    for row in np.argsort(usual - change)[:4]:
        if change[row] > 4 + usual[row] and _displaced(rgb[row], rgb[row + 2]):
            return float(row + 1) / len(rgb)
    return None


def _displaced(above: NDArray[np.uint8], below: NDArray[np.uint8]) -> bool:
    """Whether two rows, as bytes, are alike once one is displaced, and only then."""
    first, second = (row.ravel().astype(np.float64) for row in (above, below))
    first -= first.mean()
    second -= second.mean()
    size = np.linalg.norm(first) * np.linalg.norm(second)
    if size < 1e-6 * len(first):
        return False
    alike = np.fft.irfft(np.fft.rfft(first).conj() * np.fft.rfft(second), len(first)) / size
    return bool(alike.max() > 0.9 and alike.max() - alike[0] > 0.1)


def find_blank(rgb: RGB) -> float | None:
    """Look for pixels that are zero without a gap where those above and below them are bright.

    Args:
        rgb: uint8 (h, w, 3), as stored row by row without compression.

    Returns:
        Where they begin, 0-1 of the height; None where there are none.
    """
    width = rgb.shape[1]
    bright = rgb.max(axis=2).ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bright == 0, [False]])))
    starts, ends = edges[::2], edges[1::2]
    long = (ends - starts >= 100) & (ends - starts <= _LONGEST_BLANK)
    for start, end in zip(starts[long], ends[long], strict=True):
        away = (-(-(end - start) // width) + 1) * width  # beyond the next row, if rows are reversed
        if start < away or end + away > len(bright):
            continue
        above, below = bright[start - away : end - away], bright[start + away : end + away]
        if np.mean((above > DARK) & (below > DARK)) > 0.6:
            return float(start) / len(bright)
    return None


def find_noise(rgb: RGB) -> float | None:
    """Look for rows in which colours jump from pixel to pixel: a lossless decoder out of step.

    The channels of a photograph rise and fall together, and so do those of writing in black or
    white; what a decoder makes up has blue beside yellow and green beside violet.

    Args:
        rgb: uint8 (h, w, 3), decoded without loss.

    Returns:
        Where the noise begins, 0-1 of the height; None where there is none for sure.
    """
    step = np.diff(rgb.astype(np.int16), axis=1)
    odd = (step.max(axis=2) - step.min(axis=2) > ODD_STEP).mean(axis=1)
    if len(odd) < NOISE_ROWS:
        return None
    share = np.convolve(odd, np.full(NOISE_ROWS, 1 / NOISE_ROWS), "valid")
    noisy = np.flatnonzero(share > NOISE_SHARE)
    return float(noisy[0]) / len(odd) if noisy.size else None
