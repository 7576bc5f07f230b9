"""Training the runs of a plan, and measuring them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.data.labels import Labelled
from training.data.resident import ResidentSquares
from training.reproduction.blend import blend_features, fit_blend
from training.reproduction.kaggle import eye_of, pair_eyes
from training.reproduction.networks import PublishedNetwork
from training.reproduction.photographs import CroppedPhotographs
from training.reproduction.plan import LEFT_OUT, Budget, Run, plain
from training.reproduction.processes import rank_and_count
from training.reproduction.recipe import PublishedRecipe
from training.reproduction.scoring import predict
from training.reproduction.trainer import Acceleration, fit
from training.reproduction.tta import halton_changes, view
from training.reproduction.weights import load_kept

__all__ = ["load_results", "perform"]

_KAGGLE_SETS = ("public", "private")


def perform(
    run: Run,
    budget: Budget,
    photographs: CroppedPhotographs,
    runs: Path,
    *,
    acceleration: Acceleration = "none",
    until: Callable[[], bool] | None = None,
    save_seconds: float = 0.0,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Train a run, or go on with it, and measure it; a finished one is only read.

    Returns:
        What is in the run's `result.json` (nothing in other processes than the first): recipe,
        indices, grades and scores ("plain", "views" and, where patients have two eyes, "blend").
    """
    folder = runs / run.name
    file = folder / "result.json"
    if file.exists():
        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored["recipe"] == json.loads(json.dumps(plain(run.recipe))):
            return dict(stored)
    recipe = run.recipe
    rows, resident = photographs.rows, photographs.resident(recipe.net.photograph)
    start = runs / recipe.start / "best-kappa" if recipe.start else None
    history = fit(
        recipe, rows, resident, folder, start=start, acceleration=acceleration, report=report,
        until=until, save_seconds=save_seconds,
    )  # fmt: skip
    if len(history) < recipe.epochs:
        return {}  # the time is over
    if rank_and_count()[0] != 0:
        return {}  # the first process measures; the others meet it in the next run
    network = load_kept(recipe, folder)
    network.to(photographs.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    measured = _measured_sets(rows)
    result: dict[str, Any] = {
        "name": run.name,
        "recipe": plain(recipe),
        "history": history,
        "photographs": {s: sum(row.split == s for row in rows) for s in ("train", "val")},
        "views": budget.views,
        "sets": {
            name: _measure(network, resident, rows, indices, recipe)
            for name, indices in measured.items()
        },
    }
    # Views cost more than the training of a small network: only where a table wants them.
    wanted = recipe.head == "gap" or "test" in measured
    whole = not any(word in run.name for word in (*LEFT_OUT, "fine"))
    if budget.views and wanted and whole and recipe.net.photograph <= budget.views_up_to:
        _measure_views(result, network, resident, rows, measured, recipe, budget.views)
    file.write_text(json.dumps(result) + "\n", encoding="utf-8")
    return result


def _measure(
    network: PublishedNetwork,
    resident: ResidentSquares,
    rows: list[Labelled],
    indices: np.ndarray,
    recipe: PublishedRecipe,
) -> dict[str, Any]:
    """Scores of a set of photographs, beside what is known of them."""
    scores = predict(network, resident, indices, bfloat16=recipe.bfloat16)
    return {
        "grades": [rows[i].grade for i in indices],
        "patients": [f"{rows[i].dataset}/{rows[i].patient}" for i in indices],
        "datasets": [rows[i].dataset for i in indices],
        "plain": scores.round(5).tolist(),
    }


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
    """Read the results of all finished runs."""
    results = {}
    for file in sorted(runs.glob("*/result.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        results[str(result["name"])] = result
    return results
