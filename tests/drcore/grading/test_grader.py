"""The public contract: what a report holds, whatever is put in, and that the sums agree."""

from __future__ import annotations

import dataclasses
import io
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from drcore import Grader, GradeReport
from drcore.errors import CheckpointError, DrcoreError, PhotographError
from drcore.grading.report_file import report_from_bytes, report_to_bytes
from drcore.icdr import GRADE_NAMES
from drcore.maps.fusion import FUSION_RULES, covered_mean
from drcore.model.bundle import bundled_folder
from drcore.model.calibration import GradeCalibration
from tests.support.networks import LINK

SCALES = (128, 256, 512)


@pytest.fixture(scope="module")
def reports(grader, phantom) -> dict[str, GradeReport]:
    """Reports that several tests look at: whole, cut and off-centre retinas."""
    recipes = {
        "whole": {"seed": 1},
        "cut": {"seed": 1, "cut_above": 0.12, "cut_below": 0.1},
        "off-centre": {"seed": 1, "offset": (0.12, -0.08)},
    }
    return {
        name: grader.grade(phantom(**recipe).rgb, name=f"{name}_OD.png")
        for name, recipe in recipes.items()
    }


each = pytest.mark.parametrize("which", ["whole", "cut", "off-centre"])


@pytest.fixture(scope="module")
def png(encoded, phantom) -> bytes:
    return encoded(phantom(seed=1).rgb, "PNG")


@pytest.fixture(scope="module")
def dark(phantom) -> np.ndarray:
    return (phantom(seed=1).rgb * 0.12).astype(np.uint8)


def same(a: GradeReport, b: GradeReport, tolerance: float = 0.0) -> bool:
    """Whether two reports say the same, maps included."""
    if (a.status, a.reason, a.grade, a.scales) != (b.status, b.reason, b.grade, b.scales):
        return False
    numbers = [(a.score, b.score), *((a.scores[s], b.scores[s]) for s in a.scales)]
    maps = [(a.cells(s).values, b.cells(s).values) for s in a.scales]
    return all(
        np.allclose(x, y, rtol=0, atol=tolerance, equal_nan=True) for x, y in [*numbers, *maps]
    )


# --- the report ---------------------------------------------------------------------------------


@each
def test_types_and_keys_of_the_contract(reports, which):
    report = reports[which]
    assert report.status == "graded"
    assert type(report.grade) is int
    assert 0 <= report.grade <= 4
    assert type(report.score) is float
    assert list(report.scores) == list(SCALES)
    assert all(type(score) is float for score in report.scores.values())
    assert report.score == pytest.approx(np.mean(list(report.scores.values())))
    assert report.referable is (report.grade >= 2)
    assert report.gradable is True
    assert report.reason == ""
    assert report.grade_name == GRADE_NAMES[report.grade]
    assert report.scales == SCALES
    assert report.model_version == "random 1"
    assert (report.laterality, report.patient) == ("OD", which)
    assert report.quality.gradable
    assert len(report.sha256) == 64


def test_certainty_of_the_report(grader, phantom, dark):
    rgb = phantom(seed=1).rgb
    bare = grader.grade(rgb)
    assert (bare.probabilities, bare.grade_set, bare.referable_sensitive) == (None, None, None)
    assert bare.margin == min(abs(bare.score - t) for t in bare.thresholds)

    certainty = GradeCalibration(
        cuts=(0.8, 1.4, 2.4, 3.3), width=0.3, widening=0.2,
        coverage=0.9, level=0.8, sensitive=bare.score - 0.1,
    )  # fmt: skip
    calibrated = Grader(dataclasses.replace(grader.bundle, certainty=certainty))
    report = calibrated.grade(rgb)
    assert same(report, bare)
    assert len(report.probabilities) == 5
    assert all(type(p) is float for p in report.probabilities)
    assert sum(report.probabilities) == pytest.approx(1)
    spread = max(bare.scores.values()) - min(bare.scores.values())
    assert report.probabilities == tuple(certainty.probabilities(bare.score, spread))
    assert report.grade in report.grade_set
    assert all(type(g) is int for g in report.grade_set)
    assert report.referable_sensitive is True
    strict = dataclasses.replace(certainty, sensitive=bare.score + 0.1)
    calibrated = Grader(dataclasses.replace(grader.bundle, certainty=strict))
    assert calibrated.grade(rgb).referable_sensitive is False

    for without in (calibrated.grade(dark), calibrated.failed("x.jpg", "It is broken.")):
        assert without.grade is None
        assert (without.probabilities, without.grade_set) == (None, None)
        assert (without.referable_sensitive, without.margin) == (None, None)


