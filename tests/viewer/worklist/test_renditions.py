"""What the browser gets of a photograph: the file itself where it can show it, and its views."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from drcore.errors import PhotographError
from viewer.worklist import renditions


def decoded(picture: renditions.Picture) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(picture.data, np.uint8), 1)[..., ::-1].astype(int)


def file_of(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def image(phantom):
    return Image.fromarray(phantom(seed=1).rgb)


@pytest.mark.parametrize(
    ("kind", "mimetype"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")]
)
def test_a_file_that_browsers_read_goes_out_unchanged(image, kind, mimetype):
    data = file_of(image, kind)
    original = renditions.renditions_of(data).original
    assert original.data is data
    assert (original.mimetype, original.width, original.height) == (mimetype, *image.size)


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[274] = 6
    return exif


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("TIFF", "RGB", {}),
        ("BMP", "RGB", {}),
        ("JPEG", "CMYK", {}),
        ("JPEG", "RGB", {"exif": turned()}),
    ],
)
def test_any_other_file_goes_out_as_it_is_read(image, kind, mode, options):
    data = file_of(image.convert(mode), kind, **options)
    found = renditions.renditions_of(data)
    assert found.original.mimetype == "image/jpeg"
    assert found.original.data != data
    assert decoded(found.original).shape == (found.height, found.width, 3)
    quarter_turned = bool(options)
    assert (found.width, found.height) == (image.size[::-1] if quarter_turned else image.size)


def test_a_deep_png_is_not_left_to_the_browser(image):
    deep = np.asarray(image).astype(np.uint16) << 4  # 12 bits: a browser would show it black
    _, data = cv2.imencode(".png", deep)
    assert renditions.readable_type(data.tobytes()) == ""
    assert decoded(renditions.renditions_of(data.tobytes()).original).max() > 128


@pytest.mark.parametrize("data", [b"", b"no picture at all", b"\xff\xd8\xff"])
def test_what_is_no_picture_has_no_type(data):
    assert renditions.readable_type(data) == ""


def test_reduced_views_are_small_and_true(phantom, encoded):
    data = encoded(np.repeat(phantom(seed=1).rgb, 6, axis=1), "JPEG")
    shown = renditions.renditions_of(data, long_side=400)
    assert (shown.width, shown.height) == (1920, 320)
    assert set(shown.reduced) == {"colour", *renditions.ENHANCED}
    assert {decoded(view).shape for view in shown.reduced.values()} == {(67, 400, 3)}
    colour = decoded(shown.reduced["colour"])
    assert colour[..., 0].mean() > colour[..., 2].mean() + 20  # red, and not blue, in a retina


def test_an_enhanced_view_has_the_full_size_and_a_black_surround(phantom, encoded):
    shown = renditions.renditions_of(
        encoded(phantom(seed=1).rgb, "JPEG", quality=95), long_side=100
    )
    local = renditions.enhanced(shown.original, "local")
    assert (local.width, local.height) == (shown.width, shown.height)
    assert decoded(local)[:8, :8].max() < 12
    middle = decoded(local)[100:220, 100:220]
    assert abs(middle.mean() - 128) < 25
    with pytest.raises(PhotographError, match="no view of this name"):
        renditions.enhanced(shown.original, "../clahe")


def test_an_enhanced_view_is_bounded_in_size(phantom, encoded, monkeypatch):
    shown = renditions.renditions_of(encoded(phantom(seed=1).rgb, "JPEG"))
    monkeypatch.setattr(renditions, "MAX_PIXELS", 10_000)
    made = renditions.enhanced(shown.original, "clahe")
    assert made.width * made.height <= 10_000
