"""The whole reproduction under a time limit, most valuable cells first: `--plan gpu`.

A group of runs that does not fit into its part of the time runs at a share of its epochs, the same
for all of its runs, so that FC and GAP stay comparable. The share is decided when the group begins
and kept in `plan.json`: a later call goes on with it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from drcore.files import replacing
from training.optimisation.checkpoints import remove_tensors
from training.reproduction.comparison import PUBLISHED
from training.reproduction.photographs import CroppedPhotographs
from training.reproduction.plan import Budget, Run, add_left_out, add_staged
from training.reproduction.runs import perform
from training.reproduction.speed import flops_of, speed_of_network
from training.reproduction.trainer import Acceleration

__all__ = ["Group", "carry_out", "groups", "listing", "seconds_of"]

LEAST_SHARE = 0.05
"""A group that fits with less of its epochs than this is left for another call."""

_USED = 0.9
"""Share of the time left that is planned with: an estimate is no promise."""

_ASSUMED = {"cuda": 25e12, "cpu": 5e10}
"""Operations a second of a training step, before any was timed."""

_OVERHEAD = 2e-5
"""Seconds a photograph for what is no arithmetic: warp, colour, optimiser."""

_SAVE_SECONDS = 30.0
_LEAST_SECONDS = 60.0
"""With less time left no further speed is measured."""


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that only mean something together.

    Attributes:
        name: of the group.
        runs: each after the one that it starts from.
        portion: largest part of the time left that the group may take, 0-1.
    """

    name: str
    runs: tuple[Run, ...]
    portion: float = 1.0


def groups(budget: Budget) -> list[Group]:
    """List the groups of runs, most valuable first; a run stands in the first that needs it."""
    first, *others = budget.seeds
    side, net = max(budget.sizes), budget.nets[0]
    known: dict[str, Run] = {}

    def group(name: str, portion: float, add: Callable[[dict[str, Run]], None]) -> Group:
        wanted: dict[str, Run] = {}
        add(wanted)
        fresh = {key: run for key, run in wanted.items() if key not in known}
        known.update(fresh)
        return Group(name, tuple(fresh.values()), portion)

    def heads(name: str, seed: int) -> Callable[[dict[str, Run]], None]:
        def add(runs: dict[str, Run]) -> None:
            for head in ("fc", "gap"):
                add_staged(runs, budget, name, side, head, seed)  # type: ignore[arg-type]

        return add

    def switches(runs: dict[str, Run]) -> None:
        small = budget.sizes[0]
        add_left_out(runs, budget, net, small, "gap", first, "no-resampling")
        add_left_out(runs, budget, net, small, "gap", first, "no-colour")
        if len(budget.sizes) > 1:
            add_left_out(runs, budget, net, budget.sizes[1], "gap", first, "not-staged")

    made = [
        group(f"FC and GAP, {net}, seed {first}", 0.75, heads(net, first)),
        group(
            f"networks of the maps, seed {first}",
            0.6,
            lambda runs: add_staged(runs, budget, "fine", side, "gap", first),
        ),
    ]
    made += [group(f"FC and GAP, {net}, seed {seed}", 1.0, heads(net, seed)) for seed in others]
    made += [
        group(f"FC and GAP, {name}, seed {first}", 1.0, heads(name, first))
        for name in budget.nets[1:]
    ]
    return [*made, group(f"switches, {net}, seed {first}", 1.0, switches)]


def seconds_of(
    run: Run, counts: Mapping[str, int], speeds: Sequence[Mapping[str, Any]], device: str
) -> float:
    """Estimate the seconds of a run from its arithmetic and the speeds measured so far.

    Args:
        run: what to estimate.
        counts: photographs by split.
        speeds: of `training.reproduction.speed.compare_heads`, on this device.
        device: "cuda" or "cpu".
    """
    recipe = run.recipe
    operations = flops_of(recipe, recipe.head)
    measured = [speed[recipe.head]["tflops"] * 1e12 for speed in speeds]
    rate = max(measured) if measured else _ASSUMED[device]
    step = operations / rate + _OVERHEAD
    # Forward alone is a third of a step.
    return recipe.epochs * (counts["train"] + counts["val"] / 3) * step


def shortened(group: Group, share: float) -> Group:
    """Return the group with a share of the epochs of each run."""
    runs = []
    for run in group.runs:
        epochs = max(1, round(run.recipe.epochs * share))
        runs.append(replace(run, recipe=replace(run.recipe, epochs=epochs)))
    return replace(group, runs=tuple(runs))


