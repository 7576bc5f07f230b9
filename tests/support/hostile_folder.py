"""A folder of everything that people drop: photographs of all kinds, and what is none."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drcore.files import DERIVED_MARK
from tests.support.photographs import dicom_file

RGB = NDArray[np.uint8]

DICOMDIR = (
    bytes(128) + b"DICM\x02\0\0\0UL\4\0\0\0\0\0\x02\0\x02\0UI\x14\x00" + b"1.2.840.10008.1.3.10"
)

LEFT_OUT = {
    "DICOM directory": {"DICOMDIR"},
    "drcore export": {
        "exports/of_the_viewer.jpg", "exports/eye-0123.drcore-map.jpg", "exports/capture.dcm",
    },
    "not a photograph": {
        "notes.txt", "labels.csv", "report.pdf", "letter.docx", "empty.txt",
        "packed/mixed.zip/labels.json", "program.exe",
    },
    "unsupported archive": {"packed/old.rar", "packed/log.gz"},
    "hidden": {".hidden.jpg", "Thumbs.db", "packed/mixed.zip/.hidden.jpg"},
    "resource fork": {
        "._10_left.jpg", "fork.jpg", "packed/mixed.zip/__MACOSX/._a.jpg",
    },
}  # fmt: skip
"""What is no input, by reason."""


def hostile_files(pictures: list[RGB]) -> dict[str, bytes]:
    """Return files of more than fifty kinds.

    Args:
        pictures: three phantoms, the last far too dark.

    Returns:
        Content by path.
    """
    first, second, dark = pictures
    jpeg, other = _saved(first, "JPEG"), _saved(second, "JPEG", quality=88)
    return {
        **_pictures(first, second, dark),
        **_dicoms(first, second),
        **_archives(jpeg, other),
        "packed/pages.zip": _zip({"pages.tif": _two(second, first, "TIFF")}),
        **_no_photographs(jpeg),
        "truncated.jpg": jpeg[:900],
        "empty.jpg": b"",
        "text.jpg": b"not a picture",
        "tiny.png": _saved(first[:8, :8], "PNG"),
        "O'Brien_OD.jpg": jpeg + b"1",
        "Meier, Anna OS.jpg": jpeg + b"2",
        "=cmd|' !A0.jpg": jpeg + b"3",
        "眼底_右.jpg": jpeg + b"4",
        "a/1_OD.jpg": jpeg + b"5",
        "b/1_OD.jpg": other + b"6",
        "anna/Right Eye.jpg": jpeg + b"7",
        "ben/Right Eye.jpg": other + b"8",
    }


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder, and return it."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def _saved(rgb: RGB, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, kind, **options)
    return file.getvalue()


def _two(first: RGB, second: RGB, kind: str) -> bytes:
    return _saved(first, kind, save_all=True, append_images=[Image.fromarray(second)])


def _pictures(first: RGB, second: RGB, dark: RGB) -> dict[str, bytes]:
    jpeg = _saved(first, "JPEG")
    return {
        "10_left.jpg": jpeg,
        "10_right.JPEG": _saved(second, "JPEG"),
        "11_left.jpe": _saved(second, "JPEG", quality=80),
        "11_right.jfif": _saved(first, "JPEG", quality=81),
        "stereo.mpo": _two(first, second, "MPO"),
        "lossless.png": _saved(first, "PNG"),
        "scan.tif": _saved(first, "TIFF"),
        "pages.tiff": _two(first, second, "TIFF"),
        "old.bmp": _saved(first, "BMP"),
        "web.webp": _saved(first, "WEBP"),
        "moving.webp": _two(first, second, "WEBP"),
        "still.gif": _saved(first, "GIF"),
        "moving.gif": _two(first, second, "GIF"),
        "moving.png": _two(first, second, "PNG"),
        "no ending": _saved(first, "JPEG", quality=82),
        "trailing space.jpg ": _saved(first, "JPEG", quality=83),
        "really a jpeg.png": _saved(first, "JPEG", quality=84),
        "really a png.txt": _saved(second, "PNG"),
        "photo.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
        "dark.jpg": _saved(dark, "JPEG"),
    }


def _dicoms(first: RGB, second: RGB) -> dict[str, bytes]:
    capture = dicom_file(
        first, SOPClassUID="1.2.840.10008.5.1.4.1.1.7", SoftwareVersions=["drcore 0.6.1", "1"]
    )
    return {
        "study/single.dcm": dicom_file(first),
        "study/1.2.840.77": dicom_file(second),
        "study/frames.dcm": dicom_file(first, frames=2),
        "study/damaged.dcm": dicom_file(first)[:2000],
        "exports/capture.dcm": capture,
        "DICOMDIR": DICOMDIR,
    }


def _archives(jpeg: bytes, other: bytes) -> dict[str, bytes]:
    mixed = {
        "z/1.jpg": jpeg + b"a", "z/2_OS": other + b"b", "labels.json": b"{}", ".hidden.jpg": b"x",
        "__MACOSX/._a.jpg": b"\0\x05\x16\x07", "inner.zip": b"PK\3\4", "../../up.jpg": jpeg + b"c",
        "e\u0301te\u0301.jpg": jpeg + b"d", "broken.jpg": b"x",
    }  # fmt: skip
    first, second = _tar({"3.jpg": jpeg + b"e"}), _tar({"4.jpg": other + b"f"})
    japanese = "検査表.jpg".encode("cp932")
    encrypted = bytearray(_zip({"secret.jpg": jpeg + b"g"}))
    encrypted[encrypted.index(b"PK\1\2") + 8] |= 1
    placeholder = "n" * len(japanese)
    return {
        "packed/mixed.zip": _zip(mixed),
        "packed/one.tar": _tar({"5.jpg": jpeg + b"h"}),
        "packed/one.tar.gz": gzip.compress(_tar({"6.jpg": jpeg + b"i"}), mtime=0),
        "packed/two.tar": first + second,
        "packed/japan.zip": _zip({placeholder: jpeg + b"j"}).replace(
            placeholder.encode(), japanese
        ),
        "packed/locked.zip": bytes(encrypted),
        "packed/damaged.zip": b"PK\3\4 and then nonsense" * 9,
        "packed/photos of may": _zip({"7.jpg": jpeg + b"k"}),
        "packed/old.rar": b"Rar!\x1a\x07\0" + bytes(99),
        "packed/log.gz": gzip.compress(b"log", mtime=0),
    }


def _no_photographs(jpeg: bytes) -> dict[str, bytes]:
    exported = io.BytesIO()
    Image.open(io.BytesIO(jpeg)).save(exported, "JPEG", comment=DERIVED_MARK)
    return {
        "notes.txt": b"BMI 31, see letter",
        "labels.csv": b"image,grade\n",
        "report.pdf": b"%PDF-1.7\n" + jpeg,
        "letter.docx": _zip({"word/media/image1.jpg": jpeg}),
        "Thumbs.db": b"\xd0\xcf\x11\xe0" + jpeg,
        "program.exe": b"MZ" + bytes(99),
        "empty.txt": b"",
        ".hidden.jpg": jpeg,
        "._10_left.jpg": b"\0\x05\x16\x07" + bytes(99),
        "fork.jpg": b"\0\x05\x16\x07" + bytes(99),
        "exports/of_the_viewer.jpg": exported.getvalue(),
        "exports/eye-0123.drcore-map.jpg": jpeg,
    }


def _zip(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()


def _tar(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()
