"""Decoding JPEG, PNG, TIFF, BMP and WebP files to upright RGB pixels."""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from drcore.errors import PhotographError
from drcore.photographs.formats import _DEFLATE, _FORMATS
from drcore.photographs.photograph import GRADING_SIDE, RGB, check_size
from drcore.text import one_line

__all__ = []

_ORIENTATION_TAG = 274
_TURNS = {
    2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1),
    6: (False, 3), 7: (True, 3), 8: (False, 1),
}  # fmt: skip
"""By orientation: mirrored left to right first, then turned left by so many quarters."""
_TRANSPOSED = frozenset({5, 6, 7, 8})


def _decode(
    data: bytes, kind: str, label: str, *, for_grading: bool, max_pixels: int
) -> tuple[RGB, int, int, int]:
    """Decode to upright 8-bit RGB; returns rgb, original width and height, reduction."""
    damaged = f"{label}: the {kind} data is damaged or cut short"
    try:
        if kind == "TIFF" or (kind == "PNG" and data[24:25] == b"\x10"):
            rgb = _decode_deep(data, kind, label, max_pixels)
            return rgb, rgb.shape[1], rgb.shape[0], 1
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            check_size(image.width, image.height, label, max_pixels)
            width, height, reduction = image.width, image.height, 1
            if for_grading and kind == "JPEG":
                reduction = _reduction(width, height)
                image.draft("RGB", (width // reduction, height // reduction))
                if image.size == (width, height):  # the decoder had none to offer
                    reduction = 1
            image.load()
            orientation = _orientation(image)
            rgb = _turn_upright(_to_rgb(image), orientation)
    except PhotographError:
        raise
    except Image.DecompressionBombError as error:
        raise PhotographError(
            f"{label}: the picture declares more pixels than are accepted (at most "
            f"{max_pixels / 1e6:.0f} megapixels). Export it smaller."
        ) from error
    except UnidentifiedImageError as error:
        raise PhotographError(f"{damaged}. Export the photograph again.") from error
    except Exception as error:  # decoders raise whatever they like on hostile bytes
        if _out_of_memory(error):
            raise PhotographError(
                f"{label}: there is not enough memory to decode it. Close other programs, use "
                "fewer workers, or export it smaller."
            ) from error
        raise PhotographError(f"{damaged} ({one_line(error)}). Export it again.") from error
    if orientation in _TRANSPOSED:
        width, height = height, width
    return rgb, width, height, reduction


def _reduction(width: int, height: int) -> int:
    for reduction in (8, 4, 2):
        if min(width, height) // reduction >= GRADING_SIDE:
            return reduction
    return 1


def _to_rgb(image: Image.Image) -> RGB:
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        # Transparency is laid on black, the colour that surrounds a fundus photograph.
        rgba = image.convert("RGBA")
        flat = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        flat.alpha_composite(rgba)
        image = flat
    return np.ascontiguousarray(np.asarray(image.convert("RGB"), dtype=np.uint8))


def _decode_deep(data: bytes, kind: str, label: str, max_pixels: int) -> RGB:
    """TIFF of any depth and 16-bit PNG, which Pillow reads badly or not at all."""
    if kind == "TIFF":
        data, width, height, orientation = _tiff_head(data)
    else:
        width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
        orientation = 1
    check_size(width, height, label, max_pixels)
    if kind == "PNG" and (2 * width * height > _DEFLATE * len(data) or not _png_ends(data)):
        raise ValueError("it holds less than it declares")
    if kind == "PNG" and b"eXIf" in data:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            orientation = _orientation(image)
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is not None:
        # libtiff has already laid 8-bit colours on black; deeper ones come as they are.
        rgb = _bgr_to_rgb(pixels, premultiplied=kind == "TIFF" and pixels.dtype == np.uint8)
    elif kind == "TIFF":
        with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:  # CMYK, palettes, 1 bit
            rgb = _to_rgb(image)
    else:
        raise ValueError("the decoder refused it")
    return _turn_upright(rgb, orientation)


def _png_ends(data: bytes) -> bool:
    """Whether the chunks of a PNG fit into the file: OpenCV allocates what a chunk declares."""
    place = 8
    while place + 8 <= len(data):
        if data[place + 4 : place + 8] == b"IEND":
            return True
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    return False


def _tiff_head(data: bytes) -> tuple[bytes, int, int, int]:
    """Read size and orientation of a TIFF's first page; return its bytes with orientation 1.

    Decoders disagree on whether they turn a TIFF upright: with the tag taken out, none does.
    """
    from tifffile import TiffFile  # costs 60 ms to import, and TIFF is rare

    with TiffFile(io.BytesIO(data)) as tiff:
        tags = tiff.pages.first.tags
        width, height = int(tags[256].value), int(tags[257].value)
        tag = tags.get(_ORIENTATION_TAG)
        if tag is None or tag.count != 1 or not isinstance(tag.value, int) or tag.value == 1:
            return data, width, height, 1
        start, length = tag.valueoffset, tag.valuebytecount
        upright = (1).to_bytes(length, "little" if tiff.byteorder == "<" else "big")
        return data[:start] + upright + data[start + length :], width, height, int(tag.value)


def _bgr_to_rgb(pixels: NDArray[np.generic], *, premultiplied: bool) -> RGB:
    """OpenCV's grey, BGR or BGRA pixels of any depth as 8-bit RGB, transparency laid on black."""
    if pixels.ndim == 2:
        return np.repeat(_to_eight_bits(pixels)[..., None], 3, axis=2)
    rgb = _to_eight_bits(pixels[..., 2::-1])
    if pixels.shape[2] == 4 and not premultiplied:
        alpha = _to_eight_bits(pixels[..., 3:]).astype(np.uint16)
        rgb = (rgb.astype(np.uint16) * alpha // 255).astype(np.uint8)
    return rgb


def _to_eight_bits(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale by the bit depth that is really used: many cameras put 12 bits into a 16-bit file."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    if np.issubdtype(pixels.dtype, np.integer):
        whole = pixels.astype(np.int64 if pixels.dtype.itemsize > 2 else np.int32).clip(0)
        used = int(whole.max()).bit_length()
        bits = max(8, used + used % 2)  # sensors have 8, 10, 12, 14 or 16
        return (whole >> (bits - 8)).astype(np.uint8)
    if np.issubdtype(pixels.dtype, np.floating):
        values = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        top = float(values.max())
        full = 1.0 if top <= 1.0 else 255.0 if top <= 255.0 else 65535.0
        return np.asarray(np.clip(values * (255.0 / full), 0, 255), np.uint8)
    raise ValueError(f"pixels of type {pixels.dtype} are not supported")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 (upright) where there is none, or none that can be read."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # noqa: BLE001 - a garbled EXIF block must not cost a readable picture
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turn_upright(rgb: RGB, orientation: int) -> RGB:
    """Apply the TIFF/EXIF orientation, 1 to 8."""
    mirror, quarter_turns = _TURNS.get(orientation, (False, 0))
    if mirror:
        rgb = rgb[:, ::-1]
    return np.ascontiguousarray(np.rot90(rgb, quarter_turns))


def _out_of_memory(error: Exception) -> bool:
    """Whether a decoder lacked memory, which is no fault of the picture."""
    return isinstance(error, MemoryError) or (
        isinstance(error, cv2.error) and ("memory" in str(error) or "bad_alloc" in str(error))
    )