@each
@pytest.mark.parametrize("scale", [*SCALES, "fused"])
def test_map_is_on_the_original_pixels_and_nan_exactly_outside(reports, phantom, which, scale):
    report = reports[which]
    ram = report.ram(scale)
    assert ram.dtype == np.float32
    assert ram.shape == (report.height, report.width)
    inside = report.field_of_view.mask(report.height, report.width, margin=0.02)
    assert np.array_equal(np.isnan(ram), ~inside)
    recipe = {"whole": {}, "cut": {"cut_above": 0.12, "cut_below": 0.1}}
    if which in recipe:
        truth = phantom(seed=1, **recipe[which])
        assert ram.shape == truth.rgb.shape[:2]
        assert np.isnan(ram[~truth.masks["field_of_view"]]).mean() > 0.99


@each
@pytest.mark.parametrize("scale", SCALES)
def test_mean_of_the_map_plus_bias_is_the_score(reports, which, scale):
    report = reports[which]
    cells = report.cells(scale)
    coverage = report._frame.coverage(len(cells.values), 0.02)
    mean = covered_mean(np.nan_to_num(cells.values), coverage)
    assert mean + report.biases[scale] == pytest.approx(report.scores[scale], abs=1e-4)


@each
@pytest.mark.parametrize("scales", [None, (128,), (128, 512), (512, 256), (128, 256, 512)])
def test_mean_of_the_fused_map_plus_mean_bias_is_the_mean_score(reports, which, scales):
    report = reports[which]
    cells = report.cells("fused", scales=scales)
    used = scales or SCALES
    coverage = report._frame.coverage(len(cells.values), 0.02)
    mean = covered_mean(np.nan_to_num(cells.values), coverage)
    bias = np.mean([report.biases[s] for s in used])
    assert mean + bias == pytest.approx(np.mean([report.scores[s] for s in used]), abs=1e-4)


@each
def test_mean_over_pixels_is_close_to_the_mean_over_cells(reports, which):
    report = reports[which]
    ram = report.ram("fused")
    wanted = report.score - np.mean(list(report.biases.values()))
    # Interpolation between cells and the rim move it a little, in maps that are all noise.
    assert np.nanmean(ram) == pytest.approx(wanted, abs=0.15 * float(np.nanstd(ram)))


@pytest.mark.parametrize("rule", FUSION_RULES)
def test_every_fusion_rule_gives_a_whole_map(reports, rule):
    report = reports["cut"]
    fused, single = report.ram("fused", rule=rule), report.ram(512)
    assert np.array_equal(np.isnan(fused), np.isnan(single))
    if rule == "max":
        cells = report.cells("fused", rule=rule).values
        assert (cells >= report.cells("fused").values - 1e-5)[~np.isnan(cells)].all()
    if rule in ("minmax_sum", "product"):
        top = 3 if rule == "minmax_sum" else 1
        cells = report.cells("fused", rule=rule).values
        assert 0 <= np.nanmin(cells) <= np.nanmax(cells) <= top


def test_subset_of_one_is_that_scale(reports):
    report = reports["whole"]
    fused = report.ram("fused", scales=[256])
    assert np.allclose(fused, report.ram(256), equal_nan=True, atol=1e-5)


def test_cells_lie_where_they_say(reports):
    """The map is bilinear: it has a cell's own value at its middle, and nowhere beside it."""
    report = reports["off-centre"]
    cells, ram = report.focused(128), report.ram(128)
    assert cells.values.shape == (128, 128)

    def error(shift: tuple[float, float]) -> float:
        errors = []
        for row, column in np.argwhere(~np.isnan(cells.values)):
            x = cells.x0 + (column + shift[0]) * cells.step
            y = cells.y0 + (row + shift[1]) * cells.step
            if 1 <= x < report.width - 1 and 1 <= y < report.height - 1:
                value = cv2.getRectSubPix(ram, (1, 1), (float(x - 0.5), float(y - 0.5)))[0, 0]
                errors.append(value - cells.values[row, column])
        assert np.isfinite(errors).sum() > 400
        return float(np.nanmean(np.abs(errors)))

    here = error((0, 0))
    assert here < 0.1 * float(np.nanstd(ram))
    for shift in ((0.25, 0), (-0.25, 0), (0, 0.25), (0, -0.25)):
        assert error(shift) > 1.3 * here


