"""Which runs fill which cells of the reproduction, and what is measured of each."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.data.labels import Labelled
from training.data.resident import ResidentSquares
from training.reproduction.blend import blend_features, fit_blend
from training.reproduction.kaggle import eye_of, pair_eyes
from training.reproduction.networks import Head, PublishedNetwork
from training.reproduction.preprocessing import Photographs
from training.reproduction.processes import rank_and_count
from training.reproduction.recipe import PublishedRecipe, published
from training.reproduction.scoring import predict
from training.reproduction.trainer import Acceleration, fit
from training.reproduction.tta import halton_changes, view
from training.reproduction.weights import load_kept

__all__ = ["CELLS", "Budget", "Run", "load_results", "perform", "plan"]

CELLS = ("heads", "sizes", "switches")
"""Groups of runs: FC against GAP; 128, 256 and 512 px; each piece of the recipe left out."""

_KAGGLE_SETS = ("public", "private")


@dataclass(frozen=True, slots=True)
class Run:
    """A training run of the plan.

    Attributes:
        name: folder of the run, and what reports call it.
        recipe: what it does.
    """

    name: str
    recipe: PublishedRecipe


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of the published effort a reproduction spends.

    Attributes:
        nets: "net-5", "net-5-pad1", "net-4", in the order of the report.
        sizes: photograph sides to train, smallest first: each starts from the one before.
        head_size: photograph side at which heads are compared.
        epochs: by size; published where a size is not named.
        batch: photographs a step by size; published where a size is not named.
        rate: learning rate, the published one where None.
        clip: largest norm of the gradient, 0 for none (published).
        norm: batch norm as in the paper's fork.
        seeds: of the comparison of heads; the first one serves everything else.
        views: of test-time augmentation; 0 for none.
        views_up_to: largest photograph side at which they are looked at.
        bfloat16: multiply in bfloat16 on processors too.
    """

    nets: tuple[str, ...] = ("net-5", "net-4")
    sizes: tuple[int, ...] = (128, 256, 512)
    head_size: int = 512
    epochs: tuple[tuple[int, int], ...] = ()
    batch: tuple[tuple[int, int], ...] = ()
    rate: float | None = None
    clip: float = 0.0
    norm: bool = False
    seeds: tuple[int, ...] = (0, 1, 2)
    views: int = 50
    views_up_to: int = 512
    bfloat16: bool = False

    def recipe(self, layout: str, **changes: Any) -> PublishedRecipe:
        """Return the recipe of a layout under this budget."""
        base = published(layout)
        side = base.net.photograph
        fields: dict[str, Any] = {
            "norm": self.norm, "clip": self.clip, "bfloat16": self.bfloat16,
        }  # fmt: skip
        if side in dict(self.epochs):
            fields["epochs"] = dict(self.epochs)[side]
        if side in dict(self.batch):
            fields["batch"] = dict(self.batch)[side]
        if self.rate is not None:
            fields["rate"] = self.rate
        return replace(base, **(fields | changes))


def plan(budget: Budget, cells: Sequence[str]) -> list[Run]:
    """List the runs that fill the cells, each after the one that it starts from.

    Args:
        budget: how much effort.
        cells: some of `CELLS`.

    Returns:
        Runs without repetition.
    """
    runs: dict[str, Run] = {}
    first, net, small = budget.seeds[0], budget.nets[0], budget.sizes[0]
    if "heads" in cells:
        for name, seed, head in itertools.product(budget.nets, budget.seeds, ("fc", "gap")):
            _staged(runs, budget, name, budget.head_size, head, seed)
    if "sizes" in cells:
        _staged(runs, budget, net, max(budget.sizes), "gap", first)
    if "switches" in cells:
        _staged(runs, budget, net, small, "gap", first)
        _add(runs, budget, net, small, "gap", first, "no-resampling")
        _add(runs, budget, net, small, "gap", first, "no-colour")
        if len(budget.sizes) > 1:
            _staged(runs, budget, net, budget.sizes[1], "gap", first)
            _add(runs, budget, net, budget.sizes[1], "gap", first, "not-staged")
    return list(runs.values())


_LEFT_OUT: dict[str, dict[str, Any]] = {
    "no-resampling": {"resampling": False},
    "no-colour": {"colour": 0.0},
    "not-staged": {},  # only without a start, which is how all but staged runs begin
}


def _staged(
    runs: dict[str, Run], budget: Budget, net: str, side: int, head: Head, seed: int
) -> None:
    """Add the run of this size after those of the smaller ones, each the start of the next."""
    start = ""
    for size in budget.sizes:
        if size <= side:
            recipe = budget.recipe(f"{net}-{size}", head=head, seed=seed, start=start)
            start = f"{net}-{size}-{head}-s{seed}"
            runs.setdefault(start, Run(start, recipe))


def _add(
    runs: dict[str, Run], budget: Budget, net: str, size: int, head: Head, seed: int, word: str
) -> None:
    """Add a run that leaves one piece of the recipe out."""
    name = f"{net}-{size}-{head}-{word}-s{seed}"
    recipe = budget.recipe(f"{net}-{size}", head=head, seed=seed, **_LEFT_OUT[word])
    runs[name] = Run(name, recipe)