def listing(
    budget: Budget, counts: Mapping[str, int], speeds: Sequence[Mapping[str, Any]], device: str
) -> str:
    """Lay out the cells at full effort as text, in their order, with estimated seconds."""
    lines = [f"{'cell':<44}{'epochs':>8}{'seconds':>10}"]
    timed = {"train": 2 * PUBLISHED["training_photographs"], "val": 0}  # an epoch with each head
    for net in budget.nets:
        recipe = replace(budget.recipe(f"{net}-{max(budget.sizes)}"), epochs=1)
        seconds = seconds_of(Run("speed", recipe), timed, speeds, device)
        lines.append(f"{f'speed, {recipe.layout}':<52}{seconds:>10,.0f}")
    for group in groups(budget):
        times = [seconds_of(run, counts, speeds, device) for run in group.runs]
        lines.append(f"{group.name:<52}{sum(times):>10,.0f}")
        lines += [
            f"  {run.name:<42}{run.recipe.epochs:>8}{seconds:>10,.0f}"
            for run, seconds in zip(group.runs, times, strict=True)
        ]
    return "\n".join(lines)


def carry_out(
    budget: Budget,
    photographs: CroppedPhotographs,
    runs: Path,
    *,
    deadline: float,
    speeds: Callable[[], Sequence[Mapping[str, Any]]],
    time_net: Callable[[str], None],
    after_group: Callable[[], None],
) -> None:
    """Train the groups one after the other until the time is over.

    Args:
        budget: nets, sizes and seeds; full epochs.
        photographs: on the device.
        runs: folder of all runs, with `plan.json`.
        deadline: value of `time.monotonic()` at which to stop.
        speeds: returns what was measured on this device.
        time_net: measures the speed of a net, "net-5" or "net-4", if that was not done before.
        after_group: called after each group, to write results.
    """
    device = photographs.device.type
    rows = photographs.rows
    counts = {split: sum(row.split == split for row in rows) for split in ("train", "val")}
    file = runs / "plan.json"
    shares: dict[str, float] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    time_net(budget.nets[0])
    for group in groups(budget):
        for net in budget.nets:
            if any(run.recipe.layout.startswith(net) for run in group.runs) and _left(deadline):
                time_net(net)
        left = deadline - time.monotonic()
        share = shares.get(group.name)
        missing = [run for run in group.runs if not (runs / run.name / "result.json").exists()]
        needed = sum(seconds_of(run, counts, speeds(), device) for run in missing)
        if share is None:
            share = min(1.0, round(_USED * group.portion * left / needed, 3)) if needed else 1.0
        elif not missing:
            continue
        if left <= 0 or share < LEAST_SHARE:
            print(f"{group.name}: does not fit ({needed:,.0f} s, {max(0, left):,.0f} s left)")
            continue
        shares[group.name] = share
        with replacing(file) as part:
            part.write_text(json.dumps(shares, indent=1) + "\n", encoding="utf-8")
        print(f"{group.name}: {share:.0%} of the epochs, about {share * needed:,.0f} s", flush=True)
        whole = _train_group(shortened(group, share), budget, photographs, runs, deadline, speeds())
        after_group()
        if not whole:
            print("The time is over: the same command goes on here.")
            return


def _left(deadline: float) -> bool:
    return time.monotonic() + _LEAST_SECONDS < deadline


def _train_group(
    group: Group,
    budget: Budget,
    photographs: CroppedPhotographs,
    runs: Path,
    deadline: float,
    speeds: Sequence[Mapping[str, Any]],
) -> bool:
    """Train the runs of a group; False where the time was over before the end."""
    for run in group.runs:
        started = time.monotonic()
        result = perform(
            run, budget, photographs, runs, acceleration=_acceleration(run, speeds),
            until=lambda: time.monotonic() > deadline, save_seconds=_SAVE_SECONDS,
        )  # fmt: skip
        if not result:
            return False
        # The next stage starts from the best weights: the others are not worth carrying away.
        for name in ("state", "best-mse", "last"):
            remove_tensors(runs / run.name / name)
        best = max(line.get("kappa", float("nan")) for line in result["history"])
        seconds = time.monotonic() - started
        print(f"  {run.name}: {len(result['history'])} epochs, best kappa {best:.3f}, "
              f"{seconds:,.0f} s", flush=True)  # fmt: skip
    return True


def _acceleration(run: Run, speeds: Sequence[Mapping[str, Any]]) -> Acceleration:
    """What proved fastest; graphs for small inputs, which are not worth compiling."""
    chosen: Acceleration = speed_of_network(run.recipe.layout, speeds)
    if chosen == "compile" and run.recipe.net.photograph < 512:
        graphs = any(isinstance(speed["tried"].get("graph"), float) for speed in speeds)
        return "graph" if graphs else "none"
    return chosen
