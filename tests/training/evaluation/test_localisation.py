"""Maps and lesions whose figures are known beforehand; bad tables refused; the command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from drcore.errors import DrcoreError
from drcore.grading.grader import Grader
from drcore.model.bundle import Bundle, save_bundle
from drcore.preprocessing.field_of_view import FieldOfView
from drcore.preprocessing.network_input import Preprocessing
from drcore.preprocessing.retina_square import RetinaSquare
from training.data.duplicates import Repeat, write_repeats
from training.data.labels import read_labels
from training.data.lesion_masks import Lesions, LesionsError, read_lesions
from training.evaluation.baseline_maps import (
    centre_gaussian,
    contrast_alone,
    grad_cam,
    kept_score,
    mean_map,
    occlusion,
    random_map,
)
from training.evaluation.localisation import (
    GRID,
    LocalisationFigures,
    average_precision,
    deletion_and_insertion,
    measure,
    on_grid,
    outside_share,
    patch_precision,
)
from training.evaluation.localisation_report import compare, summarise
from training.evaluation.localised_maps import localise
from training.localise import main
from training.synthetic.phantom import make_phantom
from training.synthetic.recipe import MASK_FLAGS, PhantomRecipe

# Neither centred nor square, and cut above: a map laid down transposed or shifted would show.
FRAME = RetinaSquare(FieldOfView(330, 250, 240, 0, 30, 600, 520, True, ""), 600, 520, 512)
MARGIN = 0.02
MA, HE, EX, DISC = (
    MASK_FLAGS[name] for name in ("microaneurysms", "haemorrhages", "hard_exudates", "optic_disc")
)


def painted(*spots: tuple[int, int, int, int], annotated: str = "MA HE EX SE OD") -> Lesions:
    """Lesions from discs (x, y, radius, flag) in pixels of the photograph."""
    flags = np.zeros((FRAME.height, FRAME.width), np.uint8)
    for x, y, radius, flag in spots:
        disc = cv2.circle(np.zeros_like(flags), (x, y), radius, 1, cv2.FILLED)
        flags[disc > 0] |= flag
    return Lesions("painted", flags, frozenset(annotated.split()))


TWO = painted((250, 150, 14, HE), (400, 330, 9, EX), (480, 240, 25, DISC))


def spot(x: float, y: float, sigma: float = 6.0) -> np.ndarray:
    """A map with one peak at a place of the photograph."""
    (cx, cy) = FRAME.at(GRID).to_square(np.array([x, y], float))
    axis = np.arange(GRID) + 0.5
    distance = (axis[None, :] - cx) ** 2 + (axis[:, None] - cy) ** 2
    return np.exp(-distance / (2 * sigma**2)).astype(np.float32)


def judged(ram: np.ndarray, lesions: Lesions = TWO) -> LocalisationFigures:
    return measure(ram, FRAME, MARGIN, lesions)


def test_a_map_equal_to_the_mask_is_perfect() -> None:
    figures = judged(TWO.on_square(FRAME)["all"].astype(np.float32))
    assert figures.hit == 1
    assert figures.average_precision["all"] == pytest.approx(1)
    assert figures.energy_on_lesions == pytest.approx(1)
    assert figures.energy_on_disc == 0
    # Each type is found, but pixels of the other type stand as high.
    share = figures.prevalence["HE"] / figures.prevalence["all"]
    assert figures.average_precision["HE"] == pytest.approx(share)


def test_coarse_cells_find_the_lesions_only_the_right_way_round() -> None:
    mask = (TWO.flags & (HE | EX) > 0).astype(np.uint8) * 255
    cells = np.asarray(FRAME.at(64).warp(mask), np.float32) / 255
    right = judged(cells)
    assert right.hit == 1
    assert right.average_precision["all"] > 0.85
    for wrong in (cells.T, cells[::-1], cells[:, ::-1]):
        assert judged(np.ascontiguousarray(wrong)).average_precision["all"] < 0.1


def test_a_random_map_has_the_average_precision_of_chance() -> None:
    figures = [judged(random_map(GRID, np.random.default_rng(seed))) for seed in range(3)]
    for target in ("all", "HE", "EX"):
        chance = figures[0].prevalence[target]
        found = np.mean([f.average_precision[target] for f in figures])
        assert found == pytest.approx(chance, rel=0.25)


def test_a_flat_map_is_exactly_chance_and_never_an_error() -> None:
    figures = judged(np.zeros((8, 8), np.float32))
    assert figures.average_precision["all"] == pytest.approx(figures.prevalence["all"])
    assert figures.prevalence["all"] < figures.hit < 0.05  # the tolerance adds a rim
    assert math.isnan(figures.energy_on_lesions)
    assert figures.energy_outside == 0


def test_the_hit_survives_the_tolerance_and_no_more() -> None:
    lone = painted((300, 260, 10, MA))
    diameter = 2 * FRAME.field_of_view.radius
    assert judged(spot(300.5, 260.5), lone).hit == 1
    assert judged(spot(300.5 + 10 + 0.006 * diameter, 260.5), lone).hit == 1
    assert judged(spot(300.5 + 10 + 0.016 * diameter, 260.5), lone).hit == 0
    assert judged(spot(300.5, 260.5 - 10 - 0.016 * diameter), lone).hit == 0


def test_the_highest_patches_do_not_overlap_and_count_only_evidence() -> None:
    lesions = np.zeros((GRID, GRID), bool)
    lesions[100:103, 100:103] = True
    ram = np.zeros((GRID, GRID), np.float32)
    ram[110, 110], ram[112, 112] = 3, 2.5  # the second lies in the patch of the first
    assert patch_precision(ram, lesions) == 1
    ram[112, 150] = 2
    assert patch_precision(ram, lesions) == 0.5
    ram[110, 119] = 4  # one pixel too far right to see the lesion, and takes the others' place
    assert patch_precision(ram, lesions) == 0
    ram[100:400:50, 300:500:50] = 1
    assert patch_precision(ram, lesions) == 0
    assert math.isnan(patch_precision(-ram, lesions))
    lone = painted((300, 260, 10, MA))
    near, far = (spot(300.5, y) for y in (260.5, 320.5))
    assert judged(np.where(near > 0.5, near, 0), lone).patch_precision == 1
    assert judged(np.where(far > 0.5, far, 0), lone).patch_precision == 0


def test_a_peak_in_the_rim_margin_is_not_looked_at() -> None:
    inside = judged(spot(250.5, 150.5))
    fov = FRAME.field_of_view
    rim = spot(fov.x + 0.995 * fov.radius, fov.y, sigma=1.5) * 50
    assert judged(spot(250.5, 150.5) + rim).hit == inside.hit == 1


def test_energy_shares_are_where_the_energy_is_and_add_up() -> None:
    on_lesion, on_disc = spot(250.5, 150.5, 3), spot(480.5, 240.5, 4)
    elsewhere = spot(300.5, 400.5, 3) * 2
    figures = judged(on_lesion + on_disc + elsewhere - 1e-6)
    energies = np.array([9, 16, 18])  # a Gaussian's volume goes by height x sigma^2
    found = [figures.energy_on_lesions, figures.energy_on_disc, figures.energy_elsewhere]
    assert found == pytest.approx(energies / 43, abs=0.01)
    assert sum(found) == pytest.approx(1)
    # What a map holds against suspicion is no energy.
    assert judged(on_lesion - 5 * on_disc).energy_on_lesions == pytest.approx(1, abs=0.01)


def test_energy_outside_the_field_of_view_is_seen() -> None:
    mask = FRAME.at(GRID).mask()
    everywhere = np.ones((32, 32), np.float32)
    assert judged(everywhere).energy_outside == pytest.approx(1 - mask.mean(), abs=1e-3)
    blank = np.where(mask, 1, np.nan).astype(np.float32)
    assert judged(blank).energy_outside == 0
    shown = np.where(mask, -1, 0.5).astype(np.float32)
    assert outside_share(shown, mask) == 1
    assert outside_share(np.full((4, 4), -1, np.float32), np.zeros((4, 4), bool)) == 0


def test_cells_without_a_value_change_nothing_inside() -> None:
    cells = np.asarray(FRAME.at(32).warp(np.float32(TWO.flags > 0)), np.float32)
    blank = np.where(FRAME.at(32).coverage(32, MARGIN) > 0, cells, np.nan).astype(np.float32)
    whole, part = judged(cells), judged(blank)
    assert part.average_precision["all"] == pytest.approx(whole.average_precision["all"], abs=0.01)
    assert part.hit == whole.hit


def test_types_that_were_not_annotated_or_not_found_are_left_out() -> None:
    some = painted((250, 150, 14, HE), annotated="HE EX")
    figures = judged(np.zeros((4, 4), np.float32), some)
    assert set(figures.average_precision) == {"all", "HE"}
    assert math.isnan(figures.energy_on_disc)
    healthy = judged(spot(250, 150), painted())
    assert healthy.average_precision == {}
    assert math.isnan(healthy.hit)


def test_a_mask_of_another_size_and_an_endless_map_are_refused() -> None:
    with pytest.raises(LesionsError, match="600 x 519 pixels and the photograph 600 x 520"):
        judged(np.zeros((4, 4), np.float32), Lesions("p", TWO.flags[:-1], TWO.annotated))
    for bad in (np.full((4, 4), np.inf, np.float32), np.zeros((4, 5), np.float32)):
        with pytest.raises(DrcoreError, match="cannot be measured"):
            judged(bad)


@pytest.mark.parametrize(
    ("values", "positive", "expected"),
    [
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], (1 + 2 / 3) / 2),
        ([0.6, 0.9, 0.7, 0.8], [0, 1, 1, 0], (1 + 2 / 3) / 2),
        ([0.9, 0.5, 0.5, 0.1], [0, 1, 0, 1], (1 / 3 + 2 / 4) / 2),
        ([0.5, 0.5, 0.5, 0.5], [0, 0, 0, 1], 1 / 4),
        ([0.2, 0.1], [0, 0], math.nan),
    ],
)
def test_average_precision_by_hand(values, positive, expected) -> None:
    found = average_precision(np.array(values), np.array(positive, bool))
    assert found == pytest.approx(expected, nan_ok=True)


def test_pooled_precision_is_that_of_all_pixels_together() -> None:
    other = painted((300, 300, 40, HE), annotated="MA HE")
    maps = [spot(250, 150, 20) - 0.3, 3 * spot(420, 300, 60) - 0.2 * spot(300, 300, 30)]
    figures = [judged(ram, lesions) for ram, lesions in zip(maps, (TWO, other), strict=True)]
    retina = FRAME.mask(MARGIN)
    masks = [lesions.on_square(FRAME) for lesions in (TWO, other)]
    together = average_precision(
        np.concatenate([ram[retina] for ram in maps]),
        np.concatenate([mask["all"][retina] for mask in masks]),
    )
    summary = summarise(figures, draws=50)["average_precision"]
    assert summary["all"]["pooled"] == pytest.approx(together, abs=2e-3)
    # Hard exudates were looked for in the first photograph alone: the second has no say.
    assert summary["EX"]["photographs"] == 1
    assert summary["EX"]["pooled"] == pytest.approx(figures[0].average_precision["EX"], abs=2e-3)
    assert math.isnan(summary["SE"]["mean"])


def test_summary_and_comparison_of_known_figures() -> None:
    base = judged(spot(250.5, 150.5))
    good = [replace(base, hit=h, average_precision={"all": a}) for h, a in ((1, 0.4), (1, 0.2))]
    poor = [replace(base, hit=h, average_precision={"all": a}) for h, a in ((0, 0.2), (1, 0.1))]
    summary = summarise(good * 10)
    assert summary["photographs"] == 20
    assert summary["average_precision"]["all"]["mean"] == pytest.approx(0.3)
    low, high = summary["average_precision"]["all"]["interval"]
    assert 0.2 < low < 0.3 < high < 0.4
    against = compare(good * 10, poor * 10)
    assert against["hit"]["mean"] == pytest.approx(0.5)
    assert against["average_precision"]["mean"] == pytest.approx(0.15)
    # Paired: each photograph has exactly twice the other's figure, whichever are drawn.
    assert against["average_precision_ratio"]["interval"] == pytest.approx((2, 2))


def test_deletion_and_insertion_prefer_the_true_map() -> None:
    size = 64
    retina = np.ones((size, size), bool)
    evidence = np.zeros((size, size), np.float32)
    evidence[10:18, 40:56] = 1

    def score(kept: np.ndarray) -> np.ndarray:
        return 3 * (kept * evidence).sum(axis=(1, 2), dtype=np.float64) / evidence.sum()

    true = deletion_and_insertion(evidence, retina, score)
    noise = deletion_and_insertion(random_map(size, np.random.default_rng(0)), retina, score)
    worst = deletion_and_insertion(-evidence, retina, score)
    assert true[0] < 0.2 < noise[0] < worst[0]
    assert true[1] > 2.8 > noise[1] > worst[1]
    assert noise == pytest.approx((1.5, 1.5), abs=0.2)
    # For a score that is a sum over pixels, taking away and putting back mirror each other.
    assert sum(noise) == pytest.approx(3, abs=1e-6)


def test_ties_are_broken_at_random_not_from_the_top() -> None:
    retina = np.ones((64, 64), bool)
    top = np.zeros((64, 64), np.float32)
    top[:8] = 1 / 8 / 64
    flat = np.zeros((64, 64), np.float32)
    deletion, _ = deletion_and_insertion(
        flat, retina, lambda kept: (kept * top).sum(axis=(1, 2), dtype=np.float64)
    )
    assert deletion == pytest.approx(0.5, abs=0.05)


def test_occlusion_finds_what_the_score_rests_on() -> None:
    size = 128
    retina = np.ones((size, size), bool)

    def score(kept: np.ndarray) -> np.ndarray:
        return 2 * kept[:, 40:48, 88:96].mean(axis=(1, 2), dtype=np.float64)

    ram = occlusion(score, retina, chunk=50)
    assert ram.shape == (32, 32)
    peak = np.unravel_index(np.argmax(ram), ram.shape)
    assert (peak[0] in {10, 11}, peak[1] in {22, 23}) == (True, True)
    assert ram.max() <= 2
    assert np.count_nonzero(ram) < 40
    retina[40:48, 88:96] = False
    retina[:, 80:] = False  # nothing to take away there
    assert occlusion(score, retina).max() == 0


@pytest.fixture(scope="module")
def tiny(make_network) -> Grader:
    """One random network at 128 px."""
    networks = {128: make_network("tiny-128")}
    networks[128].set_level(0.4)
    return Grader(Bundle("random", "1", networks, Preprocessing(), (0.5, 1.5, 2.5, 3.5)))


def test_grad_cam_on_this_network_is_its_map_cut_at_zero(tiny: Grader, phantom) -> None:
    """An independent tool finds the map by gradients: the map is the score's own."""
    pytest.importorskip("captum")
    prepared = tiny.attempt(phantom(seed=1).rgb, "eye")
    network = tiny.bundle.networks[128]
    network.linear.weight[0, ::2] *= -1  # some evidence against
    try:
        cam = grad_cam(network, prepared.inputs[128], prepared.coverage[128])
        pair = np.stack([prepared.inputs[128], prepared.inputs[128][..., ::-1]])
        import torch

        raw = network(torch.from_numpy(pair))[1].numpy() - 0.4
    finally:
        network.linear.weight[0, ::2] *= -1
    expected = (np.maximum(raw[0], 0) + np.maximum(raw[1], 0)[:, ::-1]) / 2
    assert 0.02 < (expected == 0).mean() < 0.98
    np.testing.assert_allclose(cam, expected / expected.max(), atol=1e-5)


