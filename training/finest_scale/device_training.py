"""Training the finest scale on whole photographs, on a device that holds many of them at once.

Each step looks at graded photographs, at photographs with masks and at healthy ones. Grades teach
the mean of the map through the link, masks and healthy eyes its cells: the losses of
`training.finest_scale.grade_training`, without its tiles, its bank and its arithmetic, which are
there because a processor looks at a few whole photographs a second.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from drcore.model.link import Link
from drcore.model.network import PRESETS, RamNetwork, retina_mean
from drcore.preprocessing.network_input import Preprocessing
from training.data.resident import ResidentSquares, to_device
from training.finest_scale.device_changes import (
    FineChange,
    draw_fine_change,
    label_batch,
    move_squares,
    paste_batch,
    similarity,
    tone_batch,
)
from training.finest_scale.grade_recipe import CAMERAS, GradeRecipe
from training.finest_scale.squares import OUTSIDE, FineSquares
from training.finest_scale.start import reachable
from training.finest_scale.tile_training import SHARP, Run, cell_loss, schedule
from training.finest_scale.tiles import CELL, find_dots
from training.optimisation.checkpoints import RunError
from training.optimisation.initial_weights import warm_start
from training.optimisation.precision import mixed_precision, prepare_device
from training.recipe import Recipe

__all__ = ["WHOLE", "WholeRecipe", "few_squares", "train_whole"]

_PLAIN = 0.35
_PASTED = (8, 33)  # in a whole photograph; a tile, an eighth of it, gets 1 to 4
_TILE_CELLS = 400  # the sum over the cells of a tile is what the recipes' weights are made for
_WARM, _TIMED = 3, 13  # steps that the plan takes the time of
_REPORT, _SAVE = 25, 100  # steps


@dataclass(frozen=True, slots=True)
class WholeRecipe:
    """What a run on whole photographs does.

    Attributes:
        grades: numbers that are shared with runs on tiles. Its steps are the most that are made;
            its photographs, and the counts of its tiles, are not used.
        graded, masked, healthy: photographs a step.
    """

    grades: GradeRecipe = CAMERAS
    graded: int = 16
    masked: int = 8
    healthy: int = 6


WHOLE = WholeRecipe()


@dataclass(frozen=True, slots=True)
class _Source:
    """Photographs on the device, and which of them serve for what."""

    squares: FineSquares
    resident: ResidentSquares
    masks: Tensor  # uint8 (N, 1, S, S)
    graded: list[int]
    chances: np.ndarray
    masked: list[int]
    healthy: list[list[int]]  # by data set, so that each is drawn alike
    spots: Tensor
    truth: Tensor  # float32 (N,), what the link is asked to give; 0 where there is no grade


@dataclass(frozen=True, slots=True)
class _Batch:
    """Squares on the device: first the graded ones, then those whose cells are known."""

    contrast: Tensor  # float32 (B, 3, S, S), 0-255
    masks: Tensor  # uint8 (B, S, S)
    healthy: Tensor  # bool (B,)
    truth: Tensor  # float32 (graded,)


def few_squares(squares: FineSquares, each: int = 2) -> FineSquares:
    """Return a few photographs with masks, and a few of each grade, to rehearse with."""
    taken: dict[int | None, list[int]] = {}
    for i, row in enumerate(squares.rows):
        taken.setdefault(row.grade, []).append(i)
    chosen = [i for places in taken.values() for i in places[:each]]
    rows = [squares.rows[i] for i in chosen]
    return FineSquares(
        rows, squares.contrast[chosen], squares.masks[chosen], squares.widths[chosen]
    )


def train_whole(
    recipe: WholeRecipe,
    squares: FineSquares,
    link: Link,
    out: Path,
    *,
    preparation: Preprocessing | None = None,
    device: str | None = None,
    until: float = float("inf"),
) -> bool:
    """Teach cells and sum; goes on where a run in the same folder stopped.

    On the first call the steps are chosen so that they end in time, the recipe's at most, and kept
    in the folder. It then holds what `training.finest_scale.finished.write_finished` reads.

    Args:
        recipe: what to do.
        squares: photographs with masks, healthy and graded ones.
        link: from the mean of the map to the score; it is not learnt.
        out: folder of the run. First weights packed beside it, `bundled-ram-1024`, are used.
        device: "cuda" or "cpu"; CUDA where there is one, if left out.
        until: of `time.monotonic`.

    Returns:
        Whether all steps are made.

    Raises:
        RunError: the folder holds a run of another recipe, or first weights or photographs are
            missing.
    """
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    prepare_device(where)
    out.mkdir(parents=True, exist_ok=True)
    _check_recipe(recipe, link, out)
    run = _started(recipe, where, out)
    source = _source(recipe, squares, link, where)
    plan, figures = _Plan(recipe, out, where, until), _Figures(out, where)
    first = run.done
    while run.done < plan.steps and time.monotonic() < until:
        batch = _drawn(source, recipe, run.done)
        with mixed_precision(where):
            loss, parts = _losses(run.network, batch, recipe, link, preparation or Preprocessing())
        loss.backward()
        run.update(schedule(run.done, plan.steps, 1 + plan.steps // 20), recipe.grades.average)
        figures.add(parts)
        plan.step_made(run.done)
        if run.done % _REPORT == 0:
            figures.write(run.done)
        if run.done % _SAVE == 0:
            run.save()
    if run.done > first:
        run.save()
        figures.write(run.done)
    return run.done >= plan.steps


class _Plan:
    """How many steps are made: those that fit into the time, the recipe's at most."""

    def __init__(self, recipe: WholeRecipe, out: Path, device: torch.device, until: float) -> None:
        self.file, self.device, self.until = out / "plan.json", device, until
        self.steps, self.decided = recipe.grades.steps, self.file.exists()
        if self.decided:
            self.steps = int(json.loads(self.file.read_text(encoding="utf-8"))["steps"])
        self.made, self.began = 0, 0.0

    def step_made(self, done: int) -> None:
        """Take the time of the first steps of a run, and decide."""
        self.made += 1
        if self.decided or self.made not in (_WARM, _TIMED):
            return
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.monotonic()
        if self.made == _WARM:  # the steps before choose algorithms
            self.began = now
            return
        each = (now - self.began) / (_TIMED - _WARM)
        fitting = done + 0.97 * max(0.0, self.until - now) / each
        self.steps = int(min(self.steps, max(fitting, done)))
        self.file.write_text(json.dumps({"steps": self.steps}) + "\n", encoding="utf-8")
        self.decided = True


