"""Files with several pictures: counted by their headers, each read by its number."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from drcore.errors import PhotographError
from drcore.photographs.dicom_frames import DicomFrame
from drcore.photographs.pages import MAX_PICTURES
from drcore.photographs.reader import frame_count, read_photograph

EYES = [np.full((60, 80, 3), colour, np.uint8) for colour in (60, 120, 200)]
for number, eye in enumerate(EYES):
    eye[10:20, 10 + 20 * number : 20 + 20 * number] = (250, 30, 20)


def saved(kind: str, pictures=EYES, **options) -> bytes:
    file = io.BytesIO()
    first, *rest = [Image.fromarray(picture) for picture in pictures]
    first.save(file, kind, save_all=True, append_images=rest, **options)
    return file.getvalue()


def tiff(pages: list[tuple[np.ndarray, dict]], **options) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file, **options) as writer:
        for pixels, tags in pages:
            writer.write(pixels, photometric="rgb", metadata=None, **tags)
    return file.getvalue()


SEVERAL = {
    "TIFF": lambda: saved("TIFF"),
    "LZW": lambda: saved("TIFF", compression="tiff_lzw"),
    "big-endian": lambda: tiff([(eye, {}) for eye in EYES], byteorder=">"),
    "BigTIFF": lambda: tiff([(eye, {}) for eye in EYES], bigtiff=True),
    "MPO": lambda: saved("MPO", quality=95),
    "WebP": lambda: saved("WEBP", lossless=True),
    "APNG": lambda: saved("PNG"),
    "GIF": lambda: saved("GIF"),
    "AVIF": lambda: saved("AVIF", quality=100, subsampling="4:4:4", duration=50),
}


@pytest.mark.parametrize("make", SEVERAL.values(), ids=SEVERAL)
def test_each_picture_is_a_photograph_of_its_own(tmp_path, make):
    data = make()
    file = tmp_path / "P7_OD.tif"
    file.write_bytes(data)
    with file.open("rb") as opened:
        counts = [frame_count(source) for source in (data, file, str(file), opened)]
    assert counts == [3, 3, 3, 3]
    read = [read_photograph(file, frame=number) for number in (1, 2, 3)]
    for number, photograph in enumerate(read):
        assert np.abs(photograph.rgb.astype(int) - EYES[number]).mean() < 4
        assert photograph.name == f"P7_OD frame {number + 1}.tif"
        assert (photograph.laterality, photograph.patient) == ("OD", "P7")
        again = read_photograph(DicomFrame(file, number + 1))
        assert again.sha256 == photograph.sha256
        assert again.name == photograph.name
        assert read_photograph(DicomFrame(data, number + 1), name="x").name == "x"
    assert len({photograph.sha256 for photograph in read}) == 3


@pytest.mark.parametrize("make", SEVERAL.values(), ids=SEVERAL)
def test_none_stands_for_the_others(make):
    with pytest.raises(PhotographError, match=r"^e\.tif: this file holds 3 photographs, and none"):
        read_photograph(make(), name="e.tif")
    for number in (0, 4, -1):
        with pytest.raises(PhotographError, match=rf"no photograph {number}; this file holds 3"):
            read_photograph(make(), frame=number)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF"])
def test_a_single_picture_is_frame_one_under_its_own_name(encoded, kind):
    data = encoded(EYES[0], kind)
    assert frame_count(data) == 1
    alone = read_photograph(data, name="e.img")
    first = read_photograph(data, name="e.img", frame=1)
    assert (first.name, first.sha256, first.note) == (alone.name, alone.sha256, "")


def test_thumbnails_are_passed_over_and_said_so():
    full = np.kron(EYES[1], np.ones((5, 5, 1), np.uint8))
    small = full[::5, ::5]
    marked, old = {"subfiletype": 1}, {"extratags": [(255, "H", 1, 2, True)]}
    for pages, which in (
        ([(small, marked), (full, {})], "Page 2 of 2"),
        ([(full, {}), (small, marked)], "Page 1 of 2"),
        ([(small, {}), (full, {})], "Page 2 of 2"),
        ([(full[::2, ::2], old), (full, {})], "Page 2 of 2"),
        ([(full, {}), (small, marked), (small[:-1], {})], "Page 1 of 3"),
        ([(full, {}), (full[::2, ::2], marked), (full[::4, ::4], marked)], "Page 1 of 3"),
    ):
        data = tiff(pages)
        assert frame_count(data) == 1
        photograph = read_photograph(data)
        assert np.array_equal(photograph.rgb, full)
        assert photograph.note.startswith(f"{which} was read; the others are smaller copies")


def test_a_smaller_eye_of_another_shape_is_no_thumbnail():
    full = np.kron(EYES[1], np.ones((5, 5, 1), np.uint8))
    assert frame_count(tiff([(full, {}), (EYES[0][:, :50], {})])) == 2
    assert frame_count(tiff([(full, {}), (full[::2, ::2], {})])) == 2
    only = tiff([(EYES[0], {"subfiletype": 1})])
    assert np.array_equal(read_photograph(only).rgb, EYES[0])


@pytest.mark.parametrize("kind", [0x020002, 0x010001], ids=["stereo twin", "thumbnail"])
def test_twins_and_thumbnails_of_an_mpo_are_no_second_eye(kind):
    data = bytearray(saved("MPO", EYES[:2], quality=95))
    place = data.index(struct.pack("<HHLL", 0xB002, 7, 32, 50)) + 14 + 4  # table of the pictures
    place = data.index(b"MPF\0") + 4 + 50 + 16
    assert data[place : place + 4] == bytes(4)
    data[place : place + 4] = struct.pack("<L", kind)
    assert frame_count(bytes(data)) == 1
    photograph = read_photograph(bytes(data))
    assert np.abs(photograph.rgb.astype(int) - EYES[0]).mean() < 4
    assert "Picture 1 of 2 was read" in photograph.note


@pytest.mark.parametrize(
    "mark",
    [b"http://ns.adobe.com/xap/1.0/\0 hdrgm:Version='1.0'", b"urn:iso:std:iso:ts:21496:-1\0",
     b"http://ns.adobe.com/xap/1.0/\0 <HDRGainMap:HDRGainMapVersion>"],
)  # fmt: skip
def test_the_gain_map_of_a_telephone_is_no_second_eye(mark):
    data = saved("MPO", EYES[:2], quality=95)
    place = data.rindex(b"\xff\xd8\xff") + 2
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(mark)) + mark
    gained = data[:place] + segment + data[place:]
    assert frame_count(data) == 2
    assert frame_count(gained) == 1
    photograph = read_photograph(gained)
    assert np.abs(photograph.rgb.astype(int) - EYES[0]).mean() < 4
    assert "Picture 1 of 2 was read" in photograph.note


def test_a_second_jpeg_behind_the_first_is_not_passed_over():
    first, second = saved("MPO", EYES[:1]), saved("MPO", EYES[2:])
    with pytest.raises(PhotographError, match="another picture follows the first one"):
        read_photograph(first + second)
    # A preview in the camera's notes is none, nor is what no decoder would call a picture.
    notes = b"\xff\xe1" + struct.pack(">H", 2 + 2 * len(second)) + second * 2
    for data in (first[:2] + notes + first[2:], first + b"trailer", first + b"\0" * 20 + second):
        assert np.abs(read_photograph(data).rgb.astype(int) - EYES[0]).mean() < 4


def test_picture_shown_by_programs_without_animation_is_not_counted():
    data = saved("PNG", EYES, default_image=True)
    assert frame_count(data) == 2
    assert np.array_equal(read_photograph(data, frame=1).rgb, EYES[1])


def test_what_cannot_be_counted_is_one(tmp_path):
    for make in SEVERAL.values():
        data = make()
        assert 1 <= frame_count(data[: len(data) // 3]) <= 3
    for data in (b"", b"nonsense", b"II*\0\xff\xff\xff\xff", b"GIF89a", b"\x89PNG\r\n\x1a\n"):
        assert frame_count(data) == 1
    assert frame_count(tmp_path) == frame_count(tmp_path / "none.tif") == 1


def test_more_pages_than_any_camera_writes():
    tiny = np.zeros((33, 33, 3), np.uint8)
    data = tiff([(tiny, {})] * (MAX_PICTURES + 1))
    assert frame_count(data) == 1
    with pytest.raises(PhotographError, match=f"more than {MAX_PICTURES} pages"):
        read_photograph(data)


def test_damage_to_one_page_does_not_cost_the_others(encoded):
    data = bytearray(saved("TIFF", compression="tiff_adobe_deflate"))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as found:
        start, count = found.pages[1].dataoffsets[0], found.pages[1].databytecounts[0]
    data[start + count // 2] ^= 255
    assert np.array_equal(read_photograph(bytes(data), frame=1).rgb, EYES[0])
    assert np.array_equal(read_photograph(bytes(data), frame=3).rgb, EYES[2])
    with pytest.raises(PhotographError, match="damaged"):
        read_photograph(bytes(data), frame=2)


def test_frames_of_dicom_are_counted_behind_long_private_elements(dicom_of):
    from pydicom import dcmread

    made = dcmread(io.BytesIO(dicom_of(EYES[0], frames=2)))
    made.private_block(0x0009, "CAMERA", create=True).add_new(1, "OB", bytes(100_000))
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    assert frame_count(file.getvalue()) == 2
    assert read_photograph(file.getvalue(), name="e.dcm", frame=2).name == "e frame 2.dcm"


STORED = Path(__file__).resolve().parents[2] / "stored" / "heif"


def still(kind: str, group: bytes = b"brst") -> bytes:
    """Two phantoms in a file; of the HEIC, with how they belong together."""
    if kind == "heic":
        pytest.importorskip("pi_heif", reason="pi-heif is not installed (extra 'heif')")
    return (STORED / f"two_phantoms.{kind}").read_bytes().replace(b"brst", group)


@pytest.mark.parametrize("kind", ["heic", "avif"])
def test_each_still_picture_of_a_heif_is_a_photograph(kind):
    data = still(kind)
    assert frame_count(data) == 2
    first, second = (read_photograph(data, name=f"e.{kind}", frame=n) for n in (1, 2))
    assert first.name == f"e frame 1.{kind}"
    assert np.abs(first.rgb.astype(int) - second.rgb).mean() > 5
    with pytest.raises(PhotographError, match="holds 2 photographs"):
        read_photograph(data)


@pytest.mark.parametrize("group", [b"ster", b"altr"])
def test_stereo_twins_and_versions_of_a_heic_are_passed_over_with_a_note(group):
    data = still("heic", group)
    assert frame_count(data) == 1
    assert "Picture 1 of 2 was read" in read_photograph(data).note


@pytest.mark.parametrize("kind", ["heic", "avif"])
def test_silent_damage_to_a_heif_is_refused(kind):
    whole = still(kind)
    start = whole.index(b"mdat") + 4
    rng = np.random.default_rng(1)
    seen = 0
    for _ in range(20):
        data = bytearray(whole)
        place = int(rng.integers(start + 40, len(data) - 40))
        data[place : place + 8] = rng.bytes(8)
        try:
            pairs = [read_photograph(bytes(data), frame=n).rgb for n in (1, 2)]
            seen += any((read_photograph(whole, frame=n).rgb != p).any()
                        for n, p in enumerate(pairs, start=1))  # fmt: skip
        except PhotographError:
            continue
    assert seen <= 1  # of twenty