def test_the_score_of_what_is_kept(tiny: Grader, phantom) -> None:
    prepared = tiny.attempt(phantom(seed=2).rgb, "eye")
    score = kept_score(tiny.bundle.networks, prepared.inputs, prepared.coverage, [128])
    blank = {128: np.zeros_like(prepared.inputs[128])}
    nothing = kept_score(tiny.bundle.networks, blank, prepared.coverage, [128])
    kept = np.ones((7, 512, 512), np.float32)  # more than go through together, and another size
    kept[-1] = 0
    found = score(kept)
    assert found[:6] == pytest.approx(found[0], abs=1e-5)
    assert found[6] == pytest.approx(float(nothing(kept[:1])[0]), abs=1e-5)
    assert abs(found[0] - found[6]) > 1e-3
    import torch

    with torch.inference_mode():
        whole, _ = tiny.bundle.networks[128](
            torch.from_numpy(prepared.inputs[128])[None],
            torch.from_numpy(prepared.coverage[128])[None],
        )
    assert found[0] == pytest.approx(float(whole), abs=1e-5)


def test_contrast_alone_marks_bright_and_dark_alike() -> None:
    prepared = np.zeros((3, 64, 64), np.float32)
    prepared[1, 10, 20], prepared[1, 40, 50] = 2, -2
    ram = contrast_alone(prepared)
    assert ram[10, 20] == pytest.approx(ram[40, 50])
    assert ram[10, 20] == ram.max() > 0
    assert ram[10, 50] == 0


