"""Reading DICOM: every way a camera writes a photograph, and every way to be damaged."""

from __future__ import annotations

import hashlib
import io
import resource
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
    generate_uid,
)

from drcore.errors import PhotographError
from drcore.photographs.dicom_frames import DicomFrame
from drcore.photographs.dicom_header import read_header
from drcore.photographs.dicom_reader import photographs_in, read_frame, read_frames
from drcore.photographs.photograph import MAX_PIXELS
from drcore.photographs.reader import read_photograph

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pytest lifts drcore's filter

H, W = 48, 64
ROWS, COLUMNS = np.mgrid[:H, :W]
# No two corners alike: a mirrored or turned copy is never the same picture.
PICTURE = np.dstack([COLUMNS * 3, ROWS * 4, (COLUMNS + ROWS) // 2 + 40]).astype(np.uint8)
GREY = PICTURE[..., 0]
OPHTHALMIC_8_BIT = "1.2.840.10008.5.1.4.1.1.77.1.5.1"


def dataset(pixels: np.ndarray, photometric: str = "RGB", **attributes) -> Dataset:
    """An ophthalmic photograph: pixels (h, w), (h, w, 3), or frames of those as a list."""
    frames = pixels if isinstance(pixels, list) else [pixels]
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = OPHTHALMIC_8_BIT, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    made.Modality, made.PatientID, made.PatientName = "OP", "P-7", "Doe^Jane"
    made.ImageLaterality = "R"
    made.Rows, made.Columns = frames[0].shape[:2]
    made.SamplesPerPixel = 3 if frames[0].ndim == 3 else 1
    made.PhotometricInterpretation = photometric
    if made.SamplesPerPixel == 3:
        made.PlanarConfiguration = 0
    if len(frames) > 1:
        made.NumberOfFrames = len(frames)
    made.BitsAllocated = made.BitsStored = 8 * frames[0].itemsize
    made.PixelRepresentation = 0
    made.PixelData = b"".join(np.ascontiguousarray(frame).tobytes() for frame in frames)
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    made.HighBit = made.BitsStored - 1
    return made


def written(made: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    if syntax not in {ExplicitVRLittleEndian, ImplicitVRLittleEndian}:
        made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    elif "PixelData" in made:
        made["PixelData"].VR = "OW" if syntax == ImplicitVRLittleEndian else "OB"
        made["PixelData"].VR = "OW" if made.BitsAllocated > 8 else made["PixelData"].VR
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def compressed(frames: list[np.ndarray], kind: str, photometric: str, **attributes) -> bytes:
    """A file whose frames Pillow (JPEG, JPEG 2000) or pydicom (RLE) has compressed."""
    made = dataset(frames, photometric, **attributes)
    if kind == "RLE":
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.compress(RLELossless, generate_instance_uid=False)
        return written(made, RLELossless)
    made.PixelData = encapsulate([coded(frame, kind) for frame in frames])
    return written(made, JPEGBaseline8Bit if kind == "JPEG" else JPEG2000Lossless)


def coded(frame: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "JPEG":
        Image.fromarray(frame).save(buffer, "JPEG", quality=97)
    else:
        Image.fromarray(frame).save(buffer, "JPEG2000", no_jp2=True, mct=int(frame.ndim == 3))
    return buffer.getvalue()


def difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def grey_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


# --- pixels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("preamble", [True, False])
def test_uncompressed_colour_comes_back_exactly(tmp_path, syntax, preamble):
    data = written(dataset(PICTURE), syntax)
    file = tmp_path / "eye"
    file.write_bytes(data if preamble else data[132:])
    photograph = read_photograph(file)
    assert np.array_equal(photograph.rgb, PICTURE)
    assert (photograph.width, photograph.height, photograph.reduction) == (W, H, 1)


def test_without_any_meta_information():
    for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian):
        data = written(dataset(PICTURE), syntax)
        (length,) = struct.unpack_from("<L", data, 140)  # of the meta information that follows
        assert np.array_equal(read_photograph(data[144 + length :]).rgb, PICTURE)


def test_planes_apart():
    planes = np.ascontiguousarray(PICTURE.transpose(2, 0, 1))
    made = dataset(PICTURE, PlanarConfiguration=1, PixelData=planes.tobytes())
    assert np.array_equal(read_photograph(written(made)).rgb, PICTURE)


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000", "RLE"])
@pytest.mark.parametrize("count", [1, 3])
def test_compressed_colour_of_one_and_many_frames(kind, count):
    frames = [np.roll(PICTURE, 10 * i, axis=1) for i in range(count)]
    photometric = {"JPEG": "YBR_FULL_422", "JPEG2000": "YBR_RCT", "RLE": "RGB"}[kind]
    read = read_frames(compressed(frames, kind, photometric))
    assert len(read) == count
    for photograph, frame in zip(read, frames, strict=True):
        assert difference(photograph.rgb, frame) <= (3 if kind == "JPEG" else 0)


def test_jpeg_whose_colours_were_never_turned():
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, "JPEG", quality=97, keep_rgb=True)
    made = dataset(PICTURE, "RGB", PixelData=encapsulate([buffer.getvalue()]))
    assert difference(read_photograph(written(made, JPEGBaseline8Bit)).rgb, PICTURE) < 3


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "RGB"])
@pytest.mark.parametrize("marker", ["JFIF", "Adobe", "both", "none"])
def test_colours_of_a_jpeg_are_converted_once(photometric, marker):
    """The stream says how its colours are stored; where it does not, the header does."""
    whole = coded(PICTURE, "JPEG")
    assert whole[2:4] == b"\xff\xe0"
    bare = whole[:2] + whole[4 + int.from_bytes(whole[4:6], "big") :]
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\1"
    stream = {
        "JFIF": whole, "Adobe": bare[:2] + adobe + bare[2:],
        "both": whole[:20] + adobe + whole[20:],
        "none": bare,
    }[marker]  # fmt: skip
    made = dataset(PICTURE, photometric, PixelData=encapsulate([stream]))
    rgb = read_photograph(written(made, JPEGBaseline8Bit)).rgb
    if marker == "none" and photometric == "RGB":
        rgb = np.asarray(Image.fromarray(rgb, "YCbCr").convert("RGB"))
    assert difference(rgb, PICTURE) < 3


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000", "RLE"])
def test_compressed_grey(kind):
    read = read_photograph(compressed([GREY], kind, "MONOCHROME2"))
    assert difference(read.rgb, grey_rgb(GREY)) <= (2 if kind == "JPEG" else 0)


