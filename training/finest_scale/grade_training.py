"""Teaching the finest scale the sum: `python -m training.finest grades --from FILE`.

A score is made of a photograph's 4,096 cells. While there is little time, the evidence of all cells
of all photographs is kept, and a step looks anew at two tiles of each of some photographs: the
loudest, and one anywhere. The photograph's mean is the kept one with the tiles' new cells in place;
its gradient reaches those cells. The last stage looks at all of a photograph. Tiles with masks go
on beside.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from drcore.files import replacing
from drcore.model.link import Link
from drcore.model.network import PRESETS, RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from training.finest_scale.grade_recipe import GradeRecipe
from training.finest_scale.growth import load_grown
from training.finest_scale.maps import coverage_of, logit_maps
from training.finest_scale.squares import FineSquares
from training.finest_scale.start import Start, fit_start, reachable
from training.finest_scale.tile_training import (
    SHARP,
    Run,
    _sources,
    logits_of,
    normalised,
    schedule,
    shared,
    started,
    tile_jobs,
)
from training.finest_scale.tiles import CELL, change_tone
from training.optimisation.arithmetic import Folded, step

__all__ = ["train_grades"]

_CELLS = 20  # a side of a tile
_EDGE = 2  # cells along a tile's border whose surroundings are cut off: they are not renewed
_INNER = _CELLS - 2 * _EDGE


class Bank:
    """Evidence of all cells of the graded training photographs, as it was last seen.

    Args:
        squares: the photographs.
        indices: their places among the squares.
        logits: float (N, m, m), one a graded training photograph.
    """

    def __init__(
        self, squares: FineSquares, indices: list[int], logits: NDArray[np.float32]
    ) -> None:
        self.squares, self.indices = squares, indices
        self._places = {index: place for place, index in enumerate(indices)}
        self.cells = np.logaddexp(0, logits)
        self.share = np.stack([coverage_of(squares, i, logits.shape[1]) for i in indices])
        self.grades = np.array([squares.rows[i].grade for i in indices])
        self.datasets = np.array([squares.rows[i].dataset for i in indices])

    def chances(self, recipe: GradeRecipe) -> NDArray[np.float64]:
        """Probability with which each photograph is drawn."""
        return recipe.chances(self.grades, self.datasets)

    def means(self) -> NDArray[np.float64]:
        """Mean of each map over the retina."""
        return np.asarray((self.cells * self.share).sum((1, 2)) / self.share.sum((1, 2)))

    def loudest(self, index: int, rng: np.random.Generator) -> tuple[float, float]:
        """A loud place of a photograph, x and y in pixels of its square."""
        place = self._places[index]
        loud = np.minimum(self.cells[place], 1.0) * self.share[place]
        chance = loud.astype(np.float64) ** 2 + 1e-12
        flat = int(rng.choice(chance.size, p=(chance / chance.sum()).ravel()))
        row, column = divmod(flat, loud.shape[1])
        return (column + 0.5) * CELL, (row + 0.5) * CELL

    def tile(self, place: int, rng: np.random.Generator, *, loudest: bool) -> tuple[int, int]:
        """First row and column of a tile's renewed cells."""
        last = self.cells.shape[1] - _INNER - _EDGE
        if loudest:
            loud = np.minimum(self.cells[place], 1.0) * self.share[place]
            # One of the windows by chance, the loud ones more often.
            window = cv2.boxFilter(loud, -1, (_INNER, _INNER), anchor=(0, 0), normalize=False)
            chance = window[_EDGE : last + 1, _EDGE : last + 1].astype(np.float64) ** 3 + 1e-12
            flat = int(rng.choice(chance.size, p=(chance / chance.sum()).ravel()))
            return _EDGE + flat // chance.shape[1], _EDGE + flat % chance.shape[1]
        row, column = rng.integers(_EDGE, last + 1, 2)
        return int(row), int(column)


