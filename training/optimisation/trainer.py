"""Training one network."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from drcore.agreement.statistics import quadratic_weighted_kappa
from drcore.model.network import PRESETS, RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from training.data.labels import Labelled
from training.data.lesion_squares import LesionSquares
from training.data.squares import Sample, Squares, network_input
from training.optimisation.checkpoints import (
    Progress,
    RunError,
    TrainingState,
    resume,
    save,
    save_average,
)
from training.optimisation.epochs import EpochBatches
from training.optimisation.initial_weights import warm_start
from training.optimisation.lesion_task import LesionHead
from training.optimisation.linear_refit import refit
from training.optimisation.losses import losses
from training.optimisation.predict import scores_of
from training.recipe import Recipe

__all__ = ["train"]


_BATCHES_FOR_STATISTICS = 24


def train(
    recipe: Recipe,
    squares: Squares,
    out: Path,
    *,
    preparation: Preprocessing | None = None,
    device: str | None = None,
    workers: int = 1,
    lesions: LesionSquares | None = None,
    measure_every: int = 1,
    quiet: bool = False,
) -> RamNetwork:
    """Train one network; goes on where a killed run in the same folder stopped.

    After each epoch the folder holds `<preset>.state.safetensors` (weights, their average,
    optimiser), `<preset>.state.json` (recipe and progress), `<preset>.average.safetensors` (the
    averaged weights, which are what is used: after the last epoch, and whenever they were
    measured) and one more line in `<preset>.metrics.jsonl`.

    Args:
        recipe: what to do.
        squares: labelled photographs; rows of the split "train" are trained on, "val" measured.
            Their lessons are what a recipe with a teacher learns.
        out: folder of the run.
        preparation: how squares become input.
        device: "cuda" or "cpu"; CUDA where there is one, if left out.
        workers: processes that augment; on CUDA the device does that itself.
        lesions: photographs with masks, for a recipe that uses them.
        measure_every: epochs from one measurement on the validation split to the next.
        quiet: no progress bar.

    Returns:
        The network with averaged weights, in evaluation mode.

    Raises:
        RunError: the folder holds a run of another recipe or teacher, or the warm start, the masks
            or the teacher are missing.
    """
    preparation = preparation or Preprocessing()
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    out.mkdir(parents=True, exist_ok=True)
    if recipe.lesions and lesions is None:
        raise RunError(f"The recipe of {recipe.preset} learns from lesion masks: give some.")
    if recipe.taught and squares.lessons is None:
        raise RunError(f"The recipe of {recipe.preset} has a teacher: give one.")
    learner = _beginner(recipe, out, where)
    if recipe.taught and squares.lessons is not None:
        learner.progress.teacher = squares.lessons.teacher
    resume(learner, out)
    feed = EpochBatches(
        squares,
        lesions,
        recipe,
        preparation,
        where,
        # A graphics card waits for processors that change one photograph after the other.
        resident=where.type == "cuda",
        workers=workers,
    )
    for epoch in range(learner.progress.epoch, recipe.epochs):
        started = time.perf_counter()
        torch.manual_seed(recipe.seed * 1_000_003 + epoch)
        grades, found = _epoch(learner, feed, epoch, preparation, quiet=quiet)
        learner.progress.epoch = epoch + 1
        seconds = time.perf_counter() - started
        line: dict[str, object] = {
            "preset": recipe.preset,
            "epoch": learner.progress.epoch,
            "loss": round(grades, 5),
            **({"lesion_loss": round(found, 5)} if recipe.lesions else {}),
            "seconds": round(seconds, 1),
            "images_per_second": round(feed.steps * recipe.batch / seconds, 1),
        }
        if learner.progress.epoch in {recipe.epochs, *range(0, recipe.epochs, measure_every)}:
            line |= _measured(learner, feed, epoch, preparation)
        save(learner, out)
        with (out / f"{recipe.preset}.metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if not quiet:
            tqdm.write(json.dumps(line))
    finished = _with_weights(learner.network, learner.average)
    if recipe.refit is not None:
        refit(
            finished, squares, feed.training, feed.chances, preparation,
            ridge=recipe.refit.ridge, calm=recipe.refit.calm,
        )  # fmt: skip
        save_average(finished.state_dict(), recipe.preset, out)
    return finished


def _beginner(recipe: Recipe, out: Path, device: torch.device) -> TrainingState:
    """What a run starts with."""
    torch.manual_seed(recipe.seed)
    network = RamNetwork(PRESETS[recipe.preset])
    warm_start(network, recipe, out)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    _freeze(network, recipe.frozen)
    _skip_blocks(network, recipe.depth_drop)
    head = LesionHead(network.linear.in_features).to(device) if recipe.lesions else None
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return TrainingState(
        recipe, network, head, average, _optimiser(network, head, recipe), Progress()
    )


def _epoch(
    learner: TrainingState,
    feed: EpochBatches,
    epoch: int,
    preparation: Preprocessing,
    *,
    quiet: bool,
) -> tuple[float, float]:
    """Train through the photographs once; returns the mean losses of grades and of lesions."""
    recipe, network, optimiser = learner.recipe, learner.network, learner.optimiser
    network.train(_norms_learn(recipe))
    # Summed where they are made: to ask for a number each step would make the device wait.
    sums = torch.zeros(2, device=next(network.parameters()).device)
    learnt = [p for group in optimiser.param_groups for p in group["params"]]
    bar = tqdm(
        feed.steps_of(epoch), desc=f"{recipe.preset} {epoch + 1}/{recipe.epochs}",
        total=feed.steps, disable=quiet,
    )  # fmt: skip
    for batch, annotated in bar:
        grades, found = losses(
            network, learner.head, batch, annotated, preparation, recipe.sparsity
        )
        for group in optimiser.param_groups:
            group["lr"] = _rate(learner.progress.step, feed.steps * recipe.epochs, recipe)
        optimiser.zero_grad(set_to_none=True)
        (grades + recipe.lesions * found).backward()
        nn.utils.clip_grad_norm_(learnt, 5.0)
        optimiser.step()
        learner.progress.step += 1
        # Short at first, so that the random start is soon forgotten.
        decay = min(recipe.average, learner.progress.step / (learner.progress.step + 10))
        _update_average(learner.average, network, decay)
        sums += torch.stack([grades.detach(), found.detach()])
    grades_mean, lesions_mean = (sums / feed.steps).tolist()
    return grades_mean, lesions_mean


def _measured(
    learner: TrainingState, feed: EpochBatches, epoch: int, preparation: Preprocessing
) -> dict[str, object]:
    """Make the averaged weights usable and measure them on the validation split."""
    averaged = _with_weights(learner.network, learner.average)
    if _norms_learn(learner.recipe):
        _measure_statistics(averaged, feed.first_of(epoch, _BATCHES_FOR_STATISTICS), preparation)
        _copy_statistics(averaged, learner.average)
    if not len(feed.validation):
        return {}
    scores = scores_of(averaged, feed.plain(feed.validation), preparation)
    return _agreement(scores, [feed.squares.rows[i] for i in feed.validation])


def _measure_statistics(
    network: RamNetwork, batches: Iterable[Sample], preparation: Preprocessing
) -> None:
    """Measure batch norm statistics afresh: averaged weights never met those that were averaged."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
        norm.train()
    device = next(network.parameters()).device
    with torch.no_grad():
        for pixels, coverage, _ in batches:
            network(network_input(pixels, preparation, device), coverage.to(device))
    network.eval()