@pytest.mark.parametrize("kind", ["JPEG2000", "RLE"])
def test_deep_compressed_grey(kind):
    deep = GREY.astype(np.uint16) * 257
    read = read_photograph(compressed([deep], kind, "MONOCHROME2"))
    assert difference(read.rgb, grey_rgb(GREY)) <= 1


def test_ybr_full_becomes_rgb():
    ybr = np.asarray(Image.fromarray(PICTURE).convert("YCbCr"))
    assert difference(read_photograph(written(dataset(ybr, "YBR_FULL"))).rgb, PICTURE) < 1.5


def test_ybr_with_shared_colours_becomes_rgb():
    ybr = np.asarray(Image.fromarray(PICTURE).convert("YCbCr"))
    shared = np.stack([ybr[:, ::2, 0], ybr[:, 1::2, 0], ybr[:, ::2, 1], ybr[:, ::2, 2]], axis=2)
    made = dataset(ybr, "YBR_FULL_422", PixelData=shared.tobytes())
    assert difference(read_photograph(written(made)).rgb, PICTURE) < 3


def test_ybr_full_422_with_three_bytes_a_pixel():
    ybr = np.asarray(Image.fromarray(PICTURE).convert("YCbCr"))
    made = dataset([ybr, ybr], "YBR_FULL_422")
    for photograph in read_frames(written(made)):
        assert difference(photograph.rgb, PICTURE) < 1.5


