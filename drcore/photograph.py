"""Reading a fundus photograph: bytes in, upright RGB pixels out, or a sentence saying why not."""

from __future__ import annotations

import hashlib
import io
import logging
import re
import unicodedata
import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from drcore.colours import in_srgb
from drcore.damage import check_blocks, check_rows, check_stream, shortened_webp
from drcore.dicom_frame import DicomFrame, file_name, frame_name
from drcore.errors import PhotographError
from drcore.frame_count import LONG_HEAD_BYTES, frames_in
from drcore.jpeg import blocks_of, decode_jpeg
from drcore.pages import (
    Picture,
    TiffHead,
    check_tiff,
    picture_of,
    pictures_in,
    tiff_blocks,
    tiff_head,
)

__all__ = [
    "EXTENSIONS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "Laterality",
    "Photograph",
    "Source",
    "check_size",
    "clean_name",
    "encoded_bytes",
    "frame_count",
    "is_dicom",
    "parse_name",
    "read_photograph",
]

# The decoders write to stderr what our errors say better, some lines for every damaged file. Set
# once: to set and restore it around each call would not be safe between threads.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
logging.getLogger("tifffile").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"PIL\.")

RGB = NDArray[np.uint8]
Laterality = Literal["OD", "OS"]

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom"}
)
"""File name endings that a folder walk picks up. What a file *is* is decided by its content."""

MAX_PIXELS = 150_000_000
"""Largest declared picture, in pixels: ten times a 12-megapixel camera, far below a bomb."""

MAX_BYTES = 512 * 1024 * 1024
"""Largest encoded file, in bytes."""

MIN_SIDE = 32
"""Shortest side, in pixels, in which a retina could still be told from noise."""

GRADING_SIDE = 640
"""Reduced decoding keeps at least this many pixels on the short side: above the largest network
input (512 px), so the reduction costs no detail that the networks could see."""

_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000", "AVIF", "HEIF")
_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),  # BigTIFF
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),  # without the container
)
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_DEFLATE = 1032  # bytes that one byte of a PNG can stand for at most
_AS_STORED = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
_ORIENTATION_TAG = 274
_TURNS = {
    2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1),
    6: (False, 3), 7: (True, 3), 8: (False, 1),
}  # fmt: skip
"""By orientation: mirrored left to right first, then turned left by so many quarters."""
_TRANSPOSED = frozenset({5, 6, 7, 8})


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """An upright colour photograph, perhaps decoded at a reduced size.

    Attributes:
        rgb: uint8 (h, w, 3), 0-255, upright (EXIF orientation applied).
        width: width of the original, upright, in pixels; `rgb` has ceil(width / reduction).
        height: height of the original, upright, in pixels.
        reduction: original pixels per pixel of `rgb` along each axis: 1, 2, 4 or 8.
        name: display name without folders or control characters; still untrusted text.
        sha256: SHA-256 of the encoded file (of the pixels, where an array was given), hex.
        laterality: "OD", "OS", or None where neither DICOM header nor name tells.
        patient: the DICOM header's PatientID, or what the name says beside the laterality, or
            None where there is neither.
        burned_in: whether the DICOM header says that identity is burnt into the pixels; None
            where nothing is said.
        note: a sentence on what else the file holds and was passed over, such as a thumbnail;
            empty where it holds nothing else.
    """

    rgb: RGB
    width: int
    height: int
    reduction: int
    name: str
    sha256: str
    laterality: Laterality | None
    patient: str | None
    burned_in: bool | None = None
    note: str = ""


Source = str | Path | bytes | bytearray | memoryview | BinaryIO | RGB | Photograph | DicomFrame