def test_means_and_centres() -> None:
    gaussian = centre_gaussian(65)
    assert np.unravel_index(np.argmax(gaussian), gaussian.shape) == (32, 32)
    both = mean_map([np.full((4, 4), 1, np.float32), np.full((16, 16), 3, np.float32)])
    assert both.shape == (16, 16)
    assert (both == 2).all()
    assert on_grid(both).shape == (GRID, GRID)


HEAD = "image,split,annotated,same_as\n"
SPLITS = {"used.jpg": "train", "held.jpg": "val", "set_aside.jpg": "test"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tiny photographs with masks, and some that are wrong."""
    lesions = tmp_path / "lesions"
    lesions.mkdir()
    flags = np.zeros((48, 64), np.uint8)
    flags[10:20, 30:40] = 2
    for name, mask in {
        "a": flags,
        "b": flags,
        "small": flags[:40],
        "colour": np.dstack([flags] * 3),
        "strange": flags + np.uint8(64),
    }.items():
        cv2.imwrite(str(lesions / f"{name}.jpg"), np.full((48, 64, 3), 90, np.uint8))
        cv2.imwrite(str(lesions / f"{name}_mask.png"), mask)
    (lesions / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (lesions / "broken_mask.png").write_bytes(b"no picture")
    cv2.imwrite(str(lesions / "alone.jpg"), np.zeros((48, 64, 3), np.uint8))
    return tmp_path


def write(folder: Path, *lines: str, head: str = HEAD) -> Path:
    table = folder / "lesions.csv"
    table.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    return table


def test_a_good_table_and_which_photographs_are_clean(folder: Path) -> None:
    rows = read_lesions(
        write(folder, "a,train,MA HE OD,used.jpg", "b,test,HE,", "strange,test,HE,set_aside.jpg"),
        SPLITS,
    )
    assert [row.clean for row in rows] == [False, True, True]
    assert not read_lesions(write(folder, "a,train,HE,held.jpg"), SPLITS)[0].clean
    lesions = rows[0].lesions()
    assert lesions.annotated == {"MA", "HE", "OD"}
    assert (lesions.flags == 2).sum() == 100


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a,train,HE,", "nobody,train,HE,"], r"line 3: there is no 'nobody.jpg'"),
        (["alone,train,HE,"], r"line 2: there is no 'alone_mask.png'"),
        (["a,train,HE,", "a,train,HE,"], r"line 3: 'a' stands already on line 2"),
        (["../lesions/a,train,HE,"], r"line 2: '../lesions/a' is not the name"),
        ([",train,HE,"], r"line 2: '' is not the name"),
        (["a\0,train,HE,"], r"not the name|cannot be read"),
        (["a,train,HE XX,"], r"line 2: 'HE XX' of 'a' does not say"),
        (["a,train,OD,"], r"line 2: 'OD' of 'a' does not say"),
        (["a"], r"line 2: None of 'a' does not say"),
        (["a,train,HE,unheard.jpg"], r"line 2: 'a' is the same as 'unheard.jpg'"),
        (["small,train,HE,"], r"line 2: small_mask.png has 64 x 40 .* photograph 64 x 48"),
        (["colour,train,HE,"], r"line 2: colour_mask.png is not an 8-bit grey PNG"),
        (["broken,train,HE,"], r"line 2: 'broken' or its mask is damaged"),
        ([], "no rows"),
    ],
)
def test_a_bad_table_names_line_and_reason(folder: Path, lines: list[str], message: str) -> None:
    with pytest.raises(LesionsError, match=message):
        read_lesions(write(folder, *lines), SPLITS)


def test_a_missing_column_or_table_is_named(folder: Path) -> None:
    with pytest.raises(LesionsError, match="missing: annotated, same_as"):
        read_lesions(write(folder, "a,train", head="image,split\n"), SPLITS)
    with pytest.raises(LesionsError, match="cannot be read"):
        read_lesions(folder / "none.csv", SPLITS)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("strange,test,HE,", r"line 2: strange_mask.png has bits that name no lesion"),
        ("a,test,MA EX,", r"line 2: a_mask.png has pixels of HE, .* not call annotated"),
    ],
)
def test_a_mask_that_contradicts_its_line_is_refused(folder: Path, line: str, message: str) -> None:
    row = read_lesions(write(folder, line), SPLITS)[0]
    with pytest.raises(LesionsError, match=message):
        row.lesions()


@pytest.fixture(scope="module")
def small_data(tmp_path_factory: pytest.TempPathFactory, tiny: Grader) -> Path:
    """Data folder of two phantoms with lesions and a healthy one, and a bundle."""
    root = tmp_path_factory.mktemp("data")
    (root / "lesions").mkdir()
    (root / "images").mkdir()
    for seed, place in ((1, "lesions/one"), (2, "lesions/two"), (3, "images/none")):
        count = 0 if seed == 3 else 9
        phantom = make_phantom(
            PhantomRecipe(size=320, seed=seed, haemorrhages=count, hard_exudates=count // 3)
        )
        cv2.imwrite(str(root / f"{place}.jpg"), cv2.cvtColor(phantom.rgb, cv2.COLOR_RGB2BGR))
        flags = np.zeros(phantom.rgb.shape[:2], np.uint8)
        for mask, flag in MASK_FLAGS.items():
            flags[phantom.masks[mask]] |= flag
        if count:
            cv2.imwrite(str(root / f"{place}_mask.png"), flags)
    (root / "images" / "used.jpg").write_bytes((root / "lesions" / "two.jpg").read_bytes())
    (root / "labels.csv").write_text(
        "image,grade,dataset,split,patient\nnone.jpg,0,phantom,val,n\nused.jpg,2,phantom,train,u\n"
    )
    (root / "lesions.csv").write_text(HEAD + "one,test,HE EX OD,\ntwo,train,HE EX OD,used.jpg\n")
    save_bundle(tiny.bundle, root / "bundle")
    return root


def test_the_command_measures_every_map(
    small_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("captum")
    monkeypatch.setenv("DRCORE_DATA", str(small_data))
    out = small_data / "out.json"
    main(
        ["--weights", str(small_data / "bundle"), "--rivals", "all", "--steps", "3",
         "--draws", "20", "--quiet", "--json", str(out)]
    )  # fmt: skip
    shown = capsys.readouterr()
    assert shown.err == ""
    result = json.loads(out.read_text())
    assert result["sets"]["clean"]["photographs"] == 1
    assert result["sets"]["all"]["photographs"] == 2
    maps = result["sets"]["all"]["maps"]
    assert set(maps) == {
        "ram 128", "fused mean", "fused max", "fused minmax_sum", "fused product",
        "centre", "random 128", "grad-cam 128", "occlusion 128", "cells 128", "cells fused",
        "contrast",
    }  # fmt: skip
    for name, figures in maps.items():
        assert sum(line.startswith(f"{name} ") for line in shown.out.splitlines()) == 4, name
        assert figures["average_precision"]["SE"]["mean"] is None
        assert 0 < figures["average_precision"]["all"]["mean"] <= 1
        assert figures["deletion"]["mean"] is not None
        shares = [figures[f"energy_{w}"]["mean"] for w in ("on_lesions", "on_disc", "elsewhere")]
        assert 1 <= sum(shares) < 1.1  # a lesion beside the disc reaches onto it
    assert maps["fused mean"]["energy_outside"]["mean"] == 0
    assert maps["centre"]["energy_outside"]["mean"] > 0.01
    # With one scale the fused map is that scale's.
    assert result["sets"]["all"]["compared"]["ram 128"]["average_precision"]["mean"] == 0
    assert result["photographs"]["one"]["maps"]["ram 128"]["hit"] in {0, 1}
    assert result["healthy"]["all"]["photographs"] == 1
    eye = Grader.from_folder(small_data / "bundle").grade(small_data / "images" / "none.jpg")
    healthy = result["healthy"]["phantom"]
    assert healthy["median_largest"] == pytest.approx(np.nanmax(eye.ram("fused")), rel=1e-4)
    assert healthy["share"] == float(healthy["median_largest"] > 1)
    assert healthy["cells"]["median_largest"] == pytest.approx(
        np.nanmax(eye.cells("fused").values), rel=1e-4
    )


def test_an_eye_in_training_is_not_clean(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRCORE_DATA", str(small_data))
    repeats, out = tmp_path / "repeats.csv", tmp_path / "out.json"
    common = ["--weights", str(small_data / "bundle"), "--rivals", "none", "--steps", "0",
              "--healthy", "0", "--draws", "20", "--quiet", "--json", str(out)]  # fmt: skip
    # "none" is the photograph that is measured, "used" the one that is trained on.
    for other, clean in (("none.jpg", 1), ("used.jpg", 0)):
        write_repeats([Repeat("one.jpg", other, 40, same_picture=False)], repeats)
        main([*common, "--without", str(repeats)])
        sets = json.loads(out.read_text())["sets"]
        assert sets["all"]["photographs"] == 2
        assert sets.get("clean", {"photographs": 0})["photographs"] == clean


def test_the_command_refuses_in_one_line(
    small_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DRCORE_DATA", str(small_data))
    weights = ["--weights", str(small_data / "bundle"), "--quiet"]
    with pytest.raises(SystemExit) as stopped:
        main([*weights, "--rivals", "all", "--occlusion-scales", "256"])
    assert stopped.value.code == 1
    assert "no network at 256 px to occlude; choose from 128" in capsys.readouterr().err
    bad = small_data / "bad.csv"
    bad.write_text(HEAD + "one,test,HE EX OD,\nthree,test,HE,\n")
    with pytest.raises(SystemExit) as stopped:
        main([*weights, "--lesions", str(bad)])
    assert stopped.value.code == 1
    assert "bad.csv, line 3: there is no 'three.jpg'" in capsys.readouterr().err


@pytest.mark.data
def test_the_bundled_maps_point_at_real_lesions(data_root: Path) -> None:
    splits = {row.path.name: row.split for row in read_labels(data_root / "labels.csv")}
    rows = [row for row in read_lesions(data_root / "lesions.csv", splits) if row.clean]
    assert len(rows) == 27
    grader = Grader.bundled()
    entries = localise(grader, rows[:3], steps=0, quiet=True)["fused mean"]
    assert all(entry.energy_outside == 0 for entry in entries)
    # One that is scored as if it were healthy shows no places, so not every one has to.
    chance = np.mean([entry.prevalence["all"] for entry in entries])
    assert np.mean([entry.average_precision["all"] for entry in entries]) > 3 * chance
    assert np.mean([entry.energy_on_lesions for entry in entries]) > 2 * chance
