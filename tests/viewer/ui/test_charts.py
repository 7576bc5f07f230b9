"""The charts: counts of grades, and confusion of grades."""

from __future__ import annotations

import numpy as np

from viewer.ui import charts, palette


def test_grade_histogram_counts_every_row():
    rows = [{"grade": grade, "status": "graded"} for grade in ("0", "0", "3", "4")]
    rows += [{"grade": "", "status": "ungradable"}, *[{"grade": "", "status": "failed"}] * 2]
    (bars,) = charts.grade_histogram(rows).data
    assert list(bars.y) == [2, 0, 0, 1, 1, 1, 2]
    assert list(bars.marker.color[:5]) == [chip[1] for chip in palette.GRADES]
    assert list(charts.grade_histogram([]).data[0].y) == [0] * 7


def test_confusion_shades_by_reference_grade():
    (heat,) = charts.confusion([[8, 2], [0, 0]]).data
    np.testing.assert_allclose(heat.z, [[0.8, 0.2], [0, 0]])
    assert heat.text[0][0] == 8
    assert charts.confusion([[1]]).layout.yaxis.autorange == "reversed"
