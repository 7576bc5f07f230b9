"""Decoding JPEG, PNG, TIFF, BMP and WebP files to upright RGB pixels."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from drcore.errors import PhotographError
from drcore.photographs.colours import in_srgb
from drcore.photographs.formats import _DEFLATE, _FORMATS, register_heif
from drcore.photographs.jpeg import blocks_of, decode_jpeg
from drcore.photographs.jpeg_2000 import check_jpeg_2000
from drcore.photographs.pages import (
    Picture,
    TiffHead,
    check_tiff,
    picture_of,
    tiff_blocks,
    tiff_head,
)
from drcore.photographs.photograph import RGB, check_size
from drcore.photographs.pixel_damage import check_blocks, check_noise, check_rows
from drcore.photographs.second_decoder import check_av1, check_hevc
from drcore.photographs.stream_damage import check_stream, shortened_webp
from drcore.text import one_line

__all__ = ["reduction_to", "to_eight_bits"]

_AS_STORED = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
_ORIENTATION_TAG = 274
_TURNS = {
    2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1),
    6: (False, 3), 7: (True, 3), 8: (False, 1),
}  # fmt: skip
"""By orientation: mirrored left to right first, then turned left by so many quarters."""
_TRANSPOSED = frozenset({5, 6, 7, 8})


class _Decoded(NamedTuple):
    """Upright 8-bit RGB, width and height of the original, reduction, and `Photograph.note`."""

    rgb: RGB
    width: int
    height: int
    reduction: int
    note: str


def _decode(
    data: bytes, kind: str, label: str, *, least_side: int | None, max_pixels: int,
    number: int | None,
) -> _Decoded:  # fmt: skip
    damaged = f"{label}: the {kind} data is damaged or cut short"
    try:
        check_stream(data, kind)
        picture = picture_of(data, kind, number, label)
        if kind == "TIFF" or (kind == "PNG" and data[24:25] == b"\x10" and not picture.seek):
            rgb = _decode_deep(picture.data, kind, label, max_pixels)
            return _Decoded(rgb, rgb.shape[1], rgb.shape[0], 1, picture.note)
        if kind == "HEIC":
            register_heif(label)
        with Image.open(io.BytesIO(picture.data), formats=_FORMATS) as image:
            check_size(image.width, image.height, label, max_pixels)
            width, height, reduction = image.width, image.height, 1
            if kind == "JPEG":
                reduction = reduction_to(least_side, width, height)
                rgb = _decode_jpeg(picture.data, width, height, reduction)
            else:
                rgb = _decode_any(image, picture, kind)
            orientation = _orientation(image)
            rgb = _turn_upright(in_srgb(rgb, _profile(image)), orientation)
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
        raise _sentence(error, label, damaged) from error
    if orientation in _TRANSPOSED:
        width, height = height, width
    return _Decoded(rgb, width, height, reduction, picture.note)


def _sentence(error: Exception, label: str, damaged: str) -> PhotographError:
    """What to say of whatever a decoder raised."""
    if _out_of_memory(error):
        return PhotographError(
            f"{label}: there is not enough memory to decode it. Close other programs, use "
            "fewer workers, or export it smaller."
        )
    return PhotographError(f"{damaged} ({one_line(error)}). Export it again.")


def _decode_jpeg(data: bytes, width: int, height: int, reduction: int) -> RGB:
    """Decode strictly, and look whether what came out was made up."""
    rgb = decode_jpeg(data, width, height, reduction)
    blocks = blocks_of(data)
    if blocks is not None:
        check_blocks(rgb, blocks, reduction)
    return rgb


def _decode_any(image: Image.Image, picture: Picture, kind: str) -> RGB:
    if kind == "WEBP" and not getattr(image, "is_animated", False):
        return _decode_webp(image, picture.data)
    if kind == "JPEG 2000":
        check_jpeg_2000(picture.data)
    image.seek(picture.seek)
    image.load()
    rgb = _to_rgb(image)
    if kind == "BMP":
        check_rows(rgb)
    elif kind == "AVIF":
        check_av1(picture.data, picture.seek)
    elif kind == "HEIC":
        check_hevc(picture.data, picture.seek)
    return rgb


def _decode_webp(image: Image.Image, data: bytes) -> RGB:
    pixels = None
    if image.mode == "RGB":  # the same decoder as Pillow's, in less time
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    rgb = _to_rgb(image) if pixels is None else np.asarray(pixels, np.uint8)
    less = shortened_webp(data)
    if less and cv2.imdecode(np.frombuffer(less, np.uint8), cv2.IMREAD_COLOR) is not None:
        raise ValueError("its picture ends before its data")
    if less and less[12:16] == b"VP8L":
        check_noise(rgb)
    return rgb


def _profile(image: Image.Image) -> bytes:
    profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) and image.mode != "CMYK" else b""


def reduction_to(least_side: int | None, width: int, height: int) -> int:
    """Return by how much a picture may be reduced: 8, 4, 2 or, not at all, 1.

    Args:
        least_side: of the reduced picture, in pixels; None to keep all of them.
        width, height: of the picture, in pixels.
    """
    for reduction in (8, 4, 2):
        if least_side is not None and min(width, height) // reduction >= least_side:
            return reduction
    return 1


def _to_rgb(image: Image.Image) -> RGB:
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        # Transparency is laid on black, the colour that surrounds a fundus photograph; where all
        # is transparent, the channel was left empty.
        rgba = image.convert("RGBA")
        pixels = np.asarray(rgba, np.uint8)
        if not pixels[..., 3].any():
            return np.ascontiguousarray(pixels[..., :3])
        flat = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        flat.alpha_composite(rgba)
        image = flat
    return np.ascontiguousarray(np.asarray(image.convert("RGB"), dtype=np.uint8))


def _decode_deep(data: bytes, kind: str, label: str, max_pixels: int) -> RGB:
    """TIFF of any depth and 16-bit PNG, which Pillow reads badly or not at all."""
    if kind == "TIFF":
        head = tiff_head(data)
        check_size(head.width, head.height, label, max_pixels)
        check_tiff(head)
        return _turn_upright(in_srgb(_decode_tiff(head), head.icc), head.orientation)
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    check_size(width, height, label, max_pixels)
    if 2 * width * height > _DEFLATE * len(data) or not _png_ends(data):
        raise ValueError("it holds less than it declares")
    orientation, profile = 1, b""
    if b"eXIf" in data or b"iCCP" in data:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            orientation, profile = _orientation(image), _profile(image)
    return _turn_upright(in_srgb(_bgr_to_rgb(_imdecode(data), alpha=True), profile), orientation)


def _decode_tiff(head: TiffHead) -> RGB:
    if head.packed and head.extra is None:
        with suppress(UnidentifiedImageError), _first_tiff_page(head) as image:
            if image.mode in {"RGB", "L"}:
                return _to_rgb(image)
    try:
        pixels = _imdecode(head.data)
    except ValueError:
        with _first_tiff_page(head) as image:  # CMYK, palettes, 1 bit
            return _to_rgb(image)
    if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 4:
        if head.extra == 2 and not pixels[..., 3].any():
            # libtiff has multiplied the colours with an alpha that was left empty: not again.
            place = head.extra_place
            data = head.data[:place] + b"\0" + head.data[place + 1 :]
            pixels = _imdecode(data)
        rgb = _bgr_to_rgb(pixels, alpha=False)  # libtiff has already laid the colours on black
    else:
        rgb = _bgr_to_rgb(pixels, alpha=head.extra != 0)
    if head.raw:
        check_rows(rgb)
    blocks = tiff_blocks(head)
    if blocks is not None:
        check_blocks(rgb, blocks)
    return rgb


def _first_tiff_page(head: TiffHead) -> Image.Image:
    return Image.open(io.BytesIO(head.data), formats=("TIFF",))


def _imdecode(data: bytes) -> NDArray[np.generic]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _AS_STORED)
    if pixels is None:
        raise ValueError("the decoder refused it")
    return pixels


def _png_ends(data: bytes) -> bool:
    """Whether the chunks of a PNG fit into the file: OpenCV allocates what a chunk declares."""
    place = 8
    while place + 8 <= len(data):
        if data[place + 4 : place + 8] == b"IEND":
            return True
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    return False


def _bgr_to_rgb(pixels: NDArray[np.generic], *, alpha: bool) -> RGB:
    """OpenCV's grey, BGR or BGRA pixels of any depth as 8-bit RGB, transparency laid on black."""
    if pixels.ndim == 2:
        return np.repeat(to_eight_bits(pixels)[..., None], 3, axis=2)
    rgb = to_eight_bits(pixels[..., 2::-1])
    if pixels.shape[2] == 4 and alpha and pixels[..., 3].any():
        opacity = to_eight_bits(pixels[..., 3:]).astype(np.uint16)
        rgb = (rgb.astype(np.uint16) * opacity // 255).astype(np.uint8)
    return rgb


def to_eight_bits(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale by the bit depth that is really used: many cameras put 12 bits into a 16-bit file."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    if np.issubdtype(pixels.dtype, np.integer):
        whole = pixels.astype(np.int64 if pixels.dtype.itemsize > 2 else np.int32).clip(0)
        hot = max(8, whole.size // 50_000)  # samples that a sensor's hot pixels may have
        bits = next((b for b in (8, 10, 12, 14) if np.count_nonzero(whole >> b) <= hot), 16)
        if pixels.dtype.itemsize > 2 and bits == 16:
            bits = max(16, int(whole.max()).bit_length())
        return (whole >> (bits - 8)).clip(0, 255).astype(np.uint8)
    if np.issubdtype(pixels.dtype, np.floating):
        values = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        hot = min(values.size - 1, max(8, values.size // 50_000))
        top = float(np.partition(values.ravel(), -1 - hot)[-1 - hot])
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