def test_colour_profile_of_the_header_is_applied():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    other = srgb.replace(b"rXYZ", b"0000").replace(b"gXYZ", b"rXYZ").replace(b"0000", b"gXYZ")
    same = read_photograph(written(dataset(PICTURE, ICCProfile=srgb + b"\0" * (len(srgb) % 2))))
    turned = read_photograph(written(dataset(PICTURE, ICCProfile=other + b"\0" * (len(other) % 2))))
    assert np.array_equal(same.rgb, PICTURE)
    assert difference(turned.rgb, PICTURE[..., [1, 0, 2]]) < 4


def test_something_else_than_elements_behind_the_pixels():
    data = written(dataset(PICTURE))
    with pytest.raises(PhotographError, match="damaged"):
        read_photograph(data + PICTURE.tobytes()[3000:4000])


def test_monochrome1_is_inverted():
    read = read_photograph(written(dataset(255 - GREY, "MONOCHROME1")))
    assert np.array_equal(read.rgb, grey_rgb(GREY))


@pytest.mark.parametrize("stored", [10, 12, 16])
def test_sixteen_bits_keep_their_brightness(stored):
    deep = (GREY.astype(np.float64) / 255 * ((1 << stored) - 1)).astype(np.uint16)
    read = read_photograph(written(dataset(deep, "MONOCHROME2", BitsStored=stored)))
    assert difference(read.rgb, grey_rgb(GREY)) <= 1
    colour = (PICTURE.astype(np.uint16) << (stored - 8)) + 1
    assert np.array_equal(read_photograph(written(dataset(colour, BitsStored=stored))).rgb, PICTURE)


def test_signed_grey_starts_at_the_lowest_value():
    signed = (GREY.astype(np.int16) - 128) * 256
    made = dataset(signed.view(np.uint16), "MONOCHROME2", PixelRepresentation=1)
    assert difference(read_photograph(written(made)).rgb, grey_rgb(GREY)) <= 1


def test_window_of_the_header_is_applied():
    deep = GREY.astype(np.uint16)
    made = dataset(deep, "MONOCHROME2", WindowCenter=["128", "9"], WindowWidth=["256", "9"])
    assert difference(read_photograph(written(made)).rgb, grey_rgb(GREY)) <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_palette(bits):
    made = dataset(GREY, "PALETTE COLOR")
    tables = np.random.default_rng(3).integers(0, 256, (3, 256), dtype=np.uint16)
    for colour, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        setattr(made, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, bits])
        entries = (table * 257).astype("<u2") if bits == 16 else table.astype(np.uint8)
        setattr(made, f"{colour}PaletteColorLookupTableData", entries.tobytes())
        for part in ("Descriptor", "Data"):
            element = made[f"{colour}PaletteColorLookupTable{part}"]
            element.VR = "US" if part == "Descriptor" else "OW"
    rgb = read_photograph(written(made)).rgb
    assert np.array_equal(rgb, tables.T[GREY].astype(np.uint8))


# --- header -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "eye"),
    [
        ({}, "OD"),
        ({"ImageLaterality": "L"}, "OS"),
        ({"ImageLaterality": "B"}, None),
        ({"ImageLaterality": "", "Laterality": "L"}, "OS"),
    ],
)
def test_eye_patient_and_flag_come_from_the_header(attributes, eye):
    made = dataset(PICTURE, BurnedInAnnotation="YES", **attributes)
    photograph = read_photograph(written(made))
    assert photograph.laterality == eye
    assert photograph.patient == "P-7"
    assert photograph.burned_in is True


def test_header_beats_the_file_name_which_fills_its_gaps():
    data = written(dataset(PICTURE))
    photograph = read_photograph(data, name="12_left.dcm")
    assert (photograph.laterality, photograph.patient) == ("OD", "P-7")
    bare = dataset(PICTURE)
    del bare.ImageLaterality, bare.PatientID
    photograph = read_photograph(written(bare), name="12_left.dcm")
    assert (photograph.laterality, photograph.patient) == ("OS", "12")
    assert photograph.burned_in is None