def read_photograph(
    source: Source,
    *,
    name: str | None = None,
    for_grading: bool = False,
    max_pixels: int = MAX_PIXELS,
    frame: int | None = None,
) -> Photograph:
    """Read one photograph, whatever its container, by content and never by extension.

    Args:
        source: a path, the encoded bytes, a binary file object, RGB uint8 (H, W, 3) pixels, a
            frame of a file, or a photograph that was read before.
        name: display name; taken from the path or the file object where left out.
        for_grading: let a large JPEG be decoded at 1/2, 1/4 or 1/8 of its size (the discrete
            cosine transform gives these for free), never below `GRADING_SIDE` px.
        max_pixels: refuse pictures that declare more pixels than this.
        frame: number of the photograph, from 1, in a file that may hold several (`frame_count`):
            DICOM frames, TIFF pages, pictures of an MPO, frames of an animated WebP, PNG or GIF.
            Its name then tells the number, `eye frame 2.tif`, where the file holds several.

    Returns:
        The photograph; 16-bit, grey, palette, alpha and CMYK pictures become 8-bit RGB.

    Raises:
        PhotographError: the source is missing, empty, damaged, foreign, too large or too small, or
            a file with several photographs of which none was named.
    """
    if isinstance(source, Photograph):
        return source if name is None else replace(source, name=clean_name(name))
    if isinstance(source, np.ndarray):
        return _from_array(source, name, max_pixels)
    if isinstance(source, DicomFrame):
        photograph = read_photograph(
            source.file, name=None if name is None else file_name(name), for_grading=for_grading,
            max_pixels=max_pixels, frame=source.number,
        )  # fmt: skip
        return photograph if name is None else replace(photograph, name=clean_name(name))
    data, label = encoded_bytes(source, name)
    kind = _kind(data)
    if kind is None:
        raise PhotographError(
            f"{label}: this is not a JPEG, PNG, TIFF, BMP, GIF, JPEG 2000, HEIC, AVIF, WebP or "
            "DICOM picture. "
            "Export the photograph in one of these formats."
        )
    if kind == "DICOM":
        # An extra, which most readers do without.
        from drcore.dicom import read_frame, read_single_frame

        if frame is None:
            return read_single_frame(data, label, max_pixels)
        named = frame_name(label, frame) if frames_in(data) > 1 else label
        return read_frame(data, frame, name=named, max_pixels=max_pixels)
    count = pictures_in(data, kind) if frame is not None else 1
    decoded = _decode(
        data, kind, label, for_grading=for_grading, max_pixels=max_pixels, number=frame
    )
    laterality, patient = parse_name(label)
    digest = hashlib.sha256(data)
    if frame is not None and count > 1:  # as for the frames of a DICOM file
        digest = hashlib.sha256(digest.digest() + frame.to_bytes(4, "big"))
        label = frame_name(label, frame)
    return Photograph(
        rgb=decoded.rgb,
        width=decoded.width,
        height=decoded.height,
        reduction=decoded.reduction,
        name=label,
        sha256=digest.hexdigest(),
        laterality=laterality,
        patient=patient,
        note=decoded.note,
    )


def frame_count(source: str | Path | bytes | bytearray | memoryview | BinaryIO) -> int:
    """Count the photographs of a file of any kind, from its headers: nothing is decoded.

    Args:
        source: a path, the encoded bytes, or a binary file object that can be sought; of a path
            or an object only the headers are read.

    Returns:
        1 or more: DICOM frames, TIFF pages, pictures of an MPO, frames of an animated WebP, PNG or
        GIF; thumbnails, masks and stereo twins are not counted. 1 also for what is no photograph,
        damaged or not there: `read_photograph` tells why. With more than one, read each with
        `read_photograph(source, frame=n)`, or hand `DicomFrame(path_or_bytes, n)` to what takes a
        source.
    """
    if isinstance(source, str | Path):
        try:
            if not Path(source).is_file():  # a pipe would block
                return 1
            with Path(source).open("rb") as opened:
                return frame_count(opened)
        except (OSError, ValueError):
            return 1
    file = io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else source
    try:
        kind = _kind(file.read(140))
        file.seek(0)
        if kind == "DICOM":  # private elements may come before the number of frames
            return frames_in(file.read(LONG_HEAD_BYTES))
    except (OSError, ValueError, TypeError):
        return 1
    return 1 if kind is None else pictures_in(file, kind)


def clean_name(name: str) -> str:
    """Strip folders, control and invisible formatting characters from an untrusted file name.

    Args:
        name: any text.

    Returns:
        The last path component, at most 200 characters, never empty.
    """
    last = re.split(r"[\\/]", name)[-1]
    kept = "".join(c for c in last if unicodedata.category(c) not in _INVISIBLE).strip()[:200]
    return "unnamed" if kept in {"", ".", ".."} else kept


