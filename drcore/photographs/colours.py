"""Colours of photographs: profiles brought to sRGB, alpha that says nothing left out."""

from __future__ import annotations

import functools
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

__all__ = ["in_srgb"]

RGB = NDArray[np.uint8]

LIKE_SRGB = 3
"""Levels of 255 by which a profile may differ from sRGB and still be left alone."""

_LONGEST_PROFILE = 4 << 20


def in_srgb(rgb: RGB, profile: bytes) -> RGB:
    """Bring pixels to sRGB, the space of the photographs that the networks were trained with.

    Args:
        rgb: uint8 (h, w, 3), as stored.
        profile: ICC profile of the file; empty where it has none.

    Returns:
        The pixels in sRGB; as they are where the profile is empty, close to sRGB, damaged, or of
        another kind than RGB.
    """
    change = _transform(profile) if 0 < len(profile) <= _LONGEST_PROFILE else None
    if change is None:
        return rgb
    changed = ImageCms.applyTransform(Image.fromarray(rgb), change)
    return rgb if changed is None else np.asarray(changed, np.uint8)


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB; None where that would change little or cannot be done."""
    steps = np.linspace(0, 255, 6).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(12, 18, 3)
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != "RGB":
            return None
        change = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
        changed = ImageCms.applyTransform(Image.fromarray(cube), change)
    except Exception:  # noqa: BLE001 - a garbled profile must not cost a readable picture
        return None
    difference = np.abs(np.asarray(changed, np.int16) - cube.astype(np.int16)).max()
    return change if difference > LIKE_SRGB else None
