"""One map against fused maps, on phantoms whose lesions are known, and in the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from drcore.model.bundle import Bundle, save_bundle
from training.reproduction import report
from training.reproduction.maps import measure_maps
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
    text = report.render({"train": 1, "val": 0, "name": "x"}, {}, [], report.comparisons({}), {},
                         result)  # fmt: skip
    assert "| ram 128 |" in text
    assert "0.500 (0.400-0.600)" in text