def _turned(array: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """One of the eight ways to lay a square."""
    array = np.rot90(array, turn % 4)
    return np.ascontiguousarray(array[:, ::-1] if turn >= 4 else array)


def _back(values: Tensor, turn: int) -> Tensor:
    """Undo `_turned` for the last two axes."""
    values = values.flip(-1) if turn >= 4 else values
    return torch.rot90(values, -(turn % 4), (-2, -1))


def grade_jobs(
    folded: Folded, bank: Bank, chances: NDArray[np.float64], recipe: GradeRecipe, link: Link,
    preparation: Preprocessing, number: int,
) -> list[Callable[[list[Tensor]], tuple[Tensor, Tensor]]]:  # fmt: skip
    """The graded photographs of one step, one to a job."""
    rng = np.random.default_rng((recipe.tiles.seed, number, 7))
    places = rng.choice(len(chances), recipe.photographs, replace=False, p=chances)

    def job(place: int, leaves: list[Tensor]) -> tuple[Tensor, Tensor]:
        own = np.random.default_rng((recipe.tiles.seed, number, 8, place))
        index = bank.indices[place]
        sharp = bool(bank.squares.widths[index] >= SHARP)
        # As it was seen at first in most steps, so that the kept cells stay what is graded.
        plain = own.random() < 0.35
        if recipe.entire:
            edge, inner, starts = 0, bank.cells.shape[1], [(0, 0)]
        else:
            edge, inner = _EDGE, _INNER
            starts = [bank.tile(place, own, loudest=loudest) for loudest in (True, False)]
        turns, shown, side = own.integers(0, 8, len(starts)), [], (inner + 2 * edge) * CELL
        for (row, column), turn in zip(starts, turns, strict=True):
            top, left = (row - edge) * CELL, (column - edge) * CELL
            part = np.asarray(bank.squares.contrast[index, top : top + side, left : left + side])
            part = part if plain else change_tone(part, recipe.changes, own, sharp=sharp)
            shown.append(_turned(part, int(turn)))
        logits = logits_of(folded, normalised(shown, preparation), leaves)
        total = torch.tensor(float((bank.cells[place] * bank.share[place]).sum()))
        for (row, column), turn, z in zip(starts, turns, logits, strict=True):
            seen = slice(edge, edge + inner)
            new = functional.softplus(_back(z, int(turn))[seen, seen])
            where = (slice(row, row + inner), slice(column, column + inner))
            kept = bank.cells[place][where]
            share = torch.from_numpy(bank.share[place][where])
            total = total + ((new - torch.from_numpy(kept)) * share).sum()
            if plain or not recipe.plain_bank:
                kept += (1.0 if recipe.entire else 0.7) * (new.detach().numpy() - kept)
        score = link.score(total.clamp_min(0) / float(bank.share[place].sum()), torch)
        truth = torch.tensor(float(reachable(bank.grades[place], link.ceiling)))
        loss = functional.smooth_l1_loss(score, truth, beta=0.5)
        figures = torch.stack([loss.detach(), (score - truth).detach() ** 2, torch.ones(())])
        return loss * (recipe.grades / recipe.photographs), functional.pad(figures, (5, 0))

    return [lambda leaves, p=int(p): job(p, leaves) for p in places]  # type: ignore[misc]


def _padded(
    job: Callable[[list[Tensor]], tuple[Tensor, Tensor]],
) -> Callable[[list[Tensor]], tuple[Tensor, Tensor]]:
    def run(leaves: list[Tensor]) -> tuple[Tensor, Tensor]:
        loss, figures = job(leaves)
        return loss, functional.pad(figures, (0, 3))

    return run


def train_grades(
    recipe: GradeRecipe, squares: FineSquares, start: Path, out: Path,
    preparation: Preprocessing, threads: int = 2,
) -> RamNetwork:  # fmt: skip
    """Teach the sum, beside the cells.

    Args:
        recipe: what to do.
        squares: photographs with masks, healthy and graded ones.
        start: weights of `training.finest`.
        out: folder of the run; one that was killed goes on.
        preparation: how squares become input.
        threads: that share a step.

    Returns:
        The network.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    sources = _sources(squares)
    network = started(recipe.tiles.preset)
    if recipe.grown_from is None:
        network.load_state_dict(load_file(start))
    else:
        load_grown(network, RamNetwork(PRESETS[recipe.grown_from]), load_file(start))
    indices = [
        i for i, row in enumerate(squares.rows)
        if row.split == "train" and row.grade is not None and row.dataset in dict(recipe.datasets)
    ]  # fmt: skip
    (out / "grades.recipe.json").write_text(json.dumps(asdict(recipe), indent=1))
    with ThreadPoolExecutor(threads) as pool:
        logits = _first_maps(network, squares, indices, preparation, out, pool)
        bank = Bank(squares, indices, logits)
        chances = bank.chances(recipe)
        sources = replace(sources, loudest=bank.loudest)
        begin = _begin(bank, logits, chances, recipe, start, out)
        begin.apply(network)
        run = Run(network, recipe.rate, recipe.tiles.weight_decay, out / "grades")
        if run.done:
            bank.cells = np.load(out / "bank.npy").astype(np.float32)
        else:
            bank.cells = np.logaddexp(0, begin.factor * logits + np.float32(begin.offset))
        folded = Folded(run.network, recipe.frozen)
        sums, began = torch.zeros(8), time.perf_counter()
        while run.done < recipe.steps:
            jobs = grade_jobs(folded, bank, chances, recipe, begin.link, preparation, run.done)
            tiles = tile_jobs(folded, sources, recipe.tiles, preparation, run.done)
            sums += step(shared(folded), [*jobs, *map(_padded, tiles)], pool)
            run.update(schedule(run.done, recipe.steps), recipe.average)
            if run.done % 25 == 0 or run.done == recipe.steps:
                _log(run, sums, time.perf_counter() - began, bank, recipe, begin.link, out)
                sums, began = torch.zeros(8), time.perf_counter()
            if run.done % 50 == 0 or run.done == recipe.steps:
                _save(run, bank, recipe, out)
    return run.network


def _save(run: Run, bank: Bank, recipe: GradeRecipe, out: Path) -> None:
    """Write what a killed run goes on from, and now and then a copy of the averaged weights."""
    run.save()
    if recipe.keep_every and run.done % recipe.keep_every == 0:
        kept = run.file.with_name(f"step{run.done}.safetensors")
        shutil.copy(run.file.with_suffix(".average.safetensors"), kept)
    np.save(out / "bank.npy", bank.cells.astype(np.float16))


def _begin(
    bank: Bank,
    logits: NDArray[np.float32],
    chances: NDArray[np.float64],
    recipe: GradeRecipe,
    start: Path,
    out: Path,
) -> Start:
    """The start of a run, fitted once and kept in its folder."""
    kept = out / "start.json"
    if not kept.exists():
        if recipe.keep_link:
            begin = Start(1.0, 0.0, Start.read(start.with_name("start.json")).link)
        else:
            begin = fit_start(
                logits, bank.share, bank.grades, chances, recipe.knee, recipe.ceiling
            )  # fmt: skip
        kept.write_text(json.dumps(asdict(begin), indent=1))
    return Start.read(kept)


def _first_maps(
    network: RamNetwork, squares: FineSquares, indices: list[int], preparation: Preprocessing,
    out: Path, pool: ThreadPoolExecutor,
) -> NDArray[np.float32]:  # fmt: skip
    """Logits of the weights that the run starts from, kept in its folder."""
    kept = out / "first.npy"
    if not kept.exists():
        maps = np.stack(list(logit_maps(network, squares, indices, preparation, pool)))
        with replacing(kept) as part, part.open("wb") as file:
            np.save(file, maps)
    return np.asarray(np.load(kept), np.float32)


def _log(
    run: Run,
    sums: Tensor,
    seconds: float,
    bank: Bank,
    recipe: GradeRecipe,
    link: Link,
    out: Path,
) -> None:
    scores = link.score(bank.means())
    line = {
        "step": run.done,
        "cells": round(float(sums[0]) / 25, 4),
        "held": round(float(sums[1] / sums[2]), 4),
        "false": round(float(sums[3] / sums[4]), 5),
        "grades": round(float(sums[5] / sums[7]), 4),
        "squared": round(float(sums[6] / sums[7]), 4),
        "r": {
            name: round(float(np.corrcoef(scores[own], bank.grades[own])[0, 1]), 3)
            for name, _ in recipe.datasets
            if name != "healthy"
            for own in [bank.datasets == name]
        },
        "seconds": round(seconds / 25, 2),
    }
    with (out / "grades.metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
