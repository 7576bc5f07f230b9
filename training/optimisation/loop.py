"""Epoch after epoch, for every network that is trained here: resumable, and stopped in time."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from training.optimisation.checkpoints import TrainingState, resume, save

__all__ = ["Run", "train_epochs"]


class Run(ABC):
    """What one training run repeats; a subclass says what it learns from what.

    Args:
        clip: largest norm of the gradient; 0 for none.
    """

    def __init__(
        self,
        state: TrainingState,
        stem: Path,
        *,
        epochs: int,
        steps: int,
        batch: int,
        clip: float,
        device: torch.device,
        weights: tuple[float, ...] = (1.0,),
    ) -> None:
        self.state, self.stem, self.device = state, stem, device
        self.epochs, self.steps, self.batch, self.clip = epochs, steps, batch, clip
        self.weights = torch.tensor(weights, device=device)
        self.learnt = [p for group in state.optimiser.param_groups for p in group["params"]]

    def resumed(self) -> None:  # noqa: B027
        """Do what follows the reading of the checkpoint, whether there was one or not."""

    @abstractmethod
    def seed_of(self, epoch: int) -> int:
        """Return the seed of an epoch's chance."""

    @abstractmethod
    def rate_factor(self, step: int) -> float:
        """Return the learning rate of a step as a share of the largest."""

    @abstractmethod
    def batches(self, epoch: int) -> Iterable[Any]:
        """Return the batches of an epoch, and set the modules to training."""

    @abstractmethod
    def losses(self, batch: Any) -> Tensor:
        """Return the parts of the loss, float32 (parts,)."""

    def after_step(self) -> None:  # noqa: B027
        """Do what follows a step of the optimiser."""

    def measure(self, epoch: int) -> dict[str, Any]:  # noqa: ARG002
        """Return the figures of the epoch that has ended."""
        return {}

    def describe(self, losses: list[float]) -> dict[str, Any]:
        """Name the mean losses of an epoch."""
        return {"loss": losses[0]}

    def keep(self, line: dict[str, Any]) -> None:  # noqa: B027
        """Take note of an epoch's figures, before the checkpoint is written."""

    def write(self, lines: list[dict[str, Any]]) -> None:  # noqa: ARG002
        """Write the checkpoint; `lines` are the figures since the one before."""
        save(self.state, self.stem)


def train_epochs(
    run: Run,
    *,
    free: tuple[str, ...] = (),
    until: Callable[[], bool] | None = None,
    save_seconds: float = 0.0,
    describe: str | None = None,
) -> bool:
    """Train, going on where a killed run in the same folder stopped.

    Args:
        save_seconds: least time between two checkpoints; 0 writes one after every epoch.
        describe: title of a progress bar over the steps of an epoch; None for no bar.

    Raises:
        RunError: the folder holds a run with another recipe.
    """
    state = run.state
    resume(state, run.stem, free=free)
    run.resumed()
    schedule = schedule_of(run)
    pending: list[dict[str, Any]] = []
    saved = time.monotonic()
    for epoch in range(state.progress["epoch"], run.epochs):
        if until is not None and until():
            break
        torch.manual_seed(run.seed_of(epoch))
        started = time.perf_counter()
        bar = f"{describe} {epoch + 1}/{run.epochs}" if describe else None
        losses = run_epoch(run, schedule, epoch, bar)
        seconds = time.perf_counter() - started
        state.progress["epoch"] = epoch + 1
        line = {
            "epoch": epoch + 1,
            **run.describe(losses),
            "seconds": round(seconds, 3),
            "images_per_second": round(run.steps * run.batch / seconds, 2),
            **run.measure(epoch),
        }
        run.keep(line)
        pending.append(line)
        if epoch + 1 == run.epochs or time.monotonic() - saved >= save_seconds:
            run.write(pending)
            pending, saved = [], time.monotonic()
    if pending:
        run.write(pending)
    return bool(state.progress["epoch"] >= run.epochs)


def schedule_of(run: Run) -> LambdaLR:
    """Return the schedule of the learning rate, at the step that the run has come to."""
    optimiser = run.state.optimiser
    for group in optimiser.param_groups:
        group.setdefault("initial_lr", group["lr"])
    # Closed form in the step: nothing of it has to be stored.
    return LambdaLR(optimiser, run.rate_factor, last_epoch=run.state.progress["step"] - 1)


def run_epoch(run: Run, schedule: LambdaLR, epoch: int, bar: str | None = None) -> list[float]:
    """Train through the batches of an epoch once; returns the mean of each part of the loss."""
    optimiser = run.state.optimiser
    # Summed where they are made: to ask for a number each step would make the device wait.
    sums = torch.zeros_like(run.weights)
    steps = run.batches(epoch)
    for batch in tqdm(steps, desc=bar, total=run.steps, disable=bar is None):
        losses = run.losses(batch)
        optimiser.zero_grad(set_to_none=True)
        (losses * run.weights).sum().backward()
        if run.clip:
            nn.utils.clip_grad_norm_(run.learnt, run.clip)
        optimiser.step()
        schedule.step()
        run.state.progress["step"] += 1
        run.after_step()
        sums += losses.detach()
    means: list[float] = (sums / run.steps).tolist()  # waits for the device
    return means
