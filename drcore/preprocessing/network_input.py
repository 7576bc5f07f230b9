"""From a square of retina to network input: one definition for training and grading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from drcore.preprocessing.contrast import local_contrast

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Preprocessing"]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How squares become network input; goes into the manifest beside the weights.

    Attributes:
        kind: name of the method; only "local-contrast" is known.
        margin: share of the radius left out along the rim, where cameras leave a bright fringe.
        gain: contrast factor of `local_contrast`.
        sigma: Gaussian of `local_contrast`, share of the width.
        mean, std: `(value - mean) / std` is what the network sees.
    """

    kind: str = "local-contrast"
    margin: float = 0.02
    gain: float = 4.0
    sigma: float = 1 / 30
    mean: float = 128.0
    std: float = 48.0

    def contrast(
        self, square: NDArray[np.uint8], mask: NDArray[np.bool_], size: int
    ) -> NDArray[np.uint8]:
        """Shrink a square to the network's input size and take its local contrast.

        Args:
            square: uint8 (S, S, 3), 0-255, the field of view filling the square.
            mask: bool (S, S), the retina, rim margin already left out.
            size: side of the result in pixels, at most S.

        Returns:
            uint8 (size, size, 3), 128 where nothing stands out and outside the retina.
        """
        if size != square.shape[0]:
            square = _resize(square, size)
            mask = _resize(mask.astype(np.uint8) * 255, size) > 127
        return local_contrast(square, mask, gain=self.gain, sigma=self.sigma)

    def normalise(self, contrast: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn local contrast into network input.

        Args:
            contrast: uint8 (S, S, 3).

        Returns:
            float32 (3, S, S).
        """
        planes = np.ascontiguousarray(contrast.transpose(2, 0, 1), dtype=np.float32)
        planes -= np.float32(self.mean)
        planes /= np.float32(self.std)
        return planes


def _resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
