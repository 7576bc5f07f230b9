"""Teaching the finest scale the sum: `python -m training.finest grades --from FILE`.

A score is made of a photograph's 4,096 cells, too many to learn from all of them at each step. So
the evidence of all cells of all photographs is kept, and a step looks anew at two tiles of each of
some photographs: the loudest, and one anywhere. The photograph's mean is the kept one with the
tiles' new cells in place; its gradient reaches those cells. Tiles with masks go on beside.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from drcore.files import replacing
from drcore.model.network import RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from training.finest_scale.maps import Link, coverage_of, logit_maps
from training.finest_scale.squares import FineSquares
from training.finest_scale.tile_training import (
    Run,
    TileRecipe,
    _sources,
    logits_of,
    normalised,
    schedule,
    shared,
    started,
    tile_jobs,
)
from training.finest_scale.tiles import CELL, TileChanges, change_tone
from training.optimisation.arithmetic import Folded, step

__all__ = ["CAMERAS", "GRADES", "GradeRecipe", "train_grades"]

_CELLS = 20  # a side of a tile
_EDGE = 2  # cells along a tile's border whose surroundings are cut off: they are not renewed
_INNER = _CELLS - 2 * _EDGE


@dataclass(frozen=True, slots=True)
class GradeRecipe:
    """What a run on grades does.

    Attributes:
        tiles: the tiles with masks beside, see `TileRecipe`; its steps and rate are not used.
        steps: of the optimiser.
        photographs: with grades a step; two tiles each.
        grades: weight of the loss of grades beside that of cells.
        changes: random changes of graded photographs; of their tone alone.
        class_power: photographs of a grade are drawn with weight (1 / its frequency) ** power,
            within each data set; data sets by `datasets`.
        datasets: share of the photographs by data set.
        rate: largest learning rate of AdamW.
        average: decay a step of the moving average.
        knee: of the link from the mean of the map to the score; the rest of it, and a line from
            logits to logits that the run starts with, are fitted to the first maps.
        frozen: blocks from the input that stay as they are.
        ceiling: of the link, see `Link`; grades near and above it are learnt as a little less.
        plain_bank: whether kept cells are renewed only by photographs as they are, not changed.
        keep_every: steps between copies of the averaged weights; 0: none.
    """

    tiles: TileRecipe = field(
        default_factory=lambda: TileRecipe(
            dots=6, others=2, anywhere=2, healthy=4, temperature=3.0, seed=21
        )
    )
    steps: int = 1400
    photographs: int = 6
    grades: float = 10.0
    changes: TileChanges = field(
        default_factory=lambda: TileChanges(coarse=0.2, coarse_factor=2.0, noise_sigma=8.0)
    )
    class_power: float = 0.5
    datasets: tuple[tuple[str, float], ...] = (
        ("messidor2", 0.40), ("eyepacs", 0.30), ("idrid", 0.18), ("healthy", 0.12),
    )  # fmt: skip
    rate: float = 2e-4
    average: float = 0.995
    knee: float = 0.002
    frozen: int = 5
    ceiling: float | None = None
    plain_bank: bool = False
    keep_every: int = 0


GRADES = GradeRecipe()

_CAMERAS = TileChanges(
    gain=0.5, colour=0.3, coarse=0.4, coarse_factor=2.6, noise_sigma=9.0, mix=0.15, sharpen=0.2
)

CAMERAS = GradeRecipe(
    tiles=TileRecipe(
        dots=5, others=2, anywhere=1, healthy=6, temperature=3.0, bright=0.3, loud=0.5,
        changes=_CAMERAS, seed=31,
    ),
    steps=900,
    changes=replace(_CAMERAS, coarse_factor=3.5),
    datasets=(
        ("messidor2", 0.30), ("eyepacs", 0.32), ("idrid", 0.14), ("healthy", 0.14),
        ("aptos2019", 0.10),
    ),
    frozen=3,
    ceiling=2.5,
    plain_bank=True,
    keep_every=100,
)  # fmt: skip
"""Goes on from `GRADES`: more cameras, photographs of few pixels, loud places of healthy eyes."""


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
        chances = np.zeros(len(self.indices))
        for name, weight in recipe.datasets:
            own = self.datasets == name
            counts = np.bincount(self.grades[own], minlength=5)
            each = np.where(own, counts[self.grades].clip(1) ** -recipe.class_power, 0.0)
            chances += weight * each / max(each.sum(), 1e-9)
        return chances / chances.sum()

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
        sharp = bool(bank.squares.widths[index] >= 800)
        # As it was seen at first in most steps, so that the kept cells stay what is graded.
        plain = own.random() < 0.35
        starts = [bank.tile(place, own, loudest=loudest) for loudest in (True, False)]
        turns, shown = own.integers(0, 8, 2), []
        for (row, column), turn in zip(starts, turns, strict=True):
            top, left = (row - _EDGE) * CELL, (column - _EDGE) * CELL
            side = _CELLS * CELL
            part = np.asarray(bank.squares.contrast[index, top : top + side, left : left + side])
            part = part if plain else change_tone(part, recipe.changes, own, sharp=sharp)
            shown.append(_turned(part, int(turn)))
        logits = logits_of(folded, normalised(shown, preparation), leaves)
        total = torch.tensor(float((bank.cells[place] * bank.share[place]).sum()))
        area = float(bank.share[place].sum())
        for (row, column), turn, z in zip(starts, turns, logits, strict=True):
            inner = _back(z, int(turn))[_EDGE:-_EDGE, _EDGE:-_EDGE]
            new = functional.softplus(inner)
            where = (slice(row, row + _INNER), slice(column, column + _INNER))
            share = torch.from_numpy(bank.share[place][where])
            total = total + ((new - torch.from_numpy(bank.cells[place][where])) * share).sum()
            if plain or not recipe.plain_bank:
                kept = bank.cells[place][where]
                kept += 0.7 * (new.detach().numpy() - kept)
        score = link.bias + link.slope * torch.log1p(total.clamp_min(0) / area / link.knee)
        truth = torch.tensor(float(reachable(bank.grades[place], link.ceiling)))
        if link.ceiling is not None:
            score = link.ceiling * torch.tanh(score / link.ceiling)
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


def reachable(grades: NDArray[np.int64], ceiling: float | None) -> NDArray[np.float64]:
    """What the link is asked to give for grades: a little less than its ceiling at most."""
    return np.minimum(np.asarray(grades, float), np.inf if ceiling is None else 0.9 * ceiling)


@dataclass(frozen=True, slots=True)
class Start:
    """What a run on grades starts with: logits `factor * z + offset`, and the link."""

    factor: float
    offset: float
    link: Link


def fit_start(
    logits: NDArray[np.float32],
    share: NDArray[np.float32],
    grades: NDArray[np.float64],
    chances: NDArray[np.float64],
    knee: float,
    ceiling: float | None = None,
) -> Start:
    """Choose the line from logits to logits, and the link, with which maps tell the grade best.

    Args:
        logits: float (N, m, m).
        share: float (N, m, m), share of each cell that is retina.
        grades: (N,).
        chances: (N,), weights, sum 1.
        knee: of the link.
        ceiling: of the link.

    Returns:
        The start of smallest squared error.
    """
    grades = reachable(grades, ceiling)
    if ceiling is not None:
        grades = ceiling * np.arctanh(grades / ceiling)
    best = (np.inf, Start(1.0, 0.0, Link(0.0, 1.0, knee)))
    for factor in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0):
        for zero in np.arange(-2.0, 2.51, 0.5):
            cells = np.logaddexp(0, factor * (logits - np.float32(zero)))
            means = (cells * share).sum((1, 2)) / share.sum((1, 2))
            x = np.log1p(means / knee)
            centre, middle = chances @ x, chances @ grades
            slope = (chances @ ((x - centre) * (grades - middle))) / (chances @ (x - centre) ** 2)
            bias = middle - slope * centre
            error = float(chances @ (bias + slope * x - grades) ** 2)
            if error < best[0]:
                link = Link(round(float(bias), 3), round(float(slope), 4), knee, ceiling)
                best = (error, Start(factor, float(-factor * zero), link))
    return best[1]


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
    network.load_state_dict(load_file(start))
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
        begin = _begin(bank, logits, chances, recipe, out)
        with torch.no_grad():
            network.linear.weight *= begin.factor
            network.linear.bias *= begin.factor
            network.linear.bias += begin.offset
        run = Run(network, recipe.rate, recipe.tiles.weight_decay, out / "grades")
        if run.done:
            bank.cells = np.load(out / "bank.npy").astype(np.float32)
        else:
            bank.cells = np.logaddexp(0, begin.factor * logits + np.float32(begin.offset))
        folded, sums, began = (
            Folded(run.network, recipe.frozen),
            torch.zeros(8),
            time.perf_counter(),
        )
        while run.done < recipe.steps:
            jobs = grade_jobs(folded, bank, chances, recipe, begin.link, preparation, run.done)
            tiles = tile_jobs(folded, sources, recipe.tiles, preparation, run.done)
            sums += step(shared(folded), [*jobs, *map(_padded, tiles)], pool)
            run.update(schedule(run.done, recipe.steps), recipe.average)
            if run.done % 25 == 0 or run.done == recipe.steps:
                _log(run, sums, time.perf_counter() - began, bank, recipe, begin.link, out)
                sums, began = torch.zeros(8), time.perf_counter()
            if run.done % 50 == 0 or run.done == recipe.steps:
                run.save()
                if recipe.keep_every and run.done % recipe.keep_every == 0:
                    kept = run.file.with_name(f"step{run.done}.safetensors")
                    shutil.copy(run.file.with_suffix(".average.safetensors"), kept)
                np.save(out / "bank.npy", bank.cells.astype(np.float16))
    return run.network


def _begin(
    bank: Bank,
    logits: NDArray[np.float32],
    chances: NDArray[np.float64],
    recipe: GradeRecipe,
    out: Path,
) -> Start:
    """The start of a run, fitted once and kept in its folder."""
    kept = out / "start.json"
    if not kept.exists():
        begin = fit_start(
            logits, bank.share, bank.grades, chances, recipe.knee, recipe.ceiling
        )  # fmt: skip
        kept.write_text(json.dumps(asdict(begin), indent=1))
    read = json.loads(kept.read_text())
    return Start(read["factor"], read["offset"], Link(**read["link"]))


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