@pytest.mark.parametrize("number", ["ANONYMOUS", "Anon^", "0000", "N/A", "xxx", "Unknown Patient"])
def test_what_stands_for_no_patient_is_none(number):
    made = dataset(PICTURE, PatientID=number)
    made.ImageLaterality, made.Laterality = "B", "R"
    photograph = read_photograph(written(made), name="scan.dcm")
    assert (photograph.patient, photograph.laterality) == (None, None)


def test_patient_name_is_nowhere_in_what_is_read():
    data = written(dataset(PICTURE))
    photograph = read_photograph(data, name="a.dcm")
    header = read_header(data, name="a.dcm")
    shown = (photograph.name, photograph.patient, header.label, header.patient)
    assert not any("Doe" in (text or "") for text in shown)


def test_hostile_patient_number_is_made_harmless():
    made = dataset(PICTURE)
    made.PatientID = "7\x1b[31m\u202e" + "9" * 500
    made.SpecificCharacterSet = "ISO_IR 192"
    patient = read_photograph(written(made)).patient
    assert patient.isprintable()
    assert patient.startswith("7[31m9")
    assert len(patient) <= 64


def test_hash_is_of_the_file_and_of_each_frame():
    data = written(dataset(PICTURE))
    assert read_photograph(data).sha256 == hashlib.sha256(data).hexdigest()
    frames = read_frames(written(dataset([PICTURE, PICTURE])), name="5_od.dcm")
    assert frames[0].sha256 != frames[1].sha256  # same pixels, yet two photographs
    assert [frame.name for frame in frames] == ["5_od frame 1.dcm", "5_od frame 2.dcm"]


def test_several_frames_are_never_read_as_one():
    data = written(dataset([PICTURE, PICTURE[::-1]]))
    with pytest.raises(PhotographError, match=r"eye\.dcm: .* 2 photographs, .*photographs_in"):
        read_photograph(data, name="eye.dcm")
    read = read_frames(data)
    assert np.array_equal(read[1].rgb, PICTURE[::-1])


@pytest.mark.parametrize("kind", ["none", "JPEG", "JPEG2000", "RLE"])
def test_each_frame_is_a_photograph_of_its_own(tmp_path, kind):
    frames = [np.roll(PICTURE, 10 * i, axis=1) for i in range(3)]
    photometric = {"JPEG": "YBR_FULL_422", "JPEG2000": "YBR_RCT"}.get(kind, "RGB")
    data = written(dataset(frames)) if kind == "none" else compressed(frames, kind, photometric)
    file = tmp_path / "5_od.dcm"
    file.write_bytes(data)
    whole = read_frames(file)
    for source in (file, data):
        parts = photographs_in(source, name="5_od.dcm")
        assert [name for name, _ in parts] == [f"5_od frame {n}.dcm" for n in (1, 2, 3)]
        assert [part for _, part in parts] == [DicomFrame(source, n) for n in (1, 2, 3)]
        for (name, part), expected in zip(parts, whole, strict=True):
            read = read_photograph(part, name=name)
            assert np.array_equal(read.rgb, expected.rgb)
            assert (read.name, read.sha256) == (expected.name, expected.sha256)
            assert (read.laterality, read.patient) == ("OD", "P-7")
            assert read_photograph(part).sha256 == expected.sha256


def test_name_of_a_frame_tells_what_the_name_of_its_file_tells():
    made = dataset([PICTURE, PICTURE])
    del made.ImageLaterality, made.PatientID
    (name, part), _ = photographs_in(written(made), name="12_left.dcm")
    read = read_photograph(part, name=name)
    assert (read.name, read.laterality, read.patient) == ("12_left frame 1.dcm", "OS", "12")


def test_any_other_file_comes_back_as_it_is(tmp_path, encoded):
    jpeg = encoded(PICTURE, "JPEG")
    file = tmp_path / "eye.jpg"
    file.write_bytes(jpeg)
    damaged = written(dataset([PICTURE, PICTURE]))[:400]
    single = written(dataset(PICTURE))
    assert photographs_in(file) == [("eye.jpg", file)]
    for source in (jpeg, damaged, single, b"", tmp_path, tmp_path / "none.dcm"):
        assert photographs_in(source, name="x.dcm") == [("x.dcm", source)]


