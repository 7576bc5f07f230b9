"""Reading photographs: every container, every orientation, every way to be damaged."""

from __future__ import annotations

import hashlib
import io
import resource
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import ImageCms

from drcore.errors import PhotographError
from drcore.photographs.identity import parse_name
from drcore.photographs.photograph import GRADING_SIDE, MAX_PIXELS
from drcore.photographs.reader import read_photograph
from drcore.text import clean_name

pytestmark = [  # pytest lifts the filter that drcore sets
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]

H, W = 64, 96
ROWS, COLUMNS = np.mgrid[:H, :W]
# No two corners alike: a mirrored or turned copy is never the same picture.
PICTURE = np.dstack([COLUMNS * 2, ROWS * 3, (COLUMNS + ROWS) // 2 + 40]).astype(np.uint8)
PICTURE[4:12, 4:24] = (250, 250, 250)
LOSSLESS = ("PNG", "TIFF", "BMP")
KINDS = (*LOSSLESS, "JPEG", "WEBP")


def difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


# --- sources ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", [".jpg", ".png", ".txt", ""])
def test_format_is_told_by_content_whatever_the_ending(tmp_path, encoded, kind, ending):
    file = tmp_path / f"photo{ending}"
    file.write_bytes(encoded(PICTURE, kind))
    photograph = read_photograph(file)
    assert photograph.rgb.dtype == np.uint8
    assert difference(photograph.rgb, PICTURE) <= (0 if kind in LOSSLESS else 4)
    assert (photograph.width, photograph.height, photograph.reduction) == (W, H, 1)


def test_all_sources_give_the_same_photograph(tmp_path, encoded):
    data = encoded(PICTURE, "PNG")
    file = tmp_path / "7_left.png"
    file.write_bytes(data)
    sources = [file, str(file), data, bytearray(data), memoryview(data), io.BytesIO(data)]
    read = [read_photograph(source) for source in sources]
    with file.open("rb") as opened:
        read.append(read_photograph(opened))
    for photograph in read:
        assert np.array_equal(photograph.rgb, PICTURE)
        assert photograph.sha256 == hashlib.sha256(data).hexdigest()
    assert [p.name for p in read] == ["7_left.png"] * 2 + ["upload"] * 4 + ["7_left.png"]
    assert read[0].laterality == "OS"
    assert read[0].patient == "7"
    assert read[2].laterality is None


def test_array_is_taken_as_it_is_and_hashed_by_its_pixels():
    photograph = read_photograph(PICTURE, name="9_OD.png")
    assert np.array_equal(photograph.rgb, PICTURE)
    assert (photograph.laterality, photograph.patient) == ("OD", "9")
    assert photograph.sha256 == read_photograph(np.array(PICTURE)).sha256
    assert photograph.sha256 != read_photograph(PICTURE[:, ::-1]).sha256
    # The same bytes in another shape are another picture.
    assert photograph.sha256 != read_photograph(PICTURE.reshape(W, H, 3)).sha256


@pytest.mark.parametrize(
    "array",
    [
        PICTURE.astype(np.float32),
        PICTURE[..., 0],
        np.dstack([PICTURE, PICTURE[..., 0]]),
        np.zeros((0, 50, 3), np.uint8),
        PICTURE[:20],
    ],
    ids=["float", "grey", "four channels", "empty", "too small"],
)
def test_unfit_array_is_refused(array):
    with pytest.raises(PhotographError, match=r"scan\.png"):
        read_photograph(array, name="scan.png")


def test_name_given_beats_the_name_found(tmp_path, encoded):
    file = tmp_path / "tmpx81.png"
    file.write_bytes(encoded(PICTURE, "PNG"))
    assert read_photograph(file, name="12_OD.png").laterality == "OD"


# --- orientation --------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_gives_the_same_upright_picture(encoded, turned, kind, orientation):
    options = {"lossless": True} if kind == "WEBP" else {"quality": 98} if kind == "JPEG" else {}
    data = encoded(turned(PICTURE, orientation), kind, orientation, **options)
    photograph = read_photograph(data)
    assert (photograph.width, photograph.height) == (W, H)
    assert difference(photograph.rgb, PICTURE) <= (4 if kind == "JPEG" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("pixels", [PICTURE, PICTURE[..., 0], PICTURE.astype(np.uint16) * 257])
def test_every_orientation_of_a_tiff_of_any_depth(encoded, turned, orientation, pixels):
    photograph = read_photograph(encoded(turned(pixels, orientation), "TIFF16", orientation))
    wanted = PICTURE if pixels.ndim == 3 else np.repeat(PICTURE[..., :1], 3, axis=2)
    assert np.array_equal(photograph.rgb, wanted)


@pytest.mark.parametrize("orientation", [1, 6, 7])
def test_orientation_of_a_deep_png(encoded, turned, orientation):
    data = encoded(turned(PICTURE[..., 0].astype(np.uint16) * 257, orientation), "PNG", orientation)
    assert data[24] == 16  # bits: the path that Pillow does not take
    assert np.array_equal(read_photograph(data).rgb[..., 0], PICTURE[..., 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_and_reduction_together(encoded, turned, orientation):
    big = np.kron(PICTURE, np.ones((21, 21, 1), np.uint8))
    photograph = read_photograph(
        encoded(turned(big, orientation), "JPEG", orientation), for_grading=True
    )
    assert photograph.reduction == 2
    assert (photograph.width, photograph.height) == (W * 21, H * 21)
    assert photograph.rgb.shape == (H * 21 // 2, W * 21 // 2, 3)
    assert difference(photograph.rgb[5::21, 5::21][:8], big[10::42, 10::42][:8]) < 6


@pytest.mark.parametrize(("orientation", "upright"), [(1, (1282, 1281)), (6, (1281, 1282))])
def test_size_is_upright_even_where_the_reduced_picture_is_square(encoded, orientation, upright):
    # 1282 x 1281 halves to 641 x 641, from which nobody could tell which side was longer.
    data = encoded(np.full((1281, 1282, 3), 90, np.uint8), "JPEG", orientation)
    photograph = read_photograph(data, for_grading=True)
    assert photograph.reduction == 2
    assert photograph.rgb.shape == (641, 641, 3)
    assert (photograph.width, photograph.height) == upright


def test_garbled_exif_does_not_cost_the_picture(encoded):
    data = encoded(PICTURE, "JPEG", 6)
    assert b"Exif\0\0MM" in data
    garbled = data.replace(b"Exif\0\0MM", b"Exif\0\0\xff\xff")
    assert difference(read_photograph(garbled).rgb, PICTURE) < 4


# --- pixel formats ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG/L", "JPEG/L", "TIFF/L", "BMP/L", "WEBP/L", "PNG/LA"])
def test_grey_becomes_three_equal_channels(encoded, kind):
    grey = PICTURE[..., 0]
    rgb = read_photograph(encoded(grey, kind)).rgb
    assert difference(rgb, np.repeat(grey[..., None], 3, axis=2)) < 3
    assert difference(rgb[..., 0], rgb[..., 2]) < 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "PNG16"])
def test_transparency_is_laid_on_black(encoded, kind):
    alpha = np.full((H, W), 255, np.uint8)
    alpha[:, 30:60], alpha[:, 60:] = 128, 0
    rgba = np.dstack([np.full_like(PICTURE, 200), alpha])
    options = {"lossless": True} if kind == "WEBP" else {}
    if kind == "PNG16":
        rgba = rgba.astype(np.uint16) * 257
    rgb = read_photograph(encoded(rgba, kind, **options)).rgb
    assert (rgb[:, :30] == 200).all()
    assert np.abs(rgb[:, 30:60].astype(int) - 100).max() <= 1
    assert (rgb[:, 60:] == 0).all()


@pytest.mark.parametrize("kind", ["PNG/P", "TIFF/P", "BMP/P"])
def test_palette(encoded, kind):
    flat = np.zeros((H, W, 3), np.uint8)
    flat[:, 40:] = (153, 51, 0)  # in the palette that Pillow uses
    assert np.array_equal(read_photograph(encoded(flat, kind)).rgb, flat)


def test_palette_with_a_transparent_entry(encoded):
    indices = np.zeros((H, W), np.uint8)
    indices[:, 50:] = 200
    rgb = read_photograph(encoded(indices, "PNG/P", transparency=200)).rgb
    assert (rgb == 0).all()


@pytest.mark.parametrize("kind", ["JPEG/CMYK", "TIFF/CMYK"])
def test_cmyk_is_not_inverted(encoded, kind):
    assert difference(read_photograph(encoded(PICTURE, kind)).rgb, PICTURE) < 4


@pytest.mark.parametrize("kind", ["PNG/1", "TIFF/1", "BMP/1"])
def test_one_bit(encoded, kind):
    half = np.zeros((H, W), np.uint8)
    half[:, W // 2 :] = 255
    assert np.array_equal(read_photograph(encoded(half, kind)).rgb[..., 1], half)


@pytest.mark.parametrize("kind", ["PNG16", "TIFF16"])
@pytest.mark.parametrize("factor", [257, 16], ids=["full range", "12 bits in 16"])
@pytest.mark.parametrize("colour", [True, False], ids=["colour", "grey"])
def test_sixteen_bits_keep_their_brightness(encoded, kind, factor, colour):
    pixels = PICTURE if colour else PICTURE[..., 0]
    rgb = read_photograph(encoded(pixels.astype(np.uint16) * factor, kind)).rgb
    wanted = pixels if colour else np.repeat(pixels[..., None], 3, axis=2)
    assert np.array_equal(rgb, wanted)


def test_opaque_alpha_does_not_darken_twelve_bits(encoded):
    rgba = np.dstack([PICTURE.astype(np.uint16) * 16, np.full((H, W), 65535, np.uint16)])
    assert np.array_equal(read_photograph(encoded(rgba, "PNG16")).rgb, PICTURE)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_compressed_tiff(encoded, compression):
    rgb = read_photograph(encoded(PICTURE, "TIFF", compression=compression)).rgb
    assert difference(rgb, PICTURE) <= (12 if compression == "jpeg" else 0)


@pytest.mark.parametrize("options", [{"bigtiff": True}, {"byteorder": ">"}, {"tile": (32, 32)}])
@pytest.mark.parametrize("depth", [1, 257])
def test_tiff_dialects(encoded, turned, options, depth):
    pixels = turned(PICTURE.astype(np.uint8 if depth == 1 else np.uint16) * depth, 6)
    assert np.array_equal(read_photograph(encoded(pixels, "TIFF16", 6, **options)).rgb, PICTURE)


def test_progressive_jpeg(encoded):
    data = encoded(PICTURE, "JPEG", progressive=True)
    assert difference(read_photograph(data).rgb, PICTURE) < 4


@pytest.mark.parametrize("kind", ["GIF", "JPEG2000", "AVIF"])
def test_more_formats(encoded, kind):
    rgb = read_photograph(encoded(PICTURE, kind, **({"quality": 95} if kind == "AVIF" else {}))).rgb
    assert difference(rgb, PICTURE) < (0.1 if kind == "JPEG2000" else 8)


def test_jpeg_2000_without_container(encoded):
    assert np.array_equal(read_photograph(encoded(PICTURE, "JPEG2000", no_jp2=True)).rgb, PICTURE)


def test_heic_needs_its_extra(monkeypatch):
    head = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50)
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(PhotographError, match=r'needs the extra "heif".*drcore\[heif\]'):
        read_photograph(head, name="e.heic")


def test_damaged_heic_is_a_sentence():
    pytest.importorskip("pi_heif", reason="pi-heif is not installed (extra 'heif')")
    head = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50)
    with pytest.raises(PhotographError, match="the HEIC data is damaged"):
        read_photograph(head, name="e.heic")


@pytest.mark.parametrize("kind", ["PNG16", "TIFF16"])
def test_hot_pixels_do_not_darken_twelve_bits(encoded, kind):
    deep = PICTURE.astype(np.uint16) * 16
    deep[3, 5], deep[40, 7, 1] = 65535, 50000
    rgb = read_photograph(encoded(deep, kind)).rgb
    assert difference(rgb, PICTURE) < 0.1
    assert tuple(rgb[3, 5]) == (255, 255, 255)


def test_hot_pixels_do_not_darken_floating_point(encoded):
    deep = PICTURE.astype(np.float32) / 255
    deep[3, 5] = 60000
    assert difference(read_photograph(encoded(deep, "TIFF16")).rgb, PICTURE) < 1


@pytest.mark.parametrize("factor", [1, 257])
@pytest.mark.parametrize("extra", ["unspecified", "unassalpha", "assocalpha"])
def test_empty_fourth_sample_is_left_out(encoded, factor, extra):
    pixels = np.dstack([PICTURE, np.zeros((H, W), np.uint8)])
    pixels = pixels.astype(np.uint8 if factor == 1 else np.uint16) * factor
    for options in ({}, {"compression": "zlib"}):
        data = encoded(pixels, "TIFF16", extrasamples=[extra], **options)
        assert np.array_equal(read_photograph(data).rgb, PICTURE)


def test_full_fourth_sample_of_no_known_kind_is_left_out(encoded):
    pixels = np.dstack([PICTURE, PICTURE[..., 0]])
    for factor, kind in ((1, np.uint8), (257, np.uint16)):
        data = encoded(pixels.astype(kind) * factor, "TIFF16", extrasamples=["unspecified"])
        assert np.array_equal(read_photograph(data).rgb, PICTURE)


@pytest.mark.parametrize("kind", ["BMP", "PNG", "WEBP", "PNG16"])
def test_alpha_that_was_left_empty_is_left_out(encoded, kind):
    pixels = np.dstack([PICTURE, np.zeros((H, W), np.uint8)])
    pixels = pixels.astype(np.uint16) * 257 if kind == "PNG16" else pixels
    data = encoded(pixels, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    assert np.array_equal(read_photograph(data).rgb, PICTURE)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_colour_profile_is_applied(encoded, kind):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Red and green of the profile exchanged: what is stored as red, is green.
    other = srgb.replace(b"rXYZ", b"0000").replace(b"gXYZ", b"rXYZ").replace(b"0000", b"gXYZ")
    options = {"lossless": True} if kind == "WEBP" else {"quality": 98} if kind == "JPEG" else {}
    plain = read_photograph(encoded(PICTURE, kind, **options)).rgb
    same = read_photograph(encoded(PICTURE, kind, icc_profile=srgb, **options)).rgb
    assert np.array_equal(same, plain)
    turned = read_photograph(encoded(PICTURE, kind, icc_profile=other, **options)).rgb
    assert difference(turned, plain[..., [1, 0, 2]]) < 4
    broken = read_photograph(encoded(PICTURE, kind, icc_profile=other[:200], **options)).rgb
    assert np.array_equal(broken, plain)


# --- refusals -----------------------------------------------------------------------------------


def huge(encoded, kind: str, side: int) -> bytes:
    """A small file whose header declares a picture of side x side pixels."""
    data = bytearray(encoded(PICTURE, kind))
    if kind == "PNG":
        data[16:24] = side.to_bytes(4, "big") * 2
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    elif kind == "JPEG":
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = side.to_bytes(2, "big") * 2
    elif kind == "BMP":
        data[18:26] = side.to_bytes(4, "little") * 2
    else:
        for tag, old in ((256, W), (257, H)):
            short = tag.to_bytes(2, "little") + b"\x04\x00\x01\x00\x00\x00"
            found = data.find(short)
            if found < 0:  # stored as 16 bits
                found = data.index(tag.to_bytes(2, "little") + b"\x03\x00\x01\x00\x00\x00")
                data[found + 2 : found + 4] = b"\x04\x00"
            assert data[found + 8 : found + 12] == old.to_bytes(4, "little")
            data[found + 8 : found + 12] = side.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
@pytest.mark.parametrize("side", [12_500, 14_000, 60_000])
def test_declared_size_is_checked_before_anything_is_decoded(encoded, kind, side):
    assert side * side > MAX_PIXELS
    data = huge(encoded, kind, side)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(PhotographError, match=r"bomb\.jpg: .*megapixels.*Export it smaller"):
        read_photograph(data, name="bomb.jpg")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100 * 1024  # KiB; the picture would take 450 MiB or more
    assert time.process_time() - start < 2


@pytest.mark.parametrize("kind", [*KINDS, "TIFF16", "PNG16"])
def test_pixel_limit_can_be_lowered(encoded, kind):
    pixels = PICTURE.astype(np.uint16) * 257 if kind.endswith("16") else PICTURE
    data = encoded(pixels, kind)
    assert read_photograph(data, max_pixels=W * H).width == W
    with pytest.raises(PhotographError, match="megapixels"):
        read_photograph(data, max_pixels=W * H - 1)


def test_pixel_limit_holds_for_arrays_too():
    with pytest.raises(PhotographError, match="megapixels"):
        read_photograph(PICTURE, max_pixels=W * H - 1)


def test_deep_png_that_declares_far_more_than_it_holds_is_refused_fast(encoded):
    data = bytearray(encoded(PICTURE.astype(np.uint16) * 257, "PNG16"))
    data[16:24] = (12_000).to_bytes(4, "big") * 2  # within the pixel limit, 864 MB
    start = time.process_time()
    with pytest.raises(PhotographError, match="damaged"):
        read_photograph(bytes(data))
    assert time.process_time() - start < 1


def test_deep_png_whose_chunk_declares_gigabytes_is_refused_without_them(encoded):
    data = encoded(PICTURE.astype(np.uint16) * 257, "PNG16")
    chunk = (0x7FFFFFF0).to_bytes(4, "big") + b"tEXtcomment"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PhotographError, match="damaged"):
        read_photograph(data[:33] + chunk + data[33:])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("PNG16", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF16", {}),
        ("BMP", {}),
        ("WEBP", {}),
    ],
    ids=str,
)
def test_truncated_file_is_refused(tmp_path, encoded, kind, options, share):
    noise = np.random.default_rng(0).integers(0, 256, (H, W, 3))
    pixels = noise.astype(np.uint16) * 257 if kind.endswith("16") else noise.astype(np.uint8)
    data = encoded(pixels, kind, **options)
    file = tmp_path / "cut_OD.jpg"
    file.write_bytes(data[: int(len(data) * share)])
    for for_grading in (False, True):
        with pytest.raises(PhotographError, match=r"^cut_OD\.jpg: the .* cut short.*Export"):
            read_photograph(file, for_grading=for_grading)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"the file is empty\. Export the photograph again\."),
        (b"image,grade\n1.jpg,2\n", r"this is not a JPEG, PNG, .*WebP or DICOM picture\. Export"),
        (b"<!doctype html><title>Login</title>", r"this is not a JPEG, PNG, .*\. Export"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", r"this is not a JPEG, PNG, .*\. Export"),
        (b"GIF89a\x01\x00\x01\x00\x80\x00\x00", r"the GIF data is damaged or cut short.*Export"),
        (b"\xff\xd8\xff", r"the JPEG data is damaged or cut short.*Export"),
        (b"\x89PNG\r\n\x1a\n", r"the PNG data is damaged or cut short.*Export"),
        (b"II*\x00", r"the TIFF data is damaged or cut short.*Export"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", r"the WEBP data is damaged or cut short.*Export"),
        (b"BMI of the patient: 24", r"the BMP data is damaged or cut short.*Export"),
    ],
)
def test_what_is_no_photograph_gets_its_sentence(tmp_path, content, sentence):
    file = tmp_path / "scan 3.jpg"
    file.write_bytes(content)
    with pytest.raises(PhotographError, match=r"^scan 3\.jpg: " + sentence):
        read_photograph(file)


def test_folder_missing_file_and_unusable_path(tmp_path):
    folder = tmp_path / "eyes"
    folder.mkdir()
    with pytest.raises(PhotographError, match=r"eyes: this is a folder\. Give the path of a"):
        read_photograph(folder)
    with pytest.raises(PhotographError, match=r"gone\.jpg: there is no such file\. Give the path"):
        read_photograph(tmp_path / "gone.jpg")
    with pytest.raises(PhotographError, match="cannot be opened"):
        read_photograph(tmp_path / ("x" * 5000))
    with pytest.raises(PhotographError, match="there is no such file"):
        read_photograph("a\0b.jpg")


def test_unusable_file_objects(encoded):
    closed = io.BytesIO(encoded(PICTURE, "PNG"))
    closed.close()
    with pytest.raises(PhotographError, match="cannot be read"):
        read_photograph(closed)
    with pytest.raises(PhotographError, match="binary mode"):
        read_photograph(io.StringIO("text"))
    with pytest.raises(PhotographError, match="cannot be read"):
        read_photograph(None)


@pytest.mark.parametrize("shape", [(31, 400), (400, 31), (1, 1)])
def test_too_few_pixels(encoded, shape):
    with pytest.raises(PhotographError, match="too few for a fundus photograph"):
        read_photograph(encoded(np.zeros((*shape, 3), np.uint8), "PNG"))


def test_hostile_name_is_cleaned_in_the_sentence():
    with pytest.raises(PhotographError) as caught:
        read_photograph(b"nothing", name="../../etc/\x1b[31m\u202egpj.exe\n")
    assert str(caught.value).startswith("[31mgpj.exe: ")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG/CMYK", {}),
        ("PNG", {}),
        ("PNG/P", {}),
        ("PNG16", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
        ("TIFF16", {}),
        ("BMP", {}),
        ("WEBP", {}),
    ],
    ids=str,
)
def test_random_damage_never_raises_anything_else(encoded, kind, options):
    rng = np.random.default_rng(len(kind) + len(options))
    pixels = PICTURE.astype(np.uint16) * 257 if kind.endswith("16") else PICTURE
    orientation = 6 if kind in ("JPEG", "TIFF", "TIFF16") else 1
    whole = encoded(pixels, kind, orientation, **options)
    refusals = []
    for trial in range(60):
        data = bytearray(whole)
        # Every other time in the head, where sizes, offsets and counts are declared.
        reach = len(data) if trial % 2 else min(len(data), 160)
        for place in rng.integers(0, reach, rng.integers(1, 6)):
            data[place] = rng.integers(256)
        if trial % 5 == 0:
            data = data[: rng.integers(1, len(data))]
        try:
            photograph = read_photograph(bytes(data), for_grading=trial % 3 == 0)
        except PhotographError as error:
            refusals.append(str(error))
        else:
            assert photograph.rgb.dtype == np.uint8
            assert photograph.rgb.ndim == 3
    assert len(refusals) > 5
    assert all(sentence.startswith("upload: ") for sentence in refusals)