class _Figures:
    """Mean figures of the steps since the last line."""

    def __init__(self, out: Path, device: torch.device) -> None:
        self.file = out / "grades.metrics.jsonl"
        self.sums, self.began = torch.zeros(5, device=device), time.monotonic()

    def add(self, parts: Tensor) -> None:
        """Add a step's; nothing waits for the device."""
        self.sums += parts

    def write(self, step: int) -> None:
        """Write a line, where there was a step since the last one; waits for the device."""
        cells, graded, held, false, count = self.sums.tolist()
        if not count:
            return
        line = {
            "step": step, "cells": round(cells / count, 4), "grades": round(graded / count, 4),
            "held": round(held / count, 4), "false": round(false / count, 5),
            "seconds": round((time.monotonic() - self.began) / count, 3),
        }  # fmt: skip
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.sums, self.began = torch.zeros_like(self.sums), time.monotonic()


def _check_recipe(recipe: WholeRecipe, link: Link, out: Path) -> None:
    """Keep recipe and link in the folder, or compare them with what is kept."""
    said = json.loads(json.dumps({**asdict(recipe), "preset": recipe.grades.tiles.preset}))
    kept = out / "grades.recipe.json"
    if kept.exists() and json.loads(kept.read_text(encoding="utf-8")) != said:
        raise RunError(
            f"{out.name} holds a run with another recipe: choose another folder, or the same "
            "recipe to go on."
        )
    kept.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    start = json.dumps({"link": asdict(link)}, indent=1) + "\n"
    (out / "start.json").write_text(start, encoding="utf-8")


def _started(recipe: WholeRecipe, device: torch.device, out: Path) -> Run:
    """The network that ships, its first blocks frozen, or the run that the folder holds."""
    preset = recipe.grades.tiles.preset
    network = RamNetwork(PRESETS[preset])
    warm_start(network, Recipe(preset, warm_start="bundled"), out.parent)
    frozen = recipe.grades.frozen
    if frozen:
        network.stem.requires_grad_(requires_grad=False)
        network.blocks[:frozen].requires_grad_(requires_grad=False)
    network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Run(network, recipe.grades.rate, recipe.grades.tiles.weight_decay, out / "grades")