def test_maps_handed_out_are_copies(reports):
    report = reports["whole"]
    first = report.ram(128)
    first[:] = 99
    report.cells(128).values[:] = 99
    assert np.nanmax(report.ram(128)) < 99


def test_unknown_scale_and_empty_choice_are_refused(reports):
    report = reports["whole"]
    for wrong in (64, "all", None):
        with pytest.raises(DrcoreError, match="choose 128, 256, 512 or 'fused'"):
            report.ram(wrong)
    with pytest.raises(DrcoreError, match="there is no map at 1024"):
        report.ram("fused", scales=[128, 1024])
    with pytest.raises(DrcoreError, match="choose at least one scale"):
        report.ram("fused", scales=[])
    with pytest.raises(DrcoreError, match="Unknown fusion rule"):
        report.ram("fused", rule="median")


def test_report_is_frozen(reports):
    with pytest.raises(dataclasses.FrozenInstanceError):
        reports["whole"].grade = 0


# --- a finest scale with a link ---------------------------------------------------------------


@pytest.fixture(scope="module")
def four_scales(tiny_bundle, make_network, phantom) -> GradeReport:
    """The report of a bundle of four scales, the finest with a map that is never negative."""
    finest = make_network("ram-1024", seed=4, link=LINK)
    finest.mirrored = False
    networks = {**tiny_bundle.networks, 1024: finest}
    fusion = {128: 0.06, 256: 0.24, 512: 0.3, 1024: 0.4}
    bundle = dataclasses.replace(tiny_bundle, networks=networks, fusion=fusion)
    return Grader(bundle).grade(phantom(seed=1, cut_above=0.12).rgb)


def test_coarse_scales_are_as_without_the_finest(four_scales, reports, grader, phantom):
    alone = grader.grade(phantom(seed=1, cut_above=0.12).rgb)
    assert {s: four_scales.scores[s] for s in SCALES} == pytest.approx(alone.scores, abs=1e-4)
    assert four_scales.scales == (*SCALES, 1024)
    weights = four_scales.fusion
    fused = sum(weight * four_scales.scores[size] for size, weight in weights.items())
    assert four_scales.score == pytest.approx(fused)


@pytest.mark.parametrize("scale", [*SCALES, 1024, "fused"])
def test_every_map_of_four_scales_adds_up_exactly(four_scales, scale):
    report = four_scales
    bias = sum(w * report.biases[s] for s, w in report.fusion.items())
    if scale != "fused":
        bias = report.biases[scale]
    score = report.score if scale == "fused" else report.scores[scale]
    for cells in (report.cells(scale), report.focused(scale)):
        coverage = report._frame.coverage(len(cells.values), 0.02)
        mean = covered_mean(np.nan_to_num(cells.values), coverage)
        assert mean + bias == pytest.approx(score, abs=1e-4)
    assert len(report.focused(scale).values) == (1024 if scale == "fused" else scale)
    if scale == 1024:
        assert np.nanmin(report.cells(1024).values) >= 0


def test_the_finest_map_may_be_shown_while_the_others_are_flat(four_scales):
    hidden = dataclasses.replace(four_scales, placed=0.0, placed_finest=0.0)
    shown = dataclasses.replace(four_scales, placed=0.0, placed_finest=1.0)
    # Only how the mean is shared out within the field of view may differ where a map is flat.
    for scale in SCALES:
        np.testing.assert_array_equal(shown.ram(scale), hidden.ram(scale))
    whole = dataclasses.replace(four_scales, placed=1.0)
    np.testing.assert_array_equal(shown.ram(1024), whole.ram(1024))
    assert np.nanmax(shown.ram()) > np.nanmax(hidden.ram())
    assert (hidden.shown, shown.shown) == (0.0, 1.0)
    coverage = shown._frame.coverage(1024, 0.02)
    mean = covered_mean(np.nan_to_num(shown.focused().values), coverage)
    bias = sum(w * shown.biases[s] for s, w in shown.fusion.items())
    assert mean + bias == pytest.approx(shown.score, abs=1e-4)


