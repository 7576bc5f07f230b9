"""One map against fused maps, on phantoms whose lesions are known, and in the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from drcore.model.bundle import Bundle, save_bundle
from drcore.preprocessing.field_of_view import find_field_of_view
from drcore.preprocessing.retina_square import RetinaSquare
from training.data.lesion_masks import read_lesions
from training.evaluation.localisation import GRID
from training.reproduction.comparison import comparisons
from training.reproduction.maps import map_on_square, measure_maps, published_figures
from training.reproduction.networks import LAYOUTS, PublishedNetwork
from training.reproduction.report import render
from training.synthetic.phantom import make_phantom
from training.synthetic.recipe import MASK_FLAGS, PhantomRecipe


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three phantoms with lesion masks, one of them trained on."""
    (tmp_path / "lesions").mkdir()
    (tmp_path / "images").mkdir()
    for seed, name in enumerate(("one", "two", "used")):
        phantom = make_phantom(PhantomRecipe(size=320, seed=seed, haemorrhages=8))
        file = tmp_path / "lesions" / f"{name}.jpg"
        cv2.imwrite(str(file), cv2.cvtColor(phantom.rgb, cv2.COLOR_RGB2BGR))
        flags = np.zeros(phantom.rgb.shape[:2], np.uint8)
        for mask, flag in MASK_FLAGS.items():
            flags[phantom.masks[mask]] |= flag
        cv2.imwrite(str(file.with_name(f"{name}_mask.png")), flags)
    (tmp_path / "images" / "used.jpg").write_bytes((tmp_path / "lesions" / "used.jpg").read_bytes())
    (tmp_path / "labels.csv").write_text(
        "image,grade,dataset,split,patient\nused.jpg,2,phantom,train,u\n"
    )
    (tmp_path / "lesions.csv").write_text(
        "image,split,annotated,same_as\none,test,HE OD,\ntwo,test,HE OD,\n"
        "used,train,HE OD,used.jpg\n"
    )
    return tmp_path


def test_maps_are_measured_on_clean_photographs_and_reported(
    data: Path, tiny_bundle: Bundle
) -> None:
    kappa = {"kappa": 0.5, "kappa_interval": [0.4, 0.6]}
    metrics = {"phantom/val": {"photographs": 9, "fused": kappa, "128": kappa}}
    save_bundle(replace(tiny_bundle, metrics=metrics), data / "bundle")
    result = measure_maps(data / "bundle", data=data)
    for entry in result.values():
        assert entry["photographs"] == 2  # not the one that was trained on
        for row in entry["maps"].values():
            for value, low, high in row.values():
                assert 0 <= low <= value <= high <= 1
    # The last entry fuses every scale; each rule is compared with the best single map.
    scales = [name for name in entry["maps"] if name.startswith("ram")]
    assert scales == [f"ram {scale}" for scale in sorted(tiny_bundle.networks)]
    assert len(entry["notes"]) == sum(name.startswith("fused") for name in entry["maps"])
    text = render({"train": 1, "val": 0, "name": "x"}, {}, [], comparisons({}), {},
                         result)  # fmt: skip
    assert "| ram 128 |" in text
    assert "0.500 (0.400-0.600)" in text


class Redness(PublishedNetwork):
    """Its map is the red channel of what it sees, in cells of 2 px."""

    def ram(self, squares: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(squares[:, :1], 2)[:, 0]


def test_a_published_map_lies_where_the_photograph_has_it() -> None:
    # An eye that is cut above and off the middle, with one red spot.
    rgb = np.zeros((420, 600, 3), np.uint8)
    cv2.circle(rgb, (330, 190), 200, (60, 60, 60), -1)
    cv2.circle(rgb, (420, 260), 9, (255, 60, 60), -1)
    frame = RetinaSquare(find_field_of_view(rgb), 600, 420, GRID)
    ram = map_on_square(Redness(LAYOUTS["fine-256"], untied=False), rgb, frame)
    assert ram.shape == (GRID, GRID)
    row, column = np.unravel_index(np.nanargmax(ram), ram.shape)
    x, y = frame.to_square(np.array([420.0, 260.0]))
    assert np.hypot(column - x, row - y) < 8
    assert np.isnan(ram[2, 2])  # the network sees the central 7/8 alone


def test_published_maps_are_measured_alone_and_fused(data: Path) -> None:
    splits = {"used.jpg": "train"}
    photographs = [one for one in read_lesions(data / "lesions.csv", splits) if one.clean]
    networks = {side: Redness(LAYOUTS[f"fine-{side}"], untied=False) for side in (128, 256)}
    figures = published_figures(networks, photographs)
    assert list(figures) == ["ram 128", "ram 256", "fused min-max 128+256", "fused mean 128+256"]
    assert all(len(some) == 2 for some in figures.values())
    assert 0 < figures["fused mean 128+256"][0].average_precision["all"] < 1