def _source(recipe: WholeRecipe, squares: FineSquares, link: Link, device: torch.device) -> _Source:
    rows, grades = squares.rows, recipe.grades
    train = [i for i, row in enumerate(rows) if row.split == "train"]
    graded = [
        i for i in train if rows[i].grade is not None and rows[i].dataset in dict(grades.datasets)
    ]
    masked = [i for i in train if rows[i].mask is not None]
    healthy: dict[str, list[int]] = {}
    for i in train:
        if rows[i].grade == 0 and rows[i].dataset != "aptos2019":
            healthy.setdefault(rows[i].dataset, []).append(i)
    if not (graded and masked and healthy):
        raise RunError("The finest scale wants graded photographs, some with masks, and healthy.")
    own = np.array([rows[i].grade for i in graded])
    spots = [torch.from_numpy(s).permute(2, 0, 1) for s in find_dots(squares, masked).spots]
    resident = ResidentSquares(squares.contrast, device)
    masks = to_device(squares.masks[..., None], np.arange(len(rows)), device)
    truth = reachable(np.array([row.grade or 0 for row in rows]), link.ceiling)
    return _Source(
        squares, resident, masks, graded,
        grades.chances(own, np.array([rows[i].dataset for i in graded])), masked,
        list(healthy.values()),
        (torch.stack(spots) if spots else torch.zeros((0, 3, 32, 32))).to(device),
        torch.from_numpy(truth).float().to(device),
    )  # fmt: skip


def _drawn(source: _Source, recipe: WholeRecipe, number: int) -> _Batch:
    """The photographs of a step, changed; what is drawn follows from seed and number alone."""
    tiles = recipe.grades.tiles
    rng = np.random.default_rng((tiles.seed, number, 9))
    count = min(recipe.graded, int((source.chances > 0).sum()))
    graded = rng.choice(source.graded, count, replace=False, p=source.chances)
    masked = rng.choice(source.masked, recipe.masked)
    groups = rng.integers(len(source.healthy), size=recipe.healthy)
    healthy = [int(rng.choice(source.healthy[group])) for group in groups]
    chosen = np.array([*graded, *masked, *healthy], np.int64)
    first_healthy = count + recipe.masked
    changes = [
        _change(source, recipe, int(index), rng, by_grade=position < count)
        for position, index in enumerate(chosen)
    ]
    places = source.resident.places(chosen)
    values, masks = move_squares(
        source.resident.pixels[places], source.masks[places], [c.moved for c in changes]
    )
    for position in range(first_healthy, len(chosen)):
        if len(source.spots) and rng.random() < tiles.pasted:
            many = int(rng.integers(*_PASTED))
            paste_batch(values[position], masks[position], source.spots, many, rng)
    noise = torch.Generator(values.device).manual_seed(tiles.seed * 1_000_003 + number)
    known_healthy = (torch.arange(len(chosen)) >= first_healthy).to(values.device)
    tone = tone_batch(values, changes, noise)
    return _Batch(tone, masks, known_healthy, source.truth[places[:count]])


def _change(
    source: _Source, recipe: WholeRecipe, index: int, rng: np.random.Generator, *, by_grade: bool
) -> FineChange:
    grades = recipe.grades
    drawn = draw_fine_change(
        source.resident.pixels.shape[-1], grades.changes if by_grade else grades.tiles.changes,
        rng, sharp=bool(source.squares.widths[index] >= SHARP),
        plain=by_grade and rng.random() < _PLAIN,
    )  # fmt: skip
    # A zoom would cut off part of what was graded.
    moved = similarity(grades.tiles.changes.zoom, rng, quarters=by_grade)
    return replace(drawn, moved=replace(drawn.moved, similarity=moved))


def _losses(
    network: RamNetwork,
    batch: _Batch,
    recipe: WholeRecipe,
    link: Link,
    preparation: Preprocessing,
) -> tuple[Tensor, Tensor]:
    """The loss, and what is reported: losses of cells and grades, share held and false, count."""
    tiles, count = recipe.grades.tiles, len(batch.truth)
    inputs = (batch.contrast - preparation.mean) / preparation.std
    features = network.features(inputs.contiguous(memory_format=torch.channels_last))
    logits = network.cells(features).float() + network.linear.bias.float()
    with torch.autocast(logits.device.type, enabled=False):
        inside = (batch.masks[:count].bitwise_and(OUTSIDE) == 0).float()
        coverage = functional.avg_pool2d(inside[:, None], CELL)[:, 0]
        scores = link.score(retina_mean(functional.softplus(logits[:count]), coverage), torch)
        graded = functional.smooth_l1_loss(scores, batch.truth, beta=0.5)
        label, weight = label_batch(batch.masks[count:], batch.healthy[count:], tiles.bright)
        own = logits[count:]
        scale = _TILE_CELLS / max(1, own.numel())
        cells = cell_loss(own / tiles.temperature, label, weight, tiles) * scale
        with torch.no_grad():
            sure, known = torch.sigmoid(own), (label * weight).sum()
            held = (sure * label * weight).sum() / known.clamp_min(1e-6)
            false = (sure * (1 - label) * weight).sum() / ((1 - label) * weight).sum().clamp_min(1)
            parts = [cells.detach(), graded.detach(), held, false, torch.ones_like(held)]
    return cells + recipe.grades.grades * graded, torch.stack(parts)
