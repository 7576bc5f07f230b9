"""Photographs as files: encoders, orientations, DICOM."""

from __future__ import annotations

import io

import cv2
import numpy as np
import tifffile
from PIL import Image


def encode(pixels: np.ndarray, kind: str, orientation: int = 1, **options) -> bytes:
    """Write pixels as a file of some kind.

    Args:
        pixels: uint8 or uint16, grey, RGB or RGBA.
        kind: a format of Pillow, with a mode behind a slash ("JPEG/CMYK"), or "TIFF16", "PNG16".
        orientation: EXIF or TIFF orientation tag; the pixels are stored as they are.
        options: handed to Pillow, or to tifffile.
    """
    pixels = np.ascontiguousarray(pixels)
    if kind == "TIFF16":
        buffer = io.BytesIO()
        tags = [(274, "H", 1, orientation, True)]
        colour = "minisblack" if pixels.ndim == 2 else "rgb"
        tifffile.imwrite(
            buffer, pixels, photometric=colour, extratags=tags, metadata=None, **options
        )
        return buffer.getvalue()
    if kind == "PNG16":
        order = {2: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
        code = order[2 if pixels.ndim == 2 else pixels.shape[2]]
        stored = pixels if code is None else cv2.cvtColor(pixels, code)
        return cv2.imencode(".png", stored)[1].tobytes()
    name, _, mode = kind.partition("/")
    image = Image.fromarray(pixels)
    if mode:
        image = image.convert(mode)
    if orientation != 1 and name == "TIFF":
        options["tiffinfo"] = {274: orientation}
    elif orientation != 1:
        exif = Image.Exif()
        exif[274] = orientation
        options["exif"] = exif
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def stored_as(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Return the pixels a camera stores so that the orientation tag turns them upright."""
    return {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a.swapaxes(0, 1)[::-1],
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: a.swapaxes(0, 1)[:, ::-1],
    }[orientation](upright)


def dicom_file(rgb: np.ndarray, frames: int = 1, **attributes) -> bytes:
    """Write an ophthalmic photograph as a camera stores it.

    Args:
        rgb: uint8 (h, w, 3).
        frames: how often it is stored.
        attributes: of the header, instead of those that are there.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SpecificCharacterSet = "ISO_IR 100"
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
    made.SOPInstanceUID, made.StudyInstanceUID = generate_uid(), generate_uid()
    made.SeriesInstanceUID = generate_uid()
    made.PatientID, made.PatientName = "P-7", "Müller^Jane"
    made.PatientBirthDate, made.PatientSex = "19600102", "F"
    made.StudyID, made.StudyDate, made.StudyTime = "31", "20260101", "101010"
    made.AccessionNumber, made.Modality, made.ImageLaterality = "A-1", "OP", "R"
    made.Rows, made.Columns = rgb.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    if frames > 1:
        made.NumberOfFrames = frames
    made.PixelData = rgb.tobytes() * frames
    made["PixelData"].VR = "OB"
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