def perform(
    run: Run,
    budget: Budget,
    rows: list[Labelled],
    runs: Path,
    cache: Path,
    device: torch.device,
    *,
    acceleration: Acceleration = "none",
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Train a run, or go on with it, and measure it; a finished one is only read.

    Args:
        run: what to do.
        budget: gives the number of views.
        rows: labelled photographs.
        runs: folder of all runs; this one's is below.
        cache: folder for cropped photographs.
        device: where.
        acceleration: of a step.
        report: called with each epoch's figures.

    Returns:
        What is in the run's `result.json` (nothing in other processes than the first): recipe,
        indices, grades and scores ("plain", "views" and, where patients have two eyes, "blend").
    """
    folder = runs / run.name
    file = folder / "result.json"
    if file.exists():
        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored["recipe"] == json.loads(json.dumps(_plain(run.recipe))):
            return dict(stored)
    recipe = run.recipe
    photographs = Photographs.build(rows, cache, recipe.net.photograph, quiet=True)
    resident = ResidentSquares(photographs.pixels, device)
    start = runs / recipe.start / "best-kappa" if recipe.start else None
    history = fit(
        recipe, rows, resident, folder, start=start, acceleration=acceleration, report=report
    )
    if rank_and_count()[0] != 0:
        return {}  # the first process measures; the others meet it in the next run
    network = load_kept(recipe, folder)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    result: dict[str, Any] = {
        "name": run.name,
        "recipe": _plain(recipe),
        "history": history,
        "views": budget.views,
        "sets": {},
    }
    measured = _measured_sets(rows)
    for name, indices in measured.items():
        scores = predict(network, resident, indices, bfloat16=recipe.bfloat16)
        result["sets"][name] = {
            "grades": [rows[i].grade for i in indices],
            "patients": [f"{rows[i].dataset}/{rows[i].patient}" for i in indices],
            "datasets": [rows[i].dataset for i in indices],
            "plain": scores.round(5).tolist(),
        }
    # Views cost more than the training of a small network: only where a table wants them.
    wanted = recipe.head == "gap" or "test" in measured
    whole = not any(word in run.name for word in _LEFT_OUT)
    if budget.views and wanted and whole and recipe.net.photograph <= budget.views_up_to:
        _measure_views(result, network, resident, rows, measured, recipe, budget.views)
    file.write_text(json.dumps(result) + "\n", encoding="utf-8")
    return result


def _measure_views(
    result: dict[str, Any],
    network: PublishedNetwork,
    resident: ResidentSquares,
    rows: list[Labelled],
    measured: dict[str, np.ndarray],
    recipe: PublishedRecipe,
    count: int,
) -> None:
    changes = halton_changes(count, recipe)
    train = np.array([i for i, row in enumerate(rows) if row.split == "train"])
    partner = pair_eyes(rows)
    eyes = np.array([eye_of(row.path.name) == "right" for row in rows])
    paired = partner != np.arange(len(rows))
    learn = train[paired[train]]
    blend = None
    if len(learn) >= 50:
        # The other eye is of the same patient, hence of the same split: it is among them.
        place = {int(index): k for k, index in enumerate(learn)}
        views = view(network, resident, learn, changes, bfloat16=recipe.bfloat16)
        other = np.array([place[int(partner[i])] for i in learn])
        features = blend_features(views, other, eyes[learn])
        blend = fit_blend(features, np.array([rows[i].grade for i in learn]), seed=recipe.seed)
    for name, indices in measured.items():
        views = view(network, resident, indices, changes, bfloat16=recipe.bfloat16)
        entry = result["sets"][name]
        entry["views"] = views.scores.round(5).tolist()
        entry["paired"] = paired[indices].tolist()
        if blend is not None:
            place = {int(index): k for k, index in enumerate(indices)}
            other = np.array([place[int(partner[i])] for i in indices])
            scores = blend.scores(blend_features(views, other, eyes[indices]))
            entry["blend"] = scores.round(5).tolist()


def _measured_sets(rows: Sequence[Labelled]) -> dict[str, np.ndarray]:
    """Validation and, where the competition's solution is there, its public and private parts.

    Nothing else that is marked "test" is touched: it is not for choosing among runs.
    """
    sets = {"val": np.array([i for i, row in enumerate(rows) if row.split == "val"], np.int64)}
    test = [i for i, r in enumerate(rows) if r.split == "test" and r.dataset in _KAGGLE_SETS]
    if test:
        sets["test"] = np.array(test, np.int64)
    return {name: indices for name, indices in sets.items() if len(indices)}


def load_results(runs: Path) -> dict[str, dict[str, Any]]:
    """Read the results of all finished runs.

    Args:
        runs: folder of the runs.

    Returns:
        By name of the run.
    """
    results = {}
    for file in sorted(runs.glob("*/result.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        results[str(result["name"])] = result
    return results


def _plain(recipe: PublishedRecipe) -> dict[str, Any]:
    return dict(json.loads(json.dumps(asdict(recipe))))