@pytest.mark.parametrize("number", [0, 3, -1])
def test_frame_that_is_not_there_is_a_sentence(number):
    data = written(dataset([PICTURE, PICTURE]))
    with pytest.raises(PhotographError, match=rf"eye\.dcm: there is no frame {number}; .* holds 2"):
        read_frame(data, number, name="eye.dcm")


def test_many_large_frames_are_read_one_by_one_but_not_at_once():
    zeros = np.zeros((1000, 1000), np.uint8)
    data = written(dataset([zeros] * 3, "MONOCHROME2"))
    with pytest.raises(PhotographError, match="3 megapixels; at most 2 are read at once"):
        read_frames(data, max_pixels=2_000_000)
    assert read_frame(data, 3, max_pixels=2_000_000).rgb.shape == (1000, 1000, 3)


def test_damage_to_one_frame_does_not_cost_the_others():
    frames = [np.roll(PICTURE, 10 * i, axis=1) for i in range(2)]
    made = dataset(frames, "YBR_FULL_422")
    made.PixelData = encapsulate([coded(frames[0], "JPEG"), b"\0" * 900])
    data = written(made, JPEGBaseline8Bit)
    assert difference(read_frame(data, 1).rgb, frames[0]) < 3
    with pytest.raises(PhotographError):
        read_frame(data, 2)


def test_a_frame_can_be_graded_as_it_is(grader, phantom):
    rgb = np.array(phantom(seed=1).rgb)
    frame = read_frames(written(dataset([rgb, rgb])), name="eye.dcm")[1]
    report = grader.grade(frame)
    assert (report.name, report.sha256) == ("eye frame 2.dcm", frame.sha256)
    assert (report.laterality, report.patient) == ("OD", "P-7")
    reports = list(grader.grade_many(photographs_in(written(dataset([rgb, rgb])), "a.dcm")))
    assert [report.name for report in reports] == ["a frame 1.dcm", "a frame 2.dcm"]
    assert all(report.status != "failed" for report in reports)


def test_report_knows_of_burnt_in_identity(grader, phantom):
    rgb = np.array(phantom(seed=1).rgb)
    said = {"YES": True, "NO": False, "": None}
    for value, burned_in in said.items():
        report = grader.grade(written(dataset(rgb, BurnedInAnnotation=value)))
        assert report.burned_in is burned_in


def test_tiff_head_in_the_preamble_does_not_mislead():
    data = written(dataset(PICTURE))
    assert np.array_equal(read_photograph(b"II*\0" + data[4:]).rgb, PICTURE)


# --- damage and malice --------------------------------------------------------------------------


def changed(**attributes) -> bytes:
    made = dataset(PICTURE)
    for keyword, value in attributes.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    return written(made)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"Rows": 60000, "Columns": 60000}, "3600 megapixels; at most 150"),
        ({"NumberOfFrames": 2_000_000_000}, "2000000000 frames"),
        ({"NumberOfFrames": -1}, "-1 frames"),
        ({"NumberOfFrames": 2}, "cut short"),
        ({"Rows": 0}, "too few"),
        ({"Rows": None}, "lacks Rows"),
        ({"Columns": None}, "lacks Columns"),
        ({"PhotometricInterpretation": None}, "not understood"),
        ({"PhotometricInterpretation": "HSV"}, "'HSV'"),
        ({"SamplesPerPixel": 60000}, "60000 samples"),
        ({"BitsAllocated": 64}, "not understood"),
        ({"BitsStored": 0}, "not understood"),
        ({"PlanarConfiguration": 7}, "contradicts itself"),
        ({"PixelData": None}, "no pixel data"),
        ({"PixelData": PICTURE.tobytes()[: H * W]}, "cut short"),
    ],
)
def test_nonsense_in_the_header_is_a_sentence(attributes, message):
    with pytest.raises(PhotographError, match=rf"bad\.dcm: .*{message}"):
        read_photograph(changed(**attributes), name="bad.dcm")


