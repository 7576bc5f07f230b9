"""Geometry: original pixels <-> the square that the field of view fills."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drcore.preprocessing.field_of_view import FieldOfView

__all__ = ["RetinaSquare", "block_mean"]

Pixels = NDArray[np.integer[Any] | np.floating[Any]]
"""An image, mask or map: uint8 or float32."""


@dataclass(frozen=True, slots=True)
class RetinaSquare:
    """A similarity transform between a photograph and an S x S square.

    The circle of the field of view touches the four sides of the square; aspect is kept, and
    what the photograph does not have is black. Coordinates are continuous: pixel (row i,
    column j) covers [j, j + 1) x [i, i + 1), its centre is (j + 0.5, i + 0.5). The same object
    carries photographs, masks and activation maps of any resolution: an m x m map over the
    square is `at(m)`; a photograph decoded at a reduced size is recognised by its width.

    Attributes:
        field_of_view: the circle, in pixels of the photograph.
        width, height: size of the photograph in pixels.
        size: side S of the square in pixels.
    """

    field_of_view: FieldOfView
    width: int
    height: int
    size: int

    @property
    def scale(self) -> float:
        """Square pixels per photograph pixel."""
        return self.size / (2 * self.field_of_view.radius)

    def at(self, size: int) -> RetinaSquare:
        """Return the same square with `size` pixels a side."""
        return replace(self, size=size)

    def to_square(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map photograph coordinates to the square.

        Args:
            points: float (..., 2), x and y in photograph pixels.

        Returns:
            float (..., 2), x and y in square pixels.
        """
        centre = np.array([self.field_of_view.x, self.field_of_view.y])
        square = (np.asarray(points, np.float64) - centre) * self.scale + self.size / 2
        return np.asarray(square, np.float64)

    def warp(self, image: Pixels, *, nearest: bool = False, quick: bool = False) -> Pixels:
        """Bring a photograph, or a mask of its geometry, into the square.

        Args:
            image: uint8 or float32 (h, w) or (h, w, 3); the photograph of this frame, or the same
                picture at a reduced size (the factor is read from its width).
            nearest: take the nearest pixel (masks of labels) instead of an area average.
            quick: instead of averaging twice as many samples, smooth the picture by as much before:
                nearly the same, at a third of the time.

        Returns:
            Same dtype and channels, (S, S), black outside the photograph.
        """
        reduction = self.width / image.shape[1]
        if abs(reduction - round(reduction)) < 0.02 * max(1.0, reduction / 8):
            reduction = float(round(reduction))  # JPEG reduction rounds the size up
        scale = self.scale * reduction
        x, y = self.field_of_view.x / reduction, self.field_of_view.y / reduction
        if nearest:
            return _affine(image, scale, x, y, self.size, cv2.INTER_NEAREST)
        # Blocks larger than the picture would only be filled up, and cost memory without end.
        shrink = int(min(1 / scale, *image.shape[:2]))
        if shrink >= 2:
            # Whole blocks first: area averaging is the only filter that neither rings nor aliases.
            image = block_mean(image, shrink)
            scale, x, y = scale * shrink, x / shrink, y / shrink
        if scale < 0.95 and quick:
            # The width of a square pixel, less what bilinear sampling already smooths.
            sigma = 0.5 * float(np.sqrt(scale**-2 - 1))
            image = cv2.GaussianBlur(image, (5, 5) if sigma > 0.7 else (3, 3), sigma)
        elif scale < 0.95:
            # A square pixel still takes 1 to 2 photograph pixels: sample twice as fine, average.
            fine = _affine(image, 2 * scale, x, y, 2 * self.size, cv2.INTER_LINEAR)
            return cv2.resize(fine, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return _affine(image, scale, x, y, self.size, cv2.INTER_LINEAR)

    def warp_back(self, square: Pixels, *, nearest: bool = False) -> Pixels:
        """Bring an image, mask or activation map of the square back to the photograph's pixels.

        Args:
            square: uint8 or float32 (m, m) or (m, m, c) covering the whole square at any m.
            nearest: take the nearest cell instead of bilinear interpolation.

        Returns:
            Same dtype, (height, width); the border cells are continued outside the square.
        """
        m = square.shape[0]
        cell = 2 * self.field_of_view.radius / m  # photograph pixels per cell
        left = self.field_of_view.x - self.field_of_view.radius
        top = self.field_of_view.y - self.field_of_view.radius
        # OpenCV puts pixel centres on whole numbers, hence the halves.
        matrix = np.array(
            [[cell, 0, left + 0.5 * cell - 0.5], [0, cell, top + 0.5 * cell - 0.5]], np.float64
        )
        return cv2.warpAffine(
            square,
            matrix,
            (self.width, self.height),
            flags=cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )

    def mask(self, margin: float = 0.0) -> NDArray[np.bool_]:
        """Return the visible retina in the square.

        Args:
            margin: share of the radius to leave out along the rim, 0-1.

        Returns:
            bool (S, S).
        """
        fov = self.field_of_view
        (left, top), (right, bottom) = self.to_square(
            np.array([[fov.left, fov.top], [fov.right, fov.bottom]])
        )
        half = self.size / 2
        square = FieldOfView(half, half, half, left, top, right, bottom, fov.found, "")
        return square.mask(self.size, self.size, margin)

    def coverage(self, cells: int, margin: float = 0.0) -> NDArray[np.float32]:
        """Return how much of each cell of a map over the square is visible retina.

        Args:
            cells: cells a side.
            margin: share of the radius to leave out along the rim, 0-1.

        Returns:
            float32 (cells, cells), 0-1.
        """
        # Sixteen samples along a side of a coarse cell, one or more of a fine one.
        finer = max(1, min(16, 1024 // cells))
        fine = self.at(cells * finer).mask(margin).astype(np.float32)
        share = cv2.resize(fine, (cells, cells), interpolation=cv2.INTER_AREA)
        return np.asarray(share, np.float32)


def _affine(
    image: Pixels, scale: float, x: float, y: float, size: int, interpolation: int
) -> Pixels:
    """Sample a square of `size` pixels whose centre is (x, y) of the image, black outside."""
    half = size / 2
    matrix = np.array(
        [
            [scale, 0, half - scale * x + 0.5 * scale - 0.5],
            [0, scale, half - scale * y + 0.5 * scale - 0.5],
        ],
        np.float64,
    )
    return cv2.warpAffine(
        image, matrix, (size, size), flags=interpolation, borderMode=cv2.BORDER_CONSTANT
    )


def block_mean(image: Pixels, block: int) -> Pixels:
    """Average block x block pixels; a last partial block is completed by repeating the edge.

    Args:
        image: uint8 or float32 (h, w) or (h, w, 3).
        block: side of a block in pixels, 1 or more.

    Returns:
        Same dtype and channels, (ceil(h / block), ceil(w / block)).
    """
    if block == 1:
        return image
    h, w = image.shape[:2]
    pad_y, pad_x = -h % block, -w % block
    if pad_y or pad_x:
        image = cv2.copyMakeBorder(image, 0, pad_y, 0, pad_x, cv2.BORDER_REPLICATE)
    size = (image.shape[1] // block, image.shape[0] // block)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
