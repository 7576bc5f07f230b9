"""The figures: geometry in pixels of the original, one fixed colour scale."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from drcore.overlay import MAP_RANGE
from viewer import figures, palette, pictures


@pytest.fixture(scope="module")
def graded(phantom, encoded, grader):
    """A report and its pictures, of a photograph that is wider than high and off centre."""
    rgb = np.pad(phantom(seed=3, cut_above=0.1).rgb, ((0, 0), (90, 30), (0, 0)))
    data = encoded(rgb, "JPEG", quality=95)
    return grader.grade(data, name="1_left.jpg"), pictures.pictures_of(data)


@pytest.fixture(scope="module")
def figure(graded):
    return figures.comparison(*graded, "some image")


def test_maps_lie_on_the_photograph_in_its_own_pixels(graded, figure):
    report, _ = graded
    for trace, scale in zip(figure.data, (128, 256, 512, "fused"), strict=False):
        cells = report.focused(scale)
        assert (trace.x0, trace.dx, trace.y0, trace.dy) == (
            cells.x0, cells.step, cells.y0, cells.step,
        )  # fmt: skip
        np.testing.assert_allclose(np.asarray(trace.z, float), cells.values, atol=6e-4)
        assert (trace.xaxis, trace.yaxis) == ("x2", "y2")
    for image in figure.layout.images:
        assert (image.x, image.y, image.sizey) == (0, 0, report.height)
        assert image.sizex == pytest.approx(report.width, abs=0.01)
        assert (image.xanchor, image.yanchor) == ("left", "top")


def test_each_image_of_a_panel_has_a_place_of_its_own(figure):
    places = [(image.xref, image.x, image.sizex) for image in figure.layout.images]
    assert len(set(places)) == len(places) == len(pictures.VIEWS) + 1
    assert len(pictures.VIEWS) == figures.VIEW_COUNT


def test_panels_zoom_together_with_y_downwards(figure):
    layout = figure.layout
    assert (layout.xaxis2.matches, layout.yaxis2.matches) == ("x", "y")
    assert layout.yaxis.scaleanchor == "x"
    assert layout.yaxis.autorange == layout.yaxis2.autorange == "reversed"
    assert layout.uirevision == "some image"
    assert figures.CHART_CONFIG["scrollZoom"] is True


def test_the_colour_scale_is_fixed_whatever_the_map(graded, figure):
    report, shown = graded
    louder = replace(report, _maps={k: v * 100 for k, v in report._maps.items()})
    for each in (figure, figures.comparison(louder, shown, "b")):
        axis = each.layout.coloraxis
        assert (axis.cmin, axis.cmax) == MAP_RANGE
        assert axis.colorbar.title.text == "grades above a healthy retina"
        assert axis.colorscale[0][1].endswith("0.000)")  # nothing is drawn where nothing is found
        assert all(trace.coloraxis == "coloraxis" for trace in each.data[:4])


def test_the_pointer_tells_every_scale(graded, figure):
    report, _ = graded
    for trace, axis in zip(figure.data[4:], ("x", "x2"), strict=True):
        assert trace.xaxis == axis
        assert trace.opacity == 0
        cells = report.cells("fused").values
        inside = np.argwhere(np.isfinite(cells))[len(cells)]
        row, column = (int(i) for i in inside)
        for index, size in enumerate(report.scales):
            values = report.cells(size).values
            factor = len(cells) / len(values)
            expected = values[int(row / factor), int(column / factor)]
            assert trace.customdata[row][column][index] == pytest.approx(expected, abs=1e-3)
            assert f"{size} px %{{customdata[{index}]" in trace.hovertemplate


def test_the_ring_leaves_the_retina_open(graded, figure):
    report, _ = graded
    (ring,) = figure.layout.shapes
    assert (ring.xref, ring.yref, ring.fillrule) == ("x2", "y2", "evenodd")
    outer, inner = (
        np.array([[float(v) for v in pair.split(",")] for pair in re.split("L", part)])
        for part in re.findall(r"M([^Z]+)Z", ring.path)
    )
    fov = report.field_of_view
    assert np.hypot(*(outer - [fov.x, fov.y]).T).min() > fov.radius
    assert inner[:, 1].min() == pytest.approx(fov.top, abs=0.1)  # cut above
    assert np.hypot(*(inner - [fov.x, fov.y]).T).max() <= fov.radius + 0.1


def test_no_ring_where_no_rim_was_found(graded):
    report, shown = graded
    bare = replace(report, field_of_view=replace(report.field_of_view, found=False))
    figure = figures.comparison(bare, shown, "a")
    assert not figure.layout.shapes
    options = figure.layout.xaxis.autorangeoptions
    assert (options.clipmin, options.clipmax) == (0, report.width)


def test_layer_style_holds_numbers_of_ours_only(graded):
    report, _ = graded
    for opacity, expected in ((0.3, "0.3"), (7, "1.0"), (-1, "0.0")):
        style = figures.layer_style(report, "stage", scale=256, opacity=opacity, shown=True, view=1)
        assert f".hm:nth-child(2) image{{opacity:{expected}!important}}" in style
        assert style.count("!important") == 4
        assert style.count("visible") == 1


def test_grade_histogram_counts_every_row():
    rows = [{"grade": grade, "status": "graded"} for grade in ("0", "0", "3", "4")]
    rows += [{"grade": "", "status": "ungradable"}, *[{"grade": "", "status": "failed"}] * 2]
    (bars,) = figures.grade_histogram(rows).data
    assert list(bars.y) == [2, 0, 0, 1, 1, 1, 2]
    assert list(bars.marker.color[:5]) == [chip[1] for chip in palette.GRADES]
    assert list(figures.grade_histogram([]).data[0].y) == [0] * 7


def test_confusion_shades_by_reference_grade():
    (heat,) = figures.confusion([[8, 2], [0, 0]]).data
    np.testing.assert_allclose(heat.z, [[0.8, 0.2], [0, 0]])
    assert heat.text[0][0] == 8
    assert figures.confusion([[1]]).layout.yaxis.autorange == "reversed"


def test_views_are_small_and_true(phantom, encoded):
    data = encoded(np.repeat(phantom(seed=1).rgb, 6, axis=1), "JPEG")
    shown = pictures.pictures_of(data, long_side=400)
    assert (shown.width, shown.height) == (1920, 320)
    import base64

    import cv2

    decoded = {
        name: cv2.imdecode(np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8), 1)
        for name, uri in shown.views.items()
    }
    assert {view.shape for view in decoded.values()} == {(67, 400, 3)}
    grey = decoded["Red-free"].astype(int)
    assert np.abs(grey[..., 0] - grey[..., 2]).max() <= 2
    colour = decoded["Colour"].astype(int)
    assert colour[..., 2].mean() > colour[..., 0].mean() + 20  # red, and not blue, in a retina
