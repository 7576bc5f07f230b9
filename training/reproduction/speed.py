"""How fast a published network trains, and how near that is to what the device can do."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from training.data.labels import Labelled
from training.data.resident import ResidentSquares
from training.optimisation.loop import run_epoch, schedule_of
from training.reproduction.networks import Head, Layout, PublishedNetwork
from training.reproduction.recipe import PublishedRecipe, published
from training.reproduction.trainer import Acceleration, PublishedRun

__all__ = [
    "compare_heads",
    "fastest",
    "flops_of",
    "limit_of",
    "noise_photographs",
    "profile",
    "speed_of_network",
]


def flops_of(recipe: PublishedRecipe, head: Head) -> int:
    """Count the floating point operations of one photograph, forward and backward."""
    return _flops(recipe.net, head, recipe.untied, recipe.norm)


@functools.cache
def _flops(layout: Layout, head: Head, untied: bool, norm: bool) -> int:  # noqa: FBT001
    size = layout.input_size
    # On no device: shapes are what counts, and drawing orthogonal weights takes seconds.
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = PublishedNetwork(layout, head=head, untied=untied, norm=norm).train()
        network(torch.zeros(2, 3, size, size)).sum().backward()
    return int(counter.get_total_flops()) // 2


def limit_of(device: torch.device, seconds: float = 1.0) -> float:
    """Time a large matrix product, bfloat16 on CUDA, else float32: the limit, in operations/s."""
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

    An epoch is the one of `training.reproduction.trainer`: drawing, warping, colour,
    forward, backward and optimiser, with nothing left out.

    Args:
        layout: key of `LAYOUTS`.
        steps: batches to time; the epoch is then extrapolated. 0: a whole epoch.
        repeats: epochs (or runs of `steps` batches) of each head; the median counts.
        batch: photographs a step; the published number where 0.

    Returns:
        Device, and for each head seconds an epoch, images/s, TFLOP/s and their share of the limit
        measured by `limit_of`; "ratio" of the epochs, GAP over FC.
    """
    recipe = published(layout)
    recipe = replace(recipe, batch=batch or recipe.batch, resampling=False)
    count = steps * recipe.batch if steps else photographs
    limit = limit_of(device)
    seconds = _seconds(recipe, count, stored, device, repeats, acceleration)
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
        flops = flops_of(recipe, head)
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


def _seconds(
    recipe: PublishedRecipe,
    count: int,
    stored: int,
    device: torch.device,
    repeats: int,
    acceleration: Acceleration,
    heads: tuple[Head, ...] = ("fc", "gap"),
) -> dict[Head, list[float]]:
    """Seconds of an epoch of `count` photographs with each head, in turn."""
    rows, resident = noise_photographs(recipe, count, stored, device)
    seconds: dict[Head, list[float]] = {head: [] for head in heads}
    runs = {}
    for head in seconds:
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
    return seconds


def fastest(layout: str, device: torch.device, *, steps: int = 40) -> dict[str, Any]:
    """Time some steps of the GAP network with each acceleration; on processors there is none.

    Returns:
        "acceleration", the fastest, and by acceleration the images a second, or why it failed.
    """
    if device.type != "cuda":
        return {"acceleration": "none"}
    recipe = replace(published(layout), resampling=False)
    tried: dict[str, float | str] = {}
    for kind in get_args(Acceleration):
        count = steps * recipe.batch
        try:
            seconds = _seconds(recipe, count, 1024, device, 1, kind, heads=("gap",))["gap"][0]
            tried[kind] = round(count / seconds, 1)
        except Exception as error:  # noqa: BLE001 - compilers raise whatever they like
            tried[kind] = f"{type(error).__name__}: {str(error)[:120]}"
    rates = {kind: rate for kind, rate in tried.items() if isinstance(rate, float)}
    return {"acceleration": max(rates, key=lambda kind: rates[kind], default="none"), **tried}


def speed_of_network(layout: str, speeds: Sequence[Mapping[str, Any]]) -> Acceleration:
    """Return what proved fastest for a network, at any size; "none" where none was timed."""
    net = layout.rpartition("-")[0].replace("fine", "net-5")
    chosen: list[Acceleration] = [
        speed["acceleration"] for speed in speeds if speed["layout"].rpartition("-")[0] == net
    ]
    return chosen[0] if chosen else "none"


def profile(layout: str, device: torch.device, *, steps: int = 20, batch: int = 0) -> str:
    """Return a table of what takes the time in a training step of the GAP network."""
    recipe = published(layout)
    recipe = replace(recipe, batch=batch or recipe.batch, resampling=False)
    rows, resident = noise_photographs(recipe, steps * recipe.batch, 512, device)
    run = PublishedRun(recipe, rows, resident, Path())
    schedule = schedule_of(run)
    run_epoch(run, schedule, 0)
    with torch.profiler.profile(record_shapes=False) as watched:
        run_epoch(run, schedule, 1)
    order = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    table: str = watched.key_averages().table(sort_by=order, row_limit=30)
    return table


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