def test_part_of_four_scales_and_other_rules(four_scales):
    report = four_scales
    pair = report.focused("fused", scales=[256, 1024])
    share = report._frame.coverage(1024, 0.02)
    weights = [report.fusion[s] / 0.64 for s in (256, 1024)]
    score, bias = (
        sum(w * of[s] for w, s in zip(weights, (256, 1024), strict=True))
        for of in (report.scores, report.biases)
    )
    assert covered_mean(np.nan_to_num(pair.values), share) + bias == pytest.approx(score, abs=1e-4)
    for rule in ("max", "product"):
        assert report.focused("fused", rule=rule).values.shape == (1024, 1024)
    back = report_from_bytes(report_to_bytes(report))
    np.testing.assert_array_equal(back.ram("fused"), report.ram("fused"))


# --- what may be put in -------------------------------------------------------------------------


def test_all_sources_give_the_same_report(grader, phantom, png, tmp_path, reports):
    file = tmp_path / "whole_OD.png"
    file.write_bytes(png)
    from_path = grader.grade(file)
    assert same(from_path, reports["whole"])
    assert same(grader.grade(io.BytesIO(png)), reports["whole"])
    assert from_path.name == "whole_OD.png"
    assert from_path.laterality == "OD"


def test_grading_is_deterministic(grader, png, reports):
    assert same(grader.grade(png), grader.grade(png))
    assert same(grader.grade(png), reports["whole"])


@pytest.mark.parametrize("orientation", [3, 6])
def test_rotated_file_has_its_map_on_the_upright_picture(
    grader, phantom, encoded, turned, orientation, reports
):
    rgb = phantom(seed=1, cut_above=0.12, cut_below=0.1).rgb
    report = grader.grade(encoded(turned(rgb, orientation), "TIFF", orientation))
    assert report.ram("fused").shape == rgb.shape[:2]
    assert same(report, reports["cut"])


def test_large_jpeg_keeps_its_size_in_the_report(grader, phantom, encoded):
    rgb = cv2.resize(phantom(seed=1).rgb, (1400, 1400), interpolation=cv2.INTER_LINEAR)
    report = grader.grade(encoded(rgb, "JPEG"))
    assert (report.width, report.height) == (1400, 1400)
    assert report.ram("fused").shape == (1400, 1400)
    truth = phantom(seed=1)
    assert report.field_of_view.radius == pytest.approx(truth.radius * 1400 / 320, rel=0.01)
    assert report.quality.diameter == pytest.approx(2 * report.field_of_view.radius)


@pytest.mark.parametrize(
    "bad",
    [b"", b"<html>", "no/such/file.jpg", np.zeros((5, 5), np.uint8), None, 7],
    ids=["empty", "html", "missing", "grey array", "None", "number"],
)
def test_unreadable_source_raises_our_own_error(grader, bad):
    with pytest.raises(PhotographError):
        grader.grade(bad)


# --- ungradable and failed ----------------------------------------------------------------------


def test_ungradable_photograph_has_a_score_and_a_map_but_no_grade(grader, dark):
    report = grader.grade(dark)
    assert report.status == "ungradable"
    assert report.gradable is False
    assert report.reason == "The photograph is too dark."
    assert report.grade is None
    assert report.referable is None
    assert report.grade_name == "Ungradable"
    assert np.isfinite(report.score)
    assert list(report.scores) == list(SCALES)
    assert np.isfinite(report.ram("fused")).any()


@pytest.mark.parametrize("kind", ["noise", "black", "flat", "odd shape"])
def test_what_is_no_retina_is_scored_without_a_grade(grader, kind):
    rng = np.random.default_rng(0)
    rgb = {
        "noise": rng.integers(0, 256, (200, 260, 3)),
        "black": np.zeros((200, 200, 3)),
        "flat": np.full((200, 200, 3), 77),
        "odd shape": rng.integers(0, 256, (32, 900, 3)),
    }[kind].astype(np.uint8)
    report = grader.grade(rgb)
    assert report.status == "ungradable"
    assert report.grade is None
    assert report.reason.endswith(".")
    assert np.isfinite(report.score)
    assert report.ram("fused").shape == rgb.shape[:2]


def test_failed_report_says_so_everywhere(grader):
    report = grader.failed("x.jpg", "x.jpg: the file is empty.")
    assert report.status == "failed"
    assert report.gradable is False
    assert report.grade is None
    assert report.referable is None
    assert report.grade_name == "Failed"
    assert np.isnan(report.score)
    assert report.scores == {}
    assert report.scales == ()
    assert report.field_of_view is None
    with pytest.raises(DrcoreError, match=r"x\.jpg: there is no map, because x\.jpg: the file is"):
        report.ram("fused")


