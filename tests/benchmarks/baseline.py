"""What one would write today from the parts that are there, with our networks in it.

1. retinalysis-fundusprep crops every photograph to its field of view, as a tool of its own: one
   call for the whole folder, as many jobs as there are cores, PNG files out.
2. Each crop is read back and becomes the three network inputs.
3. pytorch-grad-cam makes a map with each network; score and maps are averaged; a CSV row.

Nothing is slowed down: no mirror images, no quality check, one start of each tool, PyTorch with all
cores. retinalysis-fundusprep is under the AGPL and wants another OpenCV: it lives in an environment
of its own and is only ever called as a command.
"""

from __future__ import annotations

import copy
import csv
import importlib.util
import shutil
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from drcore.grading.grader import Grader
from drcore.grading.report import SQUARE
from drcore.model.network import RamNetwork
from drcore.preprocessing.field_of_view import FieldOfView
from drcore.preprocessing.retina_square import RetinaSquare

LIMIT = 8
"""Photographs that the baseline is measured on: it is slow."""


class Scored(nn.Module):
    """A network as a classifier has it: scores alone, one column."""

    def __init__(self, network: RamNetwork) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(True)

    def forward(self, squares: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.network(squares)[0]
        return scores[:, None]


def find_fundusprep(given: str | None) -> str | None:
    """Return the command, None where it is not installed."""
    return shutil.which(given or "fundusprep")


def seconds_per_photograph(
    grader: Grader, files: list[Path], prep: str | None, workers: int, folder: Path
) -> tuple[dict[str, float] | None, str]:
    """Measure the pipeline.

    Args:
        grader: whose networks and preparation are used.
        files: photographs; the first `LIMIT` are taken.
        prep: the command `fundusprep`.
        workers: its jobs.
        folder: for temporary files.

    Returns:
        Seconds per photograph of its parts and in total, or None and why it was not measured.
    """
    if prep is None:
        return None, (
            "fundusprep is not installed: put retinalysis-fundusprep into an environment of its "
            "own and give --fundusprep ENVIRONMENT/bin/fundusprep."
        )
    if importlib.util.find_spec("pytorch_grad_cam") is None:
        return None, "grad-cam is not installed: python -m pip install -e '.[benchmark]'."
    inputs, crops = folder / "baseline", folder / "crops"
    inputs.mkdir()
    for file in files[:LIMIT]:
        (inputs / file.name).symlink_to(file.resolve())
    count = len(files[:LIMIT])

    began = time.perf_counter()
    subprocess.run(
        [prep, "prep", str(inputs), "--rgb_path", str(crops), "--n_jobs", str(workers)],
        check=True, capture_output=True,
    )  # fmt: skip
    cropped = time.perf_counter()
    _maps_and_rows(grader, sorted(crops.glob("*.png")), folder / "baseline.csv")
    ended = time.perf_counter()
    return {
        "crop": (cropped - began) / count,
        "maps": (ended - cropped) / count,
        "total": (ended - began) / count,
    }, ""


def _maps_and_rows(grader: Grader, crops: list[Path], table: Path) -> None:
    importlib.import_module(
        "training.torchvision_cpu"
    )  # torchvision, for grad-cam, beside a CPU torch
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import RawScoresOutputTarget

    cams = {}
    for size, network in grader.bundle.networks.items():
        model = Scored(network).eval().to(grader.device)
        cams[size] = GradCAM(model=model, target_layers=[model.network.blocks[-1]])
    half = SQUARE / 2
    whole = FieldOfView(half, half, half, 0.0, 0.0, SQUARE, SQUARE, found=True, note="")
    mask = RetinaSquare(whole, SQUARE, SQUARE, SQUARE).mask(grader.bundle.preparation.margin)
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        for crop in crops:
            rgb = cv2.cvtColor(cv2.imread(str(crop)), cv2.COLOR_BGR2RGB)
            square = cv2.resize(rgb, (SQUARE, SQUARE), interpolation=cv2.INTER_AREA)
            scores, maps = [], []
            for size, cam in cams.items():
                contrast = grader.bundle.preparation.contrast(square, mask, size)
                planes = grader.bundle.preparation.normalise(contrast)
                given = torch.from_numpy(planes)[None].to(grader.device)
                heat = cam(input_tensor=given, targets=[RawScoresOutputTarget()])[0]
                scores.append(float(cam.outputs[0, 0].detach()))
                maps.append(cv2.resize(heat, (SQUARE, SQUARE)))
            fused = np.mean(maps, axis=0)
            score = float(np.mean(scores))
            rows.writerow([crop.name, grader.grade_of(score), score, float(fused.max())])