# --- reduced decoding ---------------------------------------------------------------------------


def test_large_jpeg_is_decoded_smaller_with_the_geometry_kept(encoded):
    height, width = 3000, 4000
    dots = [(403.5, 371.5), (2000.5, 1500.5), (3611.5, 2700.5), (1234.5, 2411.5)]
    pixels = np.full((height, width, 3), 20, np.uint8)
    for x, y in dots:
        pixels[int(y) - 12 : int(y) + 13, int(x) - 12 : int(x) + 13] = 240
    photograph = read_photograph(encoded(pixels, "JPEG"), for_grading=True)
    assert photograph.reduction == 4
    assert (photograph.width, photograph.height) == (width, height)
    assert photograph.rgb.shape == (750, 1000, 3)
    brightness = photograph.rgb[..., 1].astype(float) - 20
    for x, y in dots:
        row, column = int(y / 4), int(x / 4)
        window = brightness[row - 12 : row + 13, column - 12 : column + 13].clip(10) - 10
        rows, columns = np.mgrid[row - 12 : row + 13, column - 12 : column + 13]
        found = np.array([(window * (columns + 0.5)).sum(), (window * (rows + 0.5)).sum()])
        # Half a reduced pixel is two of the original's; it is far better than that.
        assert np.abs(found / window.sum() * 4 - (x, y)).max() < 0.5


