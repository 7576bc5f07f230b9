"""How fast a published network trains, and how near that is to what the device can do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from training.data.labels import Labelled
from training.data.resident import ResidentSquares
from training.optimisation.loop import run_epoch, schedule_of
from training.reproduction.networks import Head
from training.reproduction.recipe import PublishedRecipe, published
from training.reproduction.trainer import Acceleration, PublishedRun
from training.reproduction.weights import build

__all__ = ["compare_heads", "flops_of", "limit_of", "noise_photographs"]


def flops_of(recipe: PublishedRecipe, head: Head) -> int:
    """Count the floating point operations of one photograph, forward and backward.

    Args:
        recipe: gives layout, biases and norm.
        head: "gap" or "fc".

    Returns:
        Operations (a multiplication and an addition are two), convolutions and dense layers only.
    """
    size = recipe.net.input_size
    network = build(replace(recipe, head=head)).train()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(2, 3, size, size)).sum().backward()
    return int(counter.get_total_flops()) // 2


def limit_of(device: torch.device, seconds: float = 1.0) -> float:
    """Measure the arithmetic limit: a large square matrix product, bfloat16 on CUDA, else float32.

    Args:
        device: what to measure.
        seconds: how long to repeat it; the best repetition counts.

    Returns:
        Floating point operations a second.
    """
    cuda = device.type == "cuda"
    side = 8192 if cuda else 2048
    kind = torch.bfloat16 if cuda else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until or best == float("inf"):
        _wait(device)
        started = time.perf_counter()
        a @ b
        _wait(device)
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best


def noise_photographs(
    recipe: PublishedRecipe, count: int, stored: int, device: torch.device
) -> tuple[list[Labelled], ResidentSquares]:
    """Make noise that costs what photographs cost, for measuring where there are none.

    Args:
        recipe: gives the side of the photographs.
        count: photographs an epoch.
        stored: how many of them differ; the others repeat them.
        device: where they live.

    Returns:
        `count` rows, grades 0-4 in turn, and their photographs.
    """
    rows = [Labelled(Path(f"{i}"), i % 5, "noise", "train", str(i)) for i in range(count)]
    side = recipe.net.photograph
    pixels = np.random.default_rng(0).integers(
        0, 256, (min(count, stored), side, side, 3), dtype=np.uint8
    )
    return rows, ResidentSquares(pixels, device).repeated(count)


def compare_heads(
    layout: str,
    device: torch.device,
    *,
    photographs: int = 35126,
    stored: int = 4096,
    steps: int = 0,
    repeats: int = 3,
    batch: int = 0,
    acceleration: Acceleration = "none",
) -> dict[str, Any]:
    """Time an epoch with the FC head and with the GAP head, in turn in one process.

    An epoch is the one of `training.reproduction.trainer`: drawing, warping, colour, forward, backward
    and optimiser, with nothing left out.

    Args:
        layout: key of `LAYOUTS`.
        device: where.
        photographs: of an epoch; those stored are repeated to make it up.
        stored: photographs on the device.
        steps: batches to time; the epoch is then extrapolated. 0: a whole epoch.
        repeats: epochs (or runs of `steps` batches) of each head; the median counts.
        batch: photographs a step; the published number where 0.
        acceleration: of a step.

    Returns:
        Device, and for each head seconds an epoch, images/s, TFLOP/s and their share of the limit
        measured by `limit_of`; "ratio" of the epochs, GAP over FC.
    """
    recipe = published(layout)
    recipe = replace(recipe, batch=batch or recipe.batch, resampling=False)
    count = steps * recipe.batch if steps else photographs
    rows, resident = noise_photographs(recipe, count, stored, device)
    limit = limit_of(device)
    seconds: dict[str, list[float]] = {"fc": [], "gap": []}
    runs = {}
    for head in ("fc", "gap"):
        run = PublishedRun(
            replace(recipe, head=head), rows, resident, Path(), acceleration=acceleration
        )
        runs[head] = run, schedule_of(run)
        every, run.train, run.steps = run.train, run.train[: 2 * recipe.batch], 2
        run_epoch(*runs[head], 0)  # what is compiled or captured on first use is not timed
        run.train, run.steps = every, max(1, count // recipe.batch)
    for epoch in range(repeats):
        for head, (run, schedule) in runs.items():
            _wait(device)
            started = time.perf_counter()
            run_epoch(run, schedule, epoch)
            seconds[head].append(time.perf_counter() - started)
    result: dict[str, Any] = {
        "layout": layout,
        "device": _name(device),
        "photographs": photographs,
        "timed_photographs": count,
        "batch": recipe.batch,
        "acceleration": acceleration,
        "limit_tflops": limit / 1e12,
    }
    for head, times in seconds.items():
        rate = count / float(np.median(times))
        flops = flops_of(recipe, "fc" if head == "fc" else "gap")
        result[head] = {
            "seconds_per_epoch": photographs / rate,
            "images_per_second": rate,
            "gflop_per_image": flops / 1e9,
            "tflops": flops * rate / 1e12,
            "share_of_limit": flops * rate / limit,
            "repeats_seconds": [round(t, 3) for t in times],
        }
    result["ratio"] = _median_ratio(seconds["gap"], seconds["fc"])
    return result


def _median_ratio(gap: Sequence[float], fc: Sequence[float]) -> float:
    # Neighbours in time share whatever else the machine does: the ratio of pairs is steadier.
    return float(np.median(np.array(gap) / np.array(fc)))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} processor threads"