def _copy_statistics(source: RamNetwork, weights: dict[str, Tensor]) -> None:
    for name, value in source.state_dict().items():
        if "running_" in name:
            weights[name].copy_(value)


def _norms_learn(recipe: Recipe) -> bool:
    """Whether norms take their statistics from the batch."""
    return not (recipe.frozen or recipe.keep_norms)


def _freeze(network: RamNetwork, blocks: int) -> None:
    """Take the stem and the first blocks out of what is learnt; nothing is kept for them then."""
    if blocks:
        network.stem.requires_grad_(requires_grad=False)
        network.blocks[:blocks].requires_grad_(requires_grad=False)


def _skip_blocks(network: RamNetwork, last: float) -> None:
    """While training, leave out what residual blocks add, by chance and by photograph."""
    count = len(network.blocks)
    for index, block in enumerate(network.blocks):
        if last and getattr(block, "residual", False):
            probability = last * (index + 1) / count

            def skip(
                module: nn.Module, _given: object, result: Tensor, probability: float = probability
            ) -> Tensor:
                if not module.training:
                    return result
                kept = torch.rand((len(result), 1, 1, 1), device=result.device) >= probability
                return result * (kept / (1 - probability)).to(result.dtype)

            block.project.register_forward_hook(skip)


def _rate(step: int, total: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to 1 % of the largest rate."""
    warm = max(1, round(recipe.warmup * total))
    if step < warm:
        return recipe.rate * (step + 1) / warm
    along = (step - warm) / max(1, total - warm)
    return recipe.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * along)))


def _optimiser(network: RamNetwork, head: LesionHead | None, recipe: Recipe) -> torch.optim.AdamW:
    learnt = [p for p in network.parameters() if p.requires_grad]
    learnt += [] if head is None else list(head.parameters())
    decayed = [p for p in learnt if p.dim() > 1]
    plain = [p for p in learnt if p.dim() <= 1]
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=recipe.rate,
    )


def _update_average(average: dict[str, Tensor], network: RamNetwork, decay: float) -> None:
    with torch.no_grad():
        moving: list[tuple[Tensor, Tensor]] = []
        for name, value in network.state_dict().items():
            if value.is_floating_point() and "running_" not in name:
                moving.append((average[name], value))
            else:
                average[name].copy_(value)
        torch._foreach_lerp_([a for a, _ in moving], [v for _, v in moving], 1 - decay)


def _with_weights(network: RamNetwork, weights: dict[str, Tensor]) -> RamNetwork:
    """A copy of the network in evaluation mode with other weights."""
    copy = RamNetwork(network.config).to(next(network.parameters()).device)
    copy.load_state_dict(weights)
    return copy.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def _agreement(scores: np.ndarray, rows: list[Labelled]) -> dict[str, object]:
    """Squared error, and kappa of rounded scores, of all and of each dataset."""
    truth = np.array([row.grade for row in rows])
    given = np.clip(np.round(scores), 0, 4).astype(int)
    datasets = np.array([row.dataset for row in rows])
    kappas = {
        f"kappa_{name}": round(
            quadratic_weighted_kappa(truth[datasets == name], given[datasets == name]), 4
        )
        for name in sorted(set(datasets))
    }
    return {
        "val_mse": round(float(np.mean((scores - truth) ** 2)), 4),
        "val_kappa": round(quadratic_weighted_kappa(truth, given), 4),
        **kappas,
    }
