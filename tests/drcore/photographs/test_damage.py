"""Damaged photographs fail; whole ones never do."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from drcore.errors import PhotographError
from drcore.photographs.jpeg import decode_jpeg
from drcore.photographs.pixel_damage import find_blank, find_displacement, find_shift
from drcore.photographs.reader import read_photograph

JPEGS = {
    "baseline": {"quality": 85},
    "optimised": {"quality": 90, "optimize": True, "subsampling": 0},
    "progressive": {"quality": 75, "progressive": True},
    "restart": {"quality": 90, "restart_marker_rows": 1},
    "4:2:2": {"quality": 70, "subsampling": 1},
}


@pytest.fixture(scope="module")
def eye(phantom) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 1, (480, 480, 1))
    large = cv2.resize(phantom(seed=3).rgb, (480, 480), interpolation=cv2.INTER_CUBIC)
    lit = large.max(axis=2, keepdims=True) > 10
    return np.clip(large + noise * lit, 0, 255).astype(np.uint8)


def jpeg(rgb: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", **options)
    return file.getvalue()


def refusal(data: bytes, **options) -> str:
    """What is said of a file; empty where it is read."""
    try:
        read_photograph(data, name="eye.jpg", **options)
    except PhotographError as error:
        return str(error)
    return ""


# --- JPEG ---------------------------------------------------------------------------------------


def overwritten(data: bytes, count: int, seed: int) -> list[bytes]:
    """Copies with eight random bytes somewhere behind the head."""
    rng = np.random.default_rng(seed)
    copies = []
    for place in rng.integers(max(700, len(data) // 10), len(data) - 40, count):
        copy = bytearray(data)
        copy[place : place + 8] = rng.bytes(8)
        copies.append(bytes(copy))
    return copies


def outcomes(whole: bytes, copies: list[bytes], **options) -> tuple[list[str], int]:
    """What is said of those that are refused, and how many are read with other pixels."""
    pixels = read_photograph(whole).rgb.astype(int)
    said = [text for text in (refusal(copy, **options) for copy in copies) if text]
    read = [read_photograph(copy).rgb for copy in copies if not refusal(copy)]
    return said, sum(bool(np.abs(rgb - pixels).mean() > 2) for rgb in read)


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("for_grading", [True, False])
def test_overwritten_bytes_of_a_jpeg_are_seen(eye, options, for_grading):
    whole = jpeg(eye, **options)
    said, missed = outcomes(whole, overwritten(whole, 40, 1), for_grading=for_grading)
    assert len(said) > 15
    assert missed <= 0.15 * len(said)
    assert all("damaged" in text and "again" in text for text in said)


def test_silent_damage_to_a_jpeg_is_seen_in_its_pixels(eye):
    """A flipped bit often leaves a stream of which the decoder has nothing to say."""
    whole = jpeg(eye, quality=90)
    pixels = read_photograph(whole).rgb.astype(int)
    rng = np.random.default_rng(2)
    seen = silent = 0
    for place in rng.integers(700, len(whole) - 10, 250):
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        try:
            found = decode_jpeg(bytes(data), 480, 480)
        except ValueError:
            continue
        if np.abs(found - pixels).mean() < 2:
            continue
        silent += 1
        seen += "brightness or colour is shifted" in refusal(bytes(data))
    assert silent >= 5
    assert seen >= 0.8 * silent


@pytest.mark.parametrize("quality", [40, 60, 80, 95, 100])
@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_whole_jpegs_are_read(eye, options, quality):
    for rgb in (eye, eye[37:], eye[:, 45:], np.rot90(eye)):
        assert refusal(jpeg(rgb, **{**options, "quality": quality})) == ""


def test_lost_restart_marker(eye):
    data = jpeg(eye, quality=90, restart_marker_rows=1)
    place = data.index(b"\xff\xd3")
    assert "damaged" in refusal(data[:place] + data[place + 2 :])


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("ending", [b"", b"\xff\xd9"], ids=["open", "closed"])
def test_missing_rest_of_a_jpeg(eye, share, ending):
    data = jpeg(eye, quality=90)
    assert "damaged or cut short" in refusal(data[: int(len(data) * share)] + ending)


def test_missing_scan_of_a_progressive_jpeg(eye):
    """No decoder warns: it shows what the other scans say."""
    whole = jpeg(eye, quality=85, progressive=True)
    places = [i for i in range(len(whole)) if whole.startswith(b"\xff\xda", i)]
    assert refusal(whole) == ""
    for place in places[1:]:
        table = whole.rindex(b"\xff\xc4", 0, place)
        assert "scan" in refusal(whole[:table] + b"\xff\xd9"), place


@pytest.mark.parametrize("size", [100, 512, 4096])
def test_missing_and_repeated_pieces_of_a_jpeg(eye, size):
    data = jpeg(eye, quality=95)
    place = len(data) // 2
    assert "damaged" in refusal(data[:place] + data[place + size :])
    assert "damaged" in refusal(data[:place] + data[place - size :])


@pytest.mark.parametrize("unit", [(8, 8), (16, 8), (8, 16), (16, 16), (4, 4)])
@pytest.mark.parametrize("colour", [(6, 6, 6), (-9, -9, -9), (0, 0, 15), (-12, 6, 0)])
def test_shift_is_found_wherever_it_begins(eye, unit, colour):
    for y, x in ((144, 208), (224, 128), (320, 288)):
        shifted = eye.astype(int)
        shifted[y + unit[1] :] += colour
        shifted[y : y + unit[1], x:] += colour
        found = find_shift(np.clip(shifted, 0, 255).astype(np.uint8), unit)
        assert found is not None
        assert abs(found - y / 480) <= 1.1 * unit[1] / 480


def test_straight_edges_are_no_damage(eye):
    """A field of view that is cut off, bars of a page, a strip with a date."""
    cut = eye.copy()
    cut[:96] = 0
    cut[400:] = 0
    page = np.full((640, 640, 3), 250, np.uint8)
    page[64:128] = 180
    page[128:608, 80:560] = eye
    strip = eye.copy()
    strip[384:400] = (strip[384:400] * 0.5).astype(np.uint8)
    halves = eye.copy()
    halves[240:] = (halves[240:] * 0.8).astype(np.uint8)
    for picture in (cut, page, strip, halves):
        for subsampling in (0, 2):
            assert refusal(jpeg(picture, quality=90, subsampling=subsampling)) == ""


def test_smooth_and_empty_pictures_are_no_damage():
    rows, columns = np.mgrid[:400, :400]
    smooth = np.dstack([rows // 2, columns // 2, (rows + columns) // 4]).astype(np.uint8)
    for picture in (smooth, np.zeros_like(smooth), np.full_like(smooth, 255)):
        assert refusal(jpeg(picture, quality=80)) == ""
    assert find_shift(smooth[:40, :20], (16, 16)) is None


# --- other formats ------------------------------------------------------------------------------


def test_every_checksum_of_a_png_counts(encoded, eye):
    data = encoded(eye, "PNG")
    for place in (20, 40, len(data) // 3, len(data) // 2, len(data) - 20):
        spoiled = bytearray(data)
        spoiled[place] ^= 4
        assert "the PNG data is damaged" in refusal(bytes(spoiled))
    assert "cut short" in refusal(data[:-12])
    text = struct.pack(">L4s", 3, b"tEXt") + b"a\0b"
    wrong = data[:33] + text + b"\0\0\0\0" + data[33:]
    right = data[:33] + text + struct.pack(">L", zlib.crc32(text[4:])) + data[33:]
    assert "checksum" in refusal(wrong)
    assert refusal(right) == ""


@pytest.mark.parametrize("options", [{"quality": 80}, {"lossless": True}], ids=["lossy", "exact"])
def test_damage_to_a_webp(encoded, eye, options):
    data = encoded(eye, "WEBP", **options)
    assert refusal(data) == ""
    assert refusal(data + b"\0\0") == ""
    assert "longer than it declares" in refusal(data + b"more")
    assert "damaged" in refusal(data[: len(data) // 2])
    assert "damaged" in refusal(data[:2000] + data[1500:])
    assert "damaged" in refusal(data[:2000] + data[2500:])
    said, missed = outcomes(data, overwritten(data, 30, 4))
    if "quality" in options:  # codes without arithmetic fall into step again, and tell nothing
        assert missed <= 0.15 * len(said)


def test_silent_damage_to_a_lossless_webp(encoded, eye):
    """The decoder says nothing: what it makes up is noise in colours."""
    whole = encoded(eye, "WEBP", lossless=True, method=1)
    rng = np.random.default_rng(2)
    spoilt, found = 0, []
    for _ in range(20):
        data = bytearray(whole)
        place = int(rng.integers(400, 0.9 * len(data)))
        data[place : place + 8] = rng.bytes(8)
        found.append(refusal(bytes(data)))
        if not found[-1]:
            change = np.abs(read_photograph(bytes(data)).rgb.astype(np.int16) - eye)
            spoilt += change.mean() > 10
    assert any("its colours are noise" in said for said in found)
    assert spoilt <= 2


@pytest.mark.parametrize("quality", [5, 50, 80, 100])
def test_whole_webps_are_read(encoded, phantom, quality):
    for seed in range(6):
        rgb = phantom(seed=seed).rgb
        for options in ({"quality": quality}, {"lossless": True, "quality": quality}):
            photograph = read_photograph(encoded(rgb, "WEBP", **options))
            with Image.open(io.BytesIO(encoded(rgb, "WEBP", **options))) as image:
                assert np.array_equal(photograph.rgb, np.asarray(image.convert("RGB")))


def test_a_hole_in_an_avif(encoded, eye):
    data = encoded(eye, "AVIF", quality=85)
    assert refusal(data) == ""
    holed = bytearray(data)
    holed[len(data) // 2 : len(data) // 2 + 512] = bytes(512)
    assert "damaged" in refusal(bytes(holed))
    for rgb in (np.zeros_like(eye), np.full_like(eye, 255)):
        for options in ({"quality": 100}, {"quality": 20}):
            assert refusal(encoded(rgb, "AVIF", **options)) == ""


LOSSY = {"irreversible": True, "quality_mode": "rates", "mct": 1}


@pytest.mark.parametrize(
    "options",
    [
        {**LOSSY, "quality_layers": [12], "no_jp2": True},
        {**LOSSY, "quality_layers": [40, 8], "progression": "RPCL"},
        {"irreversible": False, "tile_size": (256, 256), "codeblock_size": (32, 32)},
    ],
    ids=["one layer", "layers", "tiles"],
)
def test_silent_damage_to_a_jpeg_2000(encoded, eye, options):
    """OpenJPEG reads on after damage to a block, and tells nobody."""
    data = encoded(eye, "JPEG2000", **options)
    assert refusal(data) == ""
    said, missed = outcomes(data, overwritten(data, 16, 5))
    assert any("of its blocks do not end" in text for text in said)
    assert missed <= 2


def test_damage_to_a_jpeg_2000_in_dicom(eye):
    from tests.drcore.photographs.test_dicom_reader import compressed

    data = compressed([eye], "JPEG2000", "YBR_RCT")
    assert refusal(data) == ""
    spoiled = bytearray(data)
    spoiled[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    assert "of its blocks do not end" in refusal(bytes(spoiled))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_damage_to_a_compressed_tiff(encoded, eye, compression):
    data = encoded(eye, "TIFF", compression=compression)
    assert refusal(data) == ""
    said, missed = outcomes(data, overwritten(data, 30, 6))
    assert len(said) >= 15
    assert missed <= 0.25 * len(said)
    assert all("the TIFF data is damaged" in sentence for sentence in said)


@pytest.mark.parametrize("tile", [None, (64, 64)])
def test_missing_strips_and_tiles_of_a_tiff(encoded, eye, tile):
    data = encoded(eye, "TIFF16", **({"tile": tile} if tile else {"rowsperstrip": 48}))
    assert refusal(data) == ""
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        tags = tiff.pages.first.tags
        offsets, counts = (tags[324], tags[325]) if tile else (tags[273], tags[279])
        places = [(tag.valueoffset, tag.valuebytecount // tag.count) for tag in (offsets, counts)]
    for (place, width), value in ((places[0], len(data)), (places[1], 0), (places[1], 100)):
        spoiled = bytearray(data)
        spoiled[place + 3 * width : place + 4 * width] = value.to_bytes(width, "little")
        assert "strip 4 of" in refusal(bytes(spoiled))


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "DICOM"])
def test_damage_to_plain_pixels(encoded, dicom_of, eye, kind):
    data = dicom_of(eye) if kind == "DICOM" else encoded(eye, kind)
    middle = len(data) // 2
    assert refusal(data) == ""
    assert "blank" in refusal(data[:middle] + bytes(2048) + data[middle + 2048 :])
    twice = data[:middle] + data[middle - 512 :]
    assert "displaced" in refusal(twice) or "damaged" in refusal(twice)
    assert "cut short" in refusal(data[:middle] + data[middle + 512 :])


def test_black_ground_and_edges_are_no_damage_to_plain_pixels(eye):
    cut = eye.copy()
    cut[:100] = 0
    bars = eye.copy()
    bars[:, 200:206] = 0
    moved = np.roll(eye, 33, axis=1)
    for picture in (eye, cut, bars, moved, eye[:12], np.zeros_like(eye)):
        assert find_displacement(picture) is None
        assert find_blank(picture) is None


def test_damage_to_a_jpeg_in_dicom(eye):
    from tests.drcore.photographs.test_dicom_reader import compressed

    data = compressed([eye], "JPEG", "YBR_FULL_422")
    assert refusal(data) == ""
    said, missed = outcomes(data, overwritten(data, 30, 8))
    assert len(said) > 10
    assert missed <= 0.15 * len(said)


def test_a_damaged_photograph_is_a_failed_row(grader, eye):
    data = jpeg(eye, quality=90)
    half = data[: len(data) // 2] + b"\xff\xd9"
    reports = list(grader.grade_many([half, data]))
    assert [report.status == "failed" for report in reports] == [True, False]
    assert "damaged" in reports[0].reason