def test_thresholds_part_the_grades(grader):
    assert grader.bundle.thresholds == (0.5, 1.5, 2.5, 3.5)
    scores = (-3.0, 0.49, 0.5, 1.0, 1.5, 2.49, 2.5, 3.49, 3.5, 9.0)
    assert [grader.grade_of(score) for score in scores] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


# --- many ---------------------------------------------------------------------------------------


class Counting:
    """An iterator that remembers how far it was read."""

    def __init__(self, items):
        self.items = iter(items)
        self.taken = 0

    def __iter__(self):
        return self

    def __next__(self):
        item = next(self.items)
        self.taken += 1
        return item


def test_many_is_lazy_and_reads_no_further_than_a_batch(grader):
    sources = Counting([b"bad"] * 100)
    stream = grader.grade_many(sources, batch=4)
    assert sources.taken == 0
    for count in range(1, 13):
        next(stream)
        assert sources.taken <= count + 3
    assert sources.taken == 12


def test_endless_source(grader):
    def endless():
        while True:
            yield b"bad"

    stream = grader.grade_many(endless(), batch=2)
    assert [next(stream).status for _ in range(5)] == ["failed"] * 5
    stream.close()


class Broken:
    """A file object whose disk has gone."""

    name = "lost.jpg"

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002 - as file objects have it
        raise RuntimeError("input/output error")


def test_bad_inputs_keep_their_place_and_their_reason(grader, phantom, png, dark, tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    sources = [
        ("first_OD.png", png),
        tmp_path / "empty.jpg",
        dark,
        tmp_path / "gone.jpg",
        ("cut.png", png[:2000]),
        None,
        ("a", "b", "c"),
        ("<b>.png", 3),
        (5, png),
        Broken(),
        ("last_OS.png", png),
    ]
    reports = list(grader.grade_many(sources, batch=3))
    assert [r.status for r in reports] == [
        "graded", "failed", "ungradable", "failed", "failed", "failed", "failed", "failed",
        "failed", "failed", "graded",
    ]  # fmt: skip
    assert all(r.reason for r in reports if r.status != "graded")
    assert [reports[i].name for i in (0, 1, 3, 4, 7, 9, 10)] == [
        "first_OD.png", "empty.jpg", "gone.jpg", "cut.png", "<b>.png", "lost.jpg", "last_OS.png",
    ]  # fmt: skip
    assert "the file is empty" in reports[1].reason
    assert "there is no such file" in reports[3].reason
    assert "cut short" in reports[4].reason
    assert "it cannot be read (RuntimeError)" in reports[9].reason
    assert (reports[0].laterality, reports[10].laterality) == ("OD", "OS")
    assert reports[10].score == pytest.approx(reports[0].score, abs=1e-4)


def test_together_is_as_alone(grader, phantom):
    recipes = [{"seed": 1}, {"seed": 1, "cut_above": 0.12}, {"seed": 1, "offset": (0.12, -0.08)}]
    photographs = [phantom(**recipe).rgb for recipe in recipes]
    together = list(grader.grade_many(photographs, batch=3))
    for photograph, report in zip(photographs, together, strict=True):
        assert same(grader.grade(photograph), report, tolerance=1e-4)


def test_nothing_in_nothing_out(grader):
    assert list(grader.grade_many([])) == []
    assert list(grader.grade_many(iter(()), batch=1)) == []


def test_eight_threads_give_what_one_gives(grader, phantom, dark):
    photographs = [
        phantom(seed=1).rgb,
        dark,
        phantom(seed=1, cut_above=0.12).rgb,
        phantom(seed=2).rgb,
    ]
    alone = [grader.grade(photograph) for photograph in photographs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(grader.grade, photographs * 2))
    for index, report in enumerate(together):
        assert same(alone[index % 4], report, tolerance=1e-5)


# --- opening ------------------------------------------------------------------------------------


def test_opening_a_folder_that_holds_no_weights(tmp_path):
    with pytest.raises(CheckpointError, match="There is no readable manifest"):
        Grader.from_folder(tmp_path)
    with pytest.raises(CheckpointError):
        Grader.from_folder(str(tmp_path / "gone"))


def test_bundled_weights_grade_a_phantom(phantom):
    if not (bundled_folder() / "manifest.json").is_file():
        pytest.skip("the package was built without weights")
    grader = Grader.bundled("cpu")
    assert grader.scales == (*SCALES, 1024)
    report = grader.grade(phantom(seed=1).rgb)
    assert report.status == "graded"
    assert report.grade == grader.grade_of(report.score)
    assert grader.version == report.model_version
