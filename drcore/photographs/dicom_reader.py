"""Reading ophthalmic photographs from DICOM: header and frames, within limits set beforehand.

The file is taken as hostile. Its header is walked over, only what is wanted is parsed, sizes are
checked before anything is decoded, and only then do pydicom's decoders see the pixels.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from drcore.errors import PhotographError
from drcore.photographs.dicom_frames import DicomFrame, file_name, frame_name
from drcore.photographs.dicom_layout import Layout
from drcore.photographs.dicom_pixels import decode
from drcore.photographs.formats import encoded_bytes
from drcore.photographs.identity import read_name
from drcore.photographs.photograph import MAX_PIXELS, Photograph, Source
from drcore.text import clean_name

if TYPE_CHECKING:
    from collections.abc import Sequence

from drcore.photographs.dicom_header import DicomSource, Header, _open, holds_dicom, read_header

__all__ = ["photographs_in", "read_frame", "read_frames", "read_single_frame"]


# What pydicom warns of and logs, our errors say better; see `drcore.photographs.photograph`.
warnings.filterwarnings("ignore", module=r"pydicom\.")
logging.getLogger("pydicom").setLevel(logging.CRITICAL)


def read_frames(
    source: DicomSource, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> list[Photograph]:
    """Read every photograph of a DICOM file at once; `photographs_in` costs less memory.

    Args:
        source: a path, the encoded bytes, or a binary file object.
        name: display name; from the path or file object if None.
        max_pixels: refuse files that declare more pixels than this, all frames together.

    Returns:
        One photograph for each frame, in order; `drcore.Grader.grade` takes each as it is. Of
        several, the names tell the number: `eye frame 2.dcm`.

    Raises:
        PhotographError: the source is missing, no DICOM photograph, damaged, too large, or of a
            kind that cannot be decoded.
    """
    data, label = encoded_bytes(source, name)
    header, layout, pixels = _open(data, label, max_pixels)
    total = layout.rows * layout.columns * layout.frames
    if total > max_pixels:
        raise PhotographError(
            f"{label}: {layout.frames} frames of {layout.columns} x {layout.rows} are "
            f"{total / 1e6:.0f} megapixels; at most {max_pixels / 1e6:.0f} are read at once. "
            "Read them one by one."
        )
    return _photographs(data, header, layout, pixels, range(header.frames))


def read_frame(
    source: DicomSource, number: int, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> Photograph:
    """Read one photograph of a DICOM file; only this one is decoded.

    Args:
        source: a path, the encoded bytes, or a binary file object.
        number: of the frame, from 1.
        name: display name of the photograph; from the file's and the number where left out.
        max_pixels: refuse frames that declare more pixels than this.

    Returns:
        The photograph.

    Raises:
        PhotographError: as for `read_frames`, or there is no frame of this number.
    """
    data, label = encoded_bytes(source, name)
    header, layout, pixels = _open(data, label, max_pixels)
    if not 1 <= number <= header.frames:
        raise PhotographError(
            f"{label}: there is no frame {number}; this DICOM file holds {header.frames}."
        )
    photograph = _photographs(data, header, layout, pixels, [number - 1])[0]
    return photograph if name is None else replace(photograph, name=label)


def photographs_in(
    source: str | Path | bytes | bytearray | memoryview, name: str | None = None
) -> list[tuple[str, Source]]:
    """Return the photographs of a file of any kind, without decoding them.

    Args:
        source: a path, or the encoded bytes.
        name: display name; from the path if None.

    Returns:
        Display name and source of each photograph, for `read_photograph` and `Grader.grade`:
        the file as it is, or the frames of a DICOM file that holds several. What cannot be opened
        comes back as it is too: reading it tells why.
    """
    label = clean_name(str(source) if isinstance(source, str | Path) else "upload")
    label = label if name is None else name
    try:
        count = read_header(source, name=name).frames if holds_dicom(source) else 1
    except PhotographError:
        count = 1
    if count == 1:
        return [(label, source)]
    kept = source if isinstance(source, str | Path) else bytes(source)
    return [(frame_name(label, n), DicomFrame(kept, n)) for n in range(1, count + 1)]


def read_single_frame(data: bytes, label: str, max_pixels: int) -> Photograph:
    """Read a DICOM file that holds one photograph; see `drcore.photographs.reader.read_photograph`.

    Several frames may be stereo pairs, other fields or the other eye: to grade the first and pass
    over the rest in silence could miss disease, so such a file is refused here.

    Args:
        data: the encoded file.
        label: cleaned display name.
        max_pixels: refuse files that declare more pixels than this.

    Returns:
        The photograph.

    Raises:
        PhotographError: as for `read_frames`, or the file holds more than one photograph.
    """
    header, layout, pixels = _open(data, label, max_pixels)
    if header.frames > 1:
        raise PhotographError(
            f"{label}: this DICOM file holds {header.frames} photographs, and none may stand for "
            "the others. Open it frame by frame "
            "(drcore.photographs.dicom_reader.photographs_in), or export each photograph as a "
            "file of its own."
        )
    return _photographs(data, header, layout, pixels, [0])[0]


def _photographs(
    data: bytes, header: Header, layout: Layout, pixels: tuple[int, int], wanted: Sequence[int]
) -> list[Photograph]:
    encoded = data[pixels[0] : pixels[1]]
    file = file_name(header.label) if header.frames > 1 else header.label
    identity = header.identity.over(read_name(file))
    decoded = decode(encoded, layout, wanted, header.dataset, header.label)
    return [
        Photograph(
            rgb=rgb,
            width=layout.columns,
            height=layout.rows,
            reduction=1,
            name=header.label if header.frames == 1 else frame_name(file, index + 1),
            sha256=header.sha256[index],
            laterality=identity.laterality,
            patient=identity.patient,
            burned_in=header.burned_in,
            exam_date=identity.exam_date,
            identity_source=identity.source,
            file_size=header.file_size,
            field_degrees=header.field_degrees,
            camera=header.camera,
        )
        for index, rgb in zip(wanted, decoded, strict=True)
    ]
