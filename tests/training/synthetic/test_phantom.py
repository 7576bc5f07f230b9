"""Behaviour of the synthetic fundus photographs."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.phantom import SAMPLES, main, write_samples
from training.synthetic.phantom import make_phantom
from training.synthetic.recipe import LESIONS, MASK_FLAGS, PhantomRecipe, random_recipe

SAMPLE_IMAGES = Path(__file__).resolve().parents[3] / "sample_images"
FULL = PhantomRecipe(
    size=640, seed=3, microaneurysms=20, haemorrhages=16, hard_exudates=5, soft_exudates=3
)


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    size = 2 * pixels + 1
    return cv2.dilate(mask.astype(np.uint8), np.ones((size, size), np.uint8)) > 0


def surround(phantom, name: str) -> np.ndarray:
    """Fundus next to the lesions of a type, free of lesions, vessels and disc."""
    ring = grown(phantom.masks[name], 8) & phantom.masks["field_of_view"]
    for other in (*LESIONS, "vessels", "optic_disc"):
        ring &= ~grown(phantom.masks[other], 2)
    return ring


def test_same_recipe_gives_identical_phantom():
    first, second = make_phantom(FULL), make_phantom(FULL)
    assert np.array_equal(first.rgb, second.rgb)
    assert first.masks.keys() == second.masks.keys()
    for name, mask in first.masks.items():
        assert np.array_equal(mask, second.masks[name])
    other = make_phantom(dataclasses.replace(FULL, seed=4))
    assert not np.array_equal(first.rgb, other.rgb)


@pytest.mark.parametrize("grade", [0, 1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_phantom_has_wanted_grade_and_sound_masks(grade: int, seed: int):
    recipe = random_recipe(np.random.default_rng(seed), 320, grade)
    phantom = make_phantom(recipe)
    shape = phantom.rgb.shape[:2]
    assert phantom.rgb.dtype == np.uint8
    assert phantom.rgb.shape == (*shape, 3)
    assert phantom.grade == grade
    assert set(phantom.masks) == {*LESIONS, "optic_disc", "vessels", "field_of_view"}
    painted = np.zeros(shape, int)
    for name in LESIONS:
        mask = phantom.masks[name]
        assert mask.dtype == np.bool_
        assert mask.shape == shape
        assert not (mask & ~phantom.masks["field_of_view"]).any()
        assert not (mask & phantom.masks["optic_disc"]).any()
        assert mask.any() or getattr(recipe, name) == 0
        painted += mask
    assert painted.max() <= 1  # no pixel belongs to two lesions


def test_without_lesions_grade_is_0_and_masks_are_empty():
    phantom = make_phantom(PhantomRecipe(size=256, seed=9))
    assert phantom.grade == 0
    assert phantom.dme == 0
    assert not any(phantom.masks[name].any() for name in LESIONS)
    for name in ("optic_disc", "vessels", "field_of_view"):
        assert phantom.masks[name].any()


@pytest.mark.parametrize(
    ("lesions", "grade"),
    [
        ({"microaneurysms": 5}, 1),
        ({"microaneurysms": 5, "haemorrhages": 1}, 2),
        ({"haemorrhages": 4}, 2),
        ({"hard_exudates": 2}, 2),
        ({"soft_exudates": 1}, 2),
        ({"haemorrhages": 40, "haemorrhage_quadrants": 1}, 2),
        ({"haemorrhages": 80}, 2),  # not more than 20 in each quadrant
        ({"haemorrhages": 120}, 3),
        ({"haemorrhages": 100, "haemorrhage_quadrants": 3}, 2),
    ],
)
def test_grade_follows_what_was_painted(lesions: dict[str, int], grade: int):
    assert make_phantom(PhantomRecipe(size=512, seed=1, **lesions)).grade == grade


@pytest.mark.parametrize("pigment", [0.1, 0.8])
def test_lesions_have_their_colour(pigment: float):
    phantom = make_phantom(dataclasses.replace(FULL, pigment=pigment))
    rgb = phantom.rgb.astype(float)
    for name, channel, step in (
        ("microaneurysms", 1, -8),
        ("haemorrhages", 1, -10),
        ("hard_exudates", 1, 15),
        ("soft_exudates", 2, 8),
    ):
        inside = rgb[phantom.masks[name], channel].mean()
        beside = rgb[surround(phantom, name), channel].mean()
        assert (inside - beside) / step > 1, name


def test_every_microaneurysm_is_darker_than_its_surround():
    phantom = make_phantom(PhantomRecipe(size=1024, seed=8, microaneurysms=30))
    green = phantom.rgb[..., 1].astype(float)
    free = ~grown(phantom.masks["microaneurysms"] | phantom.masks["vessels"], 2)
    count, labels = cv2.connectedComponents(phantom.masks["microaneurysms"].astype(np.uint8))
    assert count - 1 == 30
    for label in range(1, count):
        dot = labels == label
        assert 20 <= dot.sum() <= 130  # 5 to 13 px across
        assert green[dot].mean() < green[grown(dot, 12) & free].mean() - 4


def test_masks_cover_exactly_what_the_lesions_change():
    none = dict.fromkeys(LESIONS, 0)
    with_lesions, without = make_phantom(FULL), make_phantom(dataclasses.replace(FULL, **none))
    assert np.array_equal(with_lesions.masks["vessels"], without.masks["vessels"])
    change = np.abs(with_lesions.rgb.astype(int) - without.rgb).max(axis=2)
    lesions = np.any([with_lesions.masks[name] for name in LESIONS], axis=0)
    assert (change[lesions] >= 4).mean() > 0.95
    # Soft edges and camera blur reach a few pixels further.
    assert change[~grown(lesions, 8)].max() <= 3


@pytest.mark.parametrize("laterality", ["OD", "OS"])
def test_fovea_lies_temporal_to_and_below_the_disc(laterality: str):
    phantom = make_phantom(PhantomRecipe(size=400, seed=5, laterality=laterality))
    y, x = (i.mean() for i in np.nonzero(phantom.masks["optic_disc"]))
    diameter = 2 * np.sqrt(phantom.masks["optic_disc"].sum() / np.pi)
    temporal = x - phantom.fovea[0] if laterality == "OD" else phantom.fovea[0] - x
    assert 2.1 < temporal / diameter < 2.9
    assert 0 < phantom.fovea[1] - y < diameter
    row, column = round(phantom.fovea[1]), round(phantom.fovea[0])
    assert not phantom.masks["vessels"][row - 12 : row + 13, column - 12 : column + 13].any()


def test_veins_and_arteries_leave_the_fundus_visible():
    phantom = make_phantom(PhantomRecipe(size=512, seed=5))
    share = phantom.masks["vessels"].sum() / phantom.masks["field_of_view"].sum()
    assert 0.04 < share < 0.16


def test_frame_and_rim():
    whole = make_phantom(PhantomRecipe(size=300, seed=2))
    cut = make_phantom(PhantomRecipe(size=300, seed=2, cut_above=0.1, cut_below=0.15))
    assert whole.rgb.shape == (300, 300, 3)
    assert cut.rgb.shape[1] == 300
    assert cut.rgb.shape[0] < 240
    assert not whole.masks["field_of_view"][[0, -1]].any()
    assert cut.masks["field_of_view"][0].any()
    assert cut.masks["field_of_view"][-1].any()
    assert whole.rgb[~whole.masks["field_of_view"]].mean() < 12
    assert whole.masks["field_of_view"].sum() == pytest.approx(np.pi * whole.radius**2, rel=0.01)
    notched = make_phantom(PhantomRecipe(size=300, seed=2, notch=True))
    assert notched.masks["field_of_view"].sum() > whole.masks["field_of_view"].sum()
    shifted = make_phantom(PhantomRecipe(size=300, seed=2, offset=(0.1, 0)))
    assert shifted.centre[0] > whole.centre[0]
    assert shifted.masks["field_of_view"][:, -1].any()


def test_macular_oedema_risk_follows_distance_to_fovea():
    risks = set()
    for seed in range(8):
        phantom = make_phantom(PhantomRecipe(size=300, seed=seed, hard_exudates=1))
        y, x = np.nonzero(phantom.masks["hard_exudates"])
        gap = np.hypot(x + 0.5 - phantom.fovea[0], y + 0.5 - phantom.fovea[1]).min()
        assert phantom.dme == (2 if gap <= 0.28 * phantom.radius else 1)
        risks.add(phantom.dme)
    assert risks == {1, 2}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", 32),
        ("laterality", "left"),
        ("microaneurysms", -1),
        ("haemorrhage_quadrants", 5),
        ("cut_above", 0.5),
        ("blur", -1.0),
    ],
)
def test_recipe_rejects_values_outside_their_range(name: str, value: object):
    with pytest.raises(ValueError, match=name):
        PhantomRecipe(**{name: value})


def test_random_recipe_rejects_proliferative_grade():
    with pytest.raises(ValueError, match="grade"):
        random_recipe(np.random.default_rng(0), 256, grade=4)


def test_command_line_writes_pictures_masks_and_labels(tmp_path: Path):
    assert main([str(tmp_path), "--count", "5", "--size", "256", "--seed", "7"]) == 0
    with (tmp_path / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "grade", "dme", "dataset", "split", "patient"]
    assert [row["grade"] for row in rows] == ["0", "1", "2", "3", "0"]
    assert {row["dataset"] for row in rows} == {"phantom"}
    assert len({row["patient"] for row in rows}) == 5
    assert {row["split"] for row in rows} <= {"train", "val"}
    for row in rows:
        picture = cv2.imread(str(tmp_path / "images" / row["image"]))
        name = row["image"].replace(".jpg", "_mask.png")
        flags = cv2.imread(str(tmp_path / "masks" / name), cv2.IMREAD_UNCHANGED)
        assert flags.dtype == np.uint8
        assert flags.shape == picture.shape[:2]
        assert (flags & MASK_FLAGS["optic_disc"]).any()
        assert bool((flags & 0b1111).any()) == (row["grade"] != "0")


def test_sample_images_regenerate_from_their_recipes(tmp_path: Path):
    write_samples(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(SAMPLES)
    for name in SAMPLES:
        stored = cv2.imread(str(SAMPLE_IMAGES / name)).astype(int)
        fresh = cv2.imread(str(tmp_path / name)).astype(int)
        assert stored.shape == fresh.shape
        assert np.abs(stored - fresh).mean() < 1.0, name
        assert (SAMPLE_IMAGES / name).stat().st_size < 250_000