@pytest.mark.parametrize(
    ("shape", "reduction"), [((1279, 1400), 1), ((1280, 1400), 2), ((2560, 2700), 4)]
)
def test_reduction_keeps_enough_for_the_largest_network(encoded, shape, reduction):
    data = encoded(np.zeros((*shape, 3), np.uint8), "JPEG")
    photograph = read_photograph(data, for_grading=True)
    assert photograph.reduction == reduction
    assert min(photograph.rgb.shape[:2]) >= GRADING_SIDE
    assert read_photograph(data).reduction == 1


def test_only_jpeg_is_reduced(encoded):
    flat = np.zeros((1300, 1300, 3), np.uint8)
    assert read_photograph(encoded(flat, "PNG"), for_grading=True).reduction == 1


def test_grey_jpeg_is_reduced_too(encoded):
    flat = np.full((1300, 1301), 77, np.uint8)
    photograph = read_photograph(encoded(flat, "JPEG"), for_grading=True)
    assert photograph.rgb.shape == (650, 651, 3)
    assert (photograph.rgb == 77).all()


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "laterality", "patient"),
    [
        ("10_left.jpeg", "OS", "10"),
        ("10_right.jpeg", "OD", "10"),
        ("A-7_OD.jpg", "OD", "A-7"),
        ("A-7_os.JPG", "OS", "A-7"),
        ("P.0012-OS.tif", "OS", "P.0012"),
        ("OD_20240131_88123.png", "OD", "88123"),
        ("881 (OD) 2.png", "OD", "881"),
        ("smith.OS.webp", "OS", "smith"),
        ("44_OD", "OD", "44"),
        ("44.OD", "OD", "44"),
        ("left.bmp", "OS", None),
        ("L_33.png", "OS", None),
        ("left_OS_12.png", "OS", None),
        ("IDRiD_001.jpg", None, None),
        ("eyepacs_4.jpeg", None, None),
        ("leftover_3.jpg", None, None),
        ("model_x.jpg", None, None),
        ("12_left_right.jpg", None, None),
        ("OD_OS_12.jpg", None, None),
        ("", None, None),
        ("....", None, None),
    ],
)
def test_laterality_and_patient_from_the_name(name, laterality, patient):
    assert parse_name(name) == (laterality, patient)


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\system32\\eye.jpg", "eye.jpg"),
        ("a\x00b\x1b[0m\r\n.jpg", "ab[0m.jpg"),
        ("gpj\u202e.exe", "gpj.exe"),
        ("zero\u200bwidth\ufeff.png", "zerowidth.png"),
        ("two\u2028lines\u2029.png", "twolines.png"),
        ("\ud800lone.png", "lone.png"),
        ("  spaced.png  ", "spaced.png"),
        ("", "unnamed"),
        ("/", "unnamed"),
        ("folder/", "unnamed"),
        ("..", "unnamed"),
        ("\x01\x02", "unnamed"),
        ("Müller_眼底_OD.jpg", "Müller_眼底_OD.jpg"),
        ("<b>bold</b>.jpg", "b>.jpg"),
    ],
)
def test_hostile_names_are_cleaned(hostile, shown):
    assert clean_name(hostile) == shown


def test_long_names_are_cut():
    assert len(clean_name("x" * 10_000)) == 200


@pytest.mark.parametrize("seed", range(3))
def test_cleaned_name_is_one_line_of_visible_text(seed):
    rng = np.random.default_rng(seed)
    for _ in range(200):
        codes = rng.choice([rng.integers(0, 256), rng.integers(0, 0x3000)], 12)
        cleaned = clean_name("".join(map(chr, codes)))
        assert cleaned
        assert cleaned.isprintable() or cleaned.replace("\u00a0", " ").strip()
        assert len(cleaned.splitlines()) == 1
        assert clean_name(cleaned) == cleaned
