"""Which runs fill which cells of the reproduction."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from training.reproduction.networks import Head
from training.reproduction.recipe import PublishedRecipe, published

__all__ = ["CELLS", "LEFT_OUT", "Budget", "Run", "add_left_out", "add_staged", "plain", "plan"]

CELLS = ("heads", "sizes", "switches")
"""Groups of runs: FC against GAP; 128, 256 and 512 px; each piece of the recipe left out."""


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
        cells: some of `CELLS`.
    """
    runs: dict[str, Run] = {}
    first, net, small = budget.seeds[0], budget.nets[0], budget.sizes[0]
    if "heads" in cells:
        for name, seed, head in itertools.product(budget.nets, budget.seeds, ("fc", "gap")):
            add_staged(runs, budget, name, budget.head_size, head, seed)
    if "sizes" in cells:
        add_staged(runs, budget, net, max(budget.sizes), "gap", first)
    if "switches" in cells:
        add_staged(runs, budget, net, small, "gap", first)
        add_left_out(runs, budget, net, small, "gap", first, "no-resampling")
        add_left_out(runs, budget, net, small, "gap", first, "no-colour")
        if len(budget.sizes) > 1:
            add_staged(runs, budget, net, budget.sizes[1], "gap", first)
            add_left_out(runs, budget, net, budget.sizes[1], "gap", first, "not-staged")
    return list(runs.values())


LEFT_OUT: dict[str, dict[str, Any]] = {
    "no-resampling": {"resampling": False},
    "no-colour": {"colour": 0.0},
    "not-staged": {},  # only without a start, which is how all but staged runs begin
}


def add_staged(
    runs: dict[str, Run], budget: Budget, net: str, side: int, head: Head, seed: int
) -> None:
    """Add the run of this size after those of the smaller ones, each the start of the next."""
    start = ""
    for size in budget.sizes:
        if size <= side:
            recipe = budget.recipe(f"{net}-{size}", head=head, seed=seed, start=start)
            start = f"{net}-{size}-{head}-s{seed}"
            runs.setdefault(start, Run(start, recipe))


def add_left_out(
    runs: dict[str, Run], budget: Budget, net: str, size: int, head: Head, seed: int, word: str
) -> None:
    """Add a run that leaves one piece of the recipe out."""
    name = f"{net}-{size}-{head}-{word}-s{seed}"
    recipe = budget.recipe(f"{net}-{size}", head=head, seed=seed, **LEFT_OUT[word])
    runs[name] = Run(name, recipe)


def plain(recipe: PublishedRecipe) -> dict[str, Any]:
    """Return a recipe as JSON has it."""
    return dict(json.loads(json.dumps(asdict(recipe))))