_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories: control, format, surrogate, private, unassigned, line and paragraph ends."""

_SIDE_TOKENS: dict[str, Laterality] = {
    "od": "OD", "right": "OD", "re": "OD", "r": "OD",
    "os": "OS", "left": "OS", "le": "OS", "l": "OS",
}  # fmt: skip


def parse_name(name: str) -> tuple[Laterality | None, str | None]:
    """Read laterality and patient from a file name such as `10_left.jpeg` or `A-7_OD.jpg`.

    Args:
        name: file name.

    Returns:
        Laterality, and the rest of the name as the patient; both None where the name holds no
        side or both sides, the patient alone None where there is nothing but the side.
    """
    stem = re.sub(r"\.(jpe?g|png|tiff?|bmp|webp|dcm|dicom)$", "", name, flags=re.IGNORECASE)
    parts = re.split(r"([\s_.\-()\[\]]+)", stem)  # words at even places, what parts them at odd
    hits = [i for i in range(0, len(parts), 2) if parts[i].lower() in _SIDE_TOKENS]
    if len({_SIDE_TOKENS[parts[i].lower()] for i in hits}) != 1:
        return None, None  # no side, or both: the name does not tell
    # What stands between the sides keeps its own hyphens and dots: they belong to the number.
    ends = [-1, *hits, len(parts)]
    rest = ["".join(parts[a + 1 : b]).strip(" _.-()[]\t") for a, b in pairwise(ends)]
    patient = "_".join(piece for piece in rest if piece)
    return _SIDE_TOKENS[parts[hits[0]].lower()], patient or None


def _from_array(rgb: NDArray[np.generic], name: str | None, max_pixels: int) -> Photograph:
    label = clean_name(name or "array")
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise PhotographError(
            f"{label}: expected RGB uint8 of shape (H, W, 3), got {rgb.dtype} {rgb.shape}."
        )
    check_size(rgb.shape[1], rgb.shape[0], label, max_pixels)
    pixels = np.ascontiguousarray(rgb, dtype=np.uint8)
    laterality, patient = parse_name(label)
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    return Photograph(
        pixels, pixels.shape[1], pixels.shape[0], 1, label, digest, laterality, patient
    )


def encoded_bytes(
    source: str | Path | bytes | bytearray | memoryview | BinaryIO, name: str | None = None
) -> tuple[bytes, str]:
    """Read an encoded file whole, if it is there and not too large.

    Args:
        source: a path, the encoded bytes, or a binary file object.
        name: display name; taken from the path or the file object where left out.

    Returns:
        The bytes, and the cleaned display name.

    Raises:
        PhotographError: the source is missing, empty or larger than `MAX_BYTES`.
    """
    data, found = _bytes_of(source)
    label = clean_name(name if name is not None else found)
    if not data:
        raise PhotographError(f"{label}: the file is empty. Export the photograph again.")
    if len(data) > MAX_BYTES:
        raise PhotographError(
            f"{label}: the file has {len(data) / 2**20:.0f} MiB; at most {MAX_BYTES >> 20} MiB "
            "are accepted. Export it as JPEG."
        )
    return data, label


def _bytes_of(source: str | Path | bytes | bytearray | memoryview | BinaryIO) -> tuple[bytes, str]:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), "upload"
    if isinstance(source, str | Path):
        path = Path(source)
        label = clean_name(path.name)
        try:
            if not path.is_file():  # a folder, a pipe or a device would block or lie
                what = "this is a folder" if path.is_dir() else "there is no such file"
                raise PhotographError(f"{label}: {what}. Give the path of a photograph.")
            if path.stat().st_size > MAX_BYTES:
                raise PhotographError(
                    f"{label}: the file has {path.stat().st_size / 2**20:.0f} MiB; at most "
                    f"{MAX_BYTES >> 20} MiB are accepted. Export it as JPEG."
                )
            return path.read_bytes(), path.name
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise PhotographError(f"{label}: the file cannot be opened ({why}).") from error
    try:
        data = source.read(MAX_BYTES + 1)
    except (OSError, ValueError, AttributeError) as error:
        raise PhotographError(f"The given source cannot be read ({error}).") from error
    if not isinstance(data, bytes):
        raise PhotographError("The given file object is open as text; open it in binary mode.")
    found = getattr(source, "name", None)  # a number, where the file has none
    return data, found if isinstance(found, str) else "upload"


def is_dicom(head: bytes) -> bool:
    """Tell whether a file is DICOM.

    Args:
        head: its first 132 bytes or more.

    Returns:
        True for DICOM, with or without a preamble.
    """
    # Without preamble the file starts with a low tag of group 2 or 8.
    return head[128:132] == b"DICM" or bool(
        re.match(rb"[\x02\x08]\0[\0-\x20]\0(UL|..\0\0|[A-Z]{2})", head, re.DOTALL)
    )


def _kind(data: bytes) -> str | None:
    if is_dicom(data):  # before all others: its preamble may be the head of a TIFF
        return "DICOM"
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[4:8] == b"ftyp":
        # Sequences and single pictures alike; a general brand comes before the particular ones.
        brands = {data[8:12], *(data[i : i + 4] for i in range(16, min(64, len(data)), 4))}
        return "AVIF" if brands & _AVIF_BRANDS else "HEIC" if brands & _HEIC_BRANDS else None
    return "WEBP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def check_size(width: int, height: int, label: str, max_pixels: int) -> None:
    """Refuse a picture by its declared size, before anything is decoded.

    Args:
        width, height: in pixels.
        label: display name, for the error.
        max_pixels: largest number of pixels accepted.

    Raises:
        PhotographError: the picture is too large, or too small to be a fundus photograph.
    """
    if width * height > max_pixels:
        raise PhotographError(
            f"{label}: {width} x {height} is {width * height / 1e6:.0f} megapixels; at most "
            f"{max_pixels / 1e6:.0f} are accepted. Export it smaller."
        )
    if min(width, height) < MIN_SIDE:
        raise PhotographError(
            f"{label}: {width} x {height} pixels are too few for a fundus photograph "
            f"(at least {MIN_SIDE} on each side)."
        )


class _Decoded(NamedTuple):
    """Upright 8-bit RGB, width and height of the original, reduction, and `Photograph.note`."""

    rgb: RGB
    width: int
    height: int
    reduction: int
    note: str


def _decode(
    data: bytes, kind: str, label: str, *, for_grading: bool, max_pixels: int, number: int | None
) -> _Decoded:
    damaged = f"{label}: the {kind} data is damaged or cut short"
    try:
        check_stream(data, kind)
        picture = picture_of(data, kind, number, label)
        if kind == "TIFF" or (kind == "PNG" and data[24:25] == b"\x10" and not picture.seek):
            rgb = _decode_deep(picture.data, kind, label, max_pixels)
            return _Decoded(rgb, rgb.shape[1], rgb.shape[0], 1, picture.note)
        if kind == "HEIC":
            _register_heif(label)
        with Image.open(io.BytesIO(picture.data), formats=_FORMATS) as image:
            check_size(image.width, image.height, label, max_pixels)
            width, height, reduction = image.width, image.height, 1
            if kind == "JPEG":
                reduction = _reduction(width, height) if for_grading else 1
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
    return PhotographError(f"{damaged} ({_short(error)}). Export it again.")


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
    image.seek(picture.seek)
    image.load()
    rgb = _to_rgb(image)
    if kind == "BMP":
        check_rows(rgb)
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
    return rgb


def _profile(image: Image.Image) -> bytes:
    profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) and image.mode != "CMYK" else b""


def _register_heif(label: str) -> None:
    """Teach Pillow HEIC. Never by pillow-heif: what that one bundles is under the GPL."""
    try:
        import pi_heif
    except ImportError as error:
        raise PhotographError(
            f'{label}: this is a HEIC file, and reading it needs the extra "heif". '
            'Install it: python -m pip install "drcore[heif]"'
        ) from error
    pi_heif.register_heif_opener()


def _reduction(width: int, height: int) -> int:
    for reduction in (8, 4, 2):
        if min(width, height) // reduction >= GRADING_SIDE:
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
        return np.repeat(_to_eight_bits(pixels)[..., None], 3, axis=2)
    rgb = _to_eight_bits(pixels[..., 2::-1])
    if pixels.shape[2] == 4 and alpha and pixels[..., 3].any():
        opacity = _to_eight_bits(pixels[..., 3:]).astype(np.uint16)
        rgb = (rgb.astype(np.uint16) * opacity // 255).astype(np.uint8)
    return rgb


def _to_eight_bits(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
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


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:120] or type(error).__name__