def test_other_transfer_syntaxes_are_named():
    made = dataset(PICTURE, PixelData=encapsulate([b"\xff\xd8"]))
    with pytest.raises(PhotographError, match=r"JPEG Lossless.*Export the photograph uncompressed"):
        read_photograph(written(made, JPEGLosslessSV1))


def test_deflated_file_is_not_inflated():
    data = written(dataset(PICTURE))
    uid = b"1.2.840.10008.1.2.1\0"
    deflated = data.replace(
        b"\x10\0UI\x14\0" + uid, b"\x10\0UI\x16\0" + b"1.2.840.10008.1.2.1.99", 1
    )
    assert deflated != data
    with pytest.raises(PhotographError, match="Deflated"):
        read_photograph(deflated)


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000", "RLE"])
@pytest.mark.parametrize("size", [(30000, 30000), (W, H // 2)])
def test_frame_that_belies_the_header_is_refused_undecoded(kind, size):
    """A small header with a huge picture inside, and the other way round."""
    data = compressed([PICTURE], kind, "YBR_RCT" if kind == "JPEG2000" else "RGB")
    if kind == "RLE":
        # Two bytes that stand for 128 each time, or bytes that stand for nothing.
        segment = (b"\x81\0" if size[0] > W else b"\x80\x80") * 500
        offsets = [64 + len(segment) * i for i in range(3)]
        frame = struct.pack("<16L", 3, *offsets, *[0] * 12) + segment * 3
        data = written(dataset(PICTURE, PixelData=encapsulate([frame])), RLELossless)
    elif kind == "JPEG":
        place = data.index(b"\xff\xc0") + 5
        data = data[:place] + struct.pack(">HH", size[1], size[0]) + data[place + 4 :]
    else:
        place = data.index(b"\xff\x4f\xff\x51") + 8
        data = data[:place] + struct.pack(">LL", *size) + data[place + 8 :]
    with pytest.raises(PhotographError, match=r"bad\.dcm: .* Export"):
        read_photograph(data, name="bad.dcm")


@pytest.mark.parametrize("kind", ["none", "JPEG", "JPEG2000", "RLE"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8, 0.97])
def test_truncated_file_is_refused(kind, share):
    noise = np.random.default_rng(1).integers(0, 256, (H, W, 3), dtype=np.uint8)
    photometric = {"JPEG": "YBR_FULL_422", "JPEG2000": "YBR_RCT"}.get(kind, "RGB")
    data = written(dataset(noise)) if kind == "none" else compressed([noise], kind, photometric)
    with pytest.raises(PhotographError, match=r"bad\.dcm: "):
        read_photograph(data[: int(len(data) * share)], name="bad.dcm")


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000", "RLE"])
def test_garbage_in_place_of_a_frame_is_refused(kind):
    syntax = {"JPEG": JPEGBaseline8Bit, "JPEG2000": JPEG2000Lossless, "RLE": RLELossless}[kind]
    rng = np.random.default_rng(5)
    for garbage in (b"\0" * 100, rng.bytes(5000), b"\xff\xd8\xff\xd9", b"\xff" * 998):
        photometric = "YBR_RCT" if kind == "JPEG2000" else "RGB"
        made = dataset(PICTURE, photometric, PixelData=encapsulate([garbage]))
        with pytest.raises(PhotographError):
            read_photograph(written(made, syntax))
        whole = written(made, syntax)
        start = whole.index(b"\xe0\x7f\x10\0OB") + 12
        with pytest.raises(PhotographError):  # not even in items
            read_photograph(whole[:start] + garbage)


def test_missing_frames_are_noticed():
    data = compressed([PICTURE], "JPEG", "YBR_FULL_422", NumberOfFrames=3)
    with pytest.raises(PhotographError):
        read_frames(data)


def test_flipped_bytes_never_crash():
    rng = np.random.default_rng(11)
    files = [
        written(dataset(PICTURE)),
        written(dataset([GREY, GREY], "MONOCHROME2"), ImplicitVRLittleEndian),
        compressed([PICTURE, PICTURE], "JPEG", "YBR_FULL_422"),
        compressed([PICTURE], "JPEG2000", "YBR_RCT"),
        compressed([GREY], "RLE", "MONOCHROME2"),
    ]
    for data in files:
        for _ in range(60):
            spoiled = np.frombuffer(data, np.uint8).copy()
            places = rng.integers(0, min(len(data), 1500), 6)
            spoiled[places] = rng.integers(0, 256, 6, dtype=np.uint8)
            try:
                frames = read_frames(spoiled.tobytes())
            except PhotographError:
                continue
            assert all(f.rgb.size <= 3 * MAX_PIXELS and f.rgb.dtype == np.uint8 for f in frames)


@pytest.mark.parametrize("unit", ["elements", "items", "depth"])
def test_header_bomb_costs_bounded_memory(unit):
    data = written(dataset(PICTURE))
    head = data[: data.index(b"\x28\0\x02\0US")]  # up to the image attributes
    if unit == "elements":
        bomb = b"\x11\0\x11\0LO\0\0" * (24 * 2**20 // 8)
    elif unit == "items":
        bomb = b"\x11\0\x11\0SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\0\0\0\0" * (24 * 2**20 // 8)
    else:
        bomb = (b"\x11\0\x11\0SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff") * 200_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PhotographError):
        read_photograph(head + bomb)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 256 * 1024  # KiB; the file itself has 24 MiB


def test_without_the_extra_it_is_named(tmp_path):
    file = tmp_path / "eye.dcm"
    file.write_bytes(written(dataset(PICTURE)))
    code = (
        "import sys\n"
        "sys.modules['pydicom'] = None\n"
        "from drcore.photographs.reader import read_photograph\n"
        "from drcore.errors import PhotographError\n"
        "try: read_photograph(sys.argv[1])\n"
        "except PhotographError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True
    )
    assert 'the extra "dicom"' in done.stdout
    assert "drcore[dicom]" in done.stdout


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(("sides", "eye"), [("L", "OS"), ("RR", "OD"), ("RL", None), ("B", None)])
def test_the_eye_may_stand_in_the_frame_anatomy_alone(syntax, sides, eye):
    made = dataset([PICTURE, PICTURE])
    del made.ImageLaterality
    groups = []
    for side in sides:
        anatomy, group = Dataset(), Dataset()
        anatomy.FrameLaterality = side
        group.FrameAnatomySequence = [anatomy]
        groups.append(group)
    if len(groups) == 1:
        made.SharedFunctionalGroupsSequence = groups
    else:
        made.PerFrameFunctionalGroupsSequence = groups
    assert read_header(written(made, syntax)).laterality == eye
    made.ImageLaterality = "R"
    assert read_header(written(made, syntax)).laterality == "OD"


def test_colours_of_12_bits_in_16_are_not_too_dark_whatever_one_pixel_says():
    deep = PICTURE.astype(np.uint16) << 4
    deep[5, 5] = 65535
    (photograph,) = read_frames(written(dataset(deep)))
    expected = PICTURE.copy()
    expected[5, 5] = 255
    assert np.array_equal(photograph.rgb, expected)
    full = PICTURE.astype(np.uint16) * 257
    assert np.array_equal(read_frames(written(dataset(full)))[0].rgb, PICTURE)


@pytest.mark.parametrize(
    ("said", "degrees"), [(30, 30.0), (200.5, 200.5), (None, None), (0, None), (720, None)]
)
def test_the_field_of_view_is_read_where_it_is_one(phantom, dicom_of, said, degrees):
    more = {} if said is None else {"HorizontalFieldOfView": float(said)}
    photograph = read_photograph(dicom_of(phantom(seed=1).rgb, **more), name="eye.dcm")
    assert photograph.field_degrees == degrees
