"""Whole files of every kind that the reader meets: what the fuzzer then damages."""

from __future__ import annotations

import functools
import io
import struct
import zlib

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageCms

from training.synthetic.phantom import make_phantom
from training.synthetic.recipe import PhantomRecipe

__all__ = ["DICOM_KINDS", "KINDS", "SEVERAL", "dicom", "picture", "png_chunk", "whole"]

SIDE = 160
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
JPEG_BASELINE, JPEG_2000, RLE = (
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5",
)  # fmt: skip


@functools.cache
def picture(side: int = SIDE) -> np.ndarray:
    """A phantom, uint8 (side, side, 3), read-only."""
    rgb = make_phantom(PhantomRecipe(size=256, seed=1)).rgb
    small = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA)
    small.setflags(write=False)
    return small


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274], exif[271] = orientation, "A camera"
    return exif


def _frames(image: Image.Image) -> list[Image.Image]:
    return [image.rotate(angle) for angle in (20, 40)]


def _thumbnail_first(image: Image.Image) -> bytes:
    """A TIFF whose first page is a thumbnail that is not marked as one."""
    return _saved(image.resize((40, 40)), "TIFF", save_all=True, append_images=[image])


def _tiff(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, metadata=None, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png16(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels.astype(np.uint16) * 257)[1].tobytes()


def dicom(
    syntax: str = EXPLICIT, photometric: str = "RGB", frames: int = 1, bits: int = 8
) -> bytes:
    """An ophthalmic photograph as a DICOM file."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate

    grey = photometric.startswith("MONO")
    pixels = picture(64)[..., 1] if grey else picture(64)
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.77.1.5.1", "1.2.3.4"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3.5", "1.2.3.6"
    made.Modality, made.PatientID, made.PatientName = "OP", "P-7", "Doe^Jane"
    made.ImageLaterality, made.BurnedInAnnotation = "R", "NO"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel = 1 if grey else 3
    made.PhotometricInterpretation = photometric
    if not grey:
        made.PlanarConfiguration = 0
    if frames > 1:
        made.NumberOfFrames = frames
    made.BitsAllocated = made.BitsStored = bits
    made.HighBit, made.PixelRepresentation = bits - 1, 0
    raw = (pixels.astype(np.uint16) * 257 if bits == 16 else pixels).tobytes()
    made.PixelData = raw * frames
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = EXPLICIT
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    if syntax == RLE:
        made.compress(RLE, generate_instance_uid=False)
    elif syntax in {JPEG_BASELINE, JPEG_2000}:
        name = "JPEG" if syntax == JPEG_BASELINE else "JPEG2000"
        options = {"no_jp2": True} if name == "JPEG2000" else {}
        coded = _saved(Image.fromarray(pixels), name, **options)
        made.PixelData = encapsulate([coded] * frames)
        made["PixelData"].is_undefined_length = True
    made["PixelData"].VR = "OW" if bits == 16 or syntax == IMPLICIT else "OB"
    made.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


DICOM_KINDS = {
    "dicom": {},
    "dicom implicit": {"syntax": IMPLICIT},
    "dicom grey": {"photometric": "MONOCHROME2"},
    "dicom 16 bit": {"photometric": "MONOCHROME2", "bits": 16},
    "dicom frames": {"frames": 3},
    "dicom jpeg": {"syntax": JPEG_BASELINE, "photometric": "YBR_FULL_422"},
    "dicom jpeg 2000": {"syntax": JPEG_2000, "photometric": "YBR_RCT"},
    "dicom rle": {"syntax": RLE},
}


def _makers() -> dict[str, object]:
    rgb = picture()
    image = Image.fromarray(rgb)
    grey = image.convert("L")
    alpha = Image.fromarray(np.dstack([rgb, rgb[..., 0]]))
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    deep = rgb.astype(np.uint16) * 257
    return {
        "jpeg": lambda: _saved(image, "JPEG", quality=90),
        "jpeg progressive": lambda: _saved(image, "JPEG", progressive=True, quality=90),
        "jpeg cmyk": lambda: _saved(image.convert("CMYK"), "JPEG"),
        "jpeg grey": lambda: _saved(grey, "JPEG"),
        "jpeg exif icc": lambda: _saved(image, "JPEG", exif=_exif(6), icc_profile=icc),
        "jpeg restarts": lambda: _saved(image, "JPEG", restart_marker_blocks=2),
        "jpeg mpo": lambda: _saved(image, "MPO", save_all=True, append_images=_frames(image)),
        "png": lambda: _saved(image, "PNG"),
        "png 16 bit": lambda: _png16(rgb),
        "png 1 bit": lambda: _saved(image.convert("1"), "PNG"),
        "png palette": lambda: _saved(image.quantize(40), "PNG", transparency=3),
        "png alpha": lambda: _saved(alpha, "PNG"),
        "png animated": lambda: _saved(
            image, "PNG", save_all=True, append_images=_frames(image), duration=50
        ),
        "png exif icc": lambda: _saved(image, "PNG", exif=_exif(8), icc_profile=icc),
        "tiff": lambda: _saved(image, "TIFF"),
        "tiff lzw": lambda: _saved(image, "TIFF", compression="tiff_lzw"),
        "tiff deflate": lambda: _saved(image, "TIFF", compression="tiff_adobe_deflate"),
        "tiff jpeg": lambda: _saved(image, "TIFF", compression="jpeg"),
        "tiff fax": lambda: _saved(image.convert("1"), "TIFF", compression="group4"),
        "tiff cmyk": lambda: _saved(image.convert("CMYK"), "TIFF"),
        "tiff alpha": lambda: _saved(alpha, "TIFF"),
        "tiff pages": lambda: _saved(image, "TIFF", save_all=True, append_images=_frames(image)),
        "tiff pages jpeg": lambda: _saved(
            image, "TIFF", save_all=True, append_images=_frames(image), compression="jpeg"
        ),
        "tiff pages big": lambda: _tiff(
            np.stack([rgb, rgb[::-1]]), photometric="rgb", bigtiff=True
        ),
        "tiff thumbnail": lambda: _thumbnail_first(image),
        "tiff 16 bit": lambda: _tiff(deep, photometric="rgb"),
        "tiff float": lambda: _tiff(rgb.astype(np.float32) / 255, photometric="rgb"),
        "tiff tiles": lambda: _tiff(rgb, photometric="rgb", tile=(32, 32)),
        "tiff planes": lambda: _tiff(
            np.ascontiguousarray(rgb.transpose(2, 0, 1)), photometric="rgb", planarconfig="separate"
        ),
        "tiff big": lambda: _tiff(rgb, photometric="rgb", bigtiff=True),
        "tiff turned": lambda: _tiff(rgb, photometric="rgb", extratags=[(274, "H", 1, 5, True)]),
        "bmp": lambda: _saved(image, "BMP"),
        "bmp palette": lambda: _saved(image.quantize(200), "BMP"),
        "webp": lambda: _saved(image, "WEBP"),
        "webp lossless": lambda: _saved(alpha, "WEBP", lossless=True, exif=_exif(3)),
        "webp animated": lambda: _saved(
            image, "WEBP", save_all=True, append_images=_frames(image), duration=50
        ),
        "gif animated": lambda: _saved(
            image.quantize(64), "GIF", save_all=True, append_images=_frames(image.quantize(64))
        ),
        "gif": lambda: _saved(image.quantize(64), "GIF"),
        "avif animated": lambda: _saved(
            image, "AVIF", save_all=True, append_images=_frames(image), duration=50
        ),
        "jpeg 2000": lambda: _saved(image, "JPEG2000", irreversible=True, quality_layers=[20, 8]),
        "text": lambda: b"image,grade\n" * 30,
        "pdf": lambda: b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n",
        "svg": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "zip": lambda: b"PK\x03\x04" + bytes(200),
        **{name: functools.partial(dicom, **options) for name, options in DICOM_KINDS.items()},
    }


KINDS = tuple(_makers())
SEVERAL = {
    "jpeg mpo": 3, "png animated": 3, "tiff pages": 3, "tiff pages jpeg": 3, "tiff pages big": 2,
    "webp animated": 3, "gif animated": 3, "avif animated": 3, "dicom frames": 3,
}  # fmt: skip
"""Kinds with several photographs, and how many these are."""


@functools.cache
def whole(kind: str) -> bytes:
    """Return the undamaged file of a kind."""
    return _makers()[kind]()  # type: ignore[operator]
