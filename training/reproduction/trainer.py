"""Training a published network: one process or several, resumable, three kept weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from drcore.files import replacing
from training.data.labels import Labelled
from training.data.resident import ResidentSquares
from training.data.sampling import draw
from training.optimisation.checkpoints import (
    RunError,
    TrainingState,
    save,
    write_tensors,
)
from training.optimisation.loop import Run, train_epochs
from training.optimisation.precision import mixed_precision
from training.reproduction.augmentation import (
    GEOMETRY,
    PublishedInput,
    colour_noise,
    matrices,
    unchanged,
)
from training.reproduction.processes import rank_and_count, wait_for_all
from training.reproduction.recipe import PublishedRecipe, grade_weights
from training.reproduction.scoring import figures_of, predict
from training.reproduction.weights import build, start_from

__all__ = ["Acceleration", "Draw", "PublishedRun", "draw_epoch", "fit"]

Acceleration = Literal["none", "compile", "graph"]
"""How a step is made faster: not at all, compiled (worth its minute on a GPU), or replayed as a
CUDA graph (worth it where kernels are shorter than their launch)."""


@dataclass(frozen=True, slots=True)
class Draw:
    """An epoch: indices int64 (n,), changes float32 (n, 2, 3), colours float32 (n, 3)."""

    indices: NDArray[np.int64]
    changes: NDArray[np.float32]
    colours: NDArray[np.float32]


def draw_epoch(
    rows: Sequence[Labelled], indices: NDArray[np.int64], recipe: PublishedRecipe, epoch: int
) -> Draw:
    """Choose the photographs of an epoch and their random changes.

    Everything comes from seed and epoch alone, so that neither a resumed run nor one on several
    devices sees other photographs.

    Args:
        indices: int64 (n,), those to train on.
        epoch: counted from 0.
    """
    rng = np.random.default_rng((recipe.seed, epoch))
    count = max(1, len(indices) // recipe.batch) * recipe.batch
    weights = None
    if recipe.resampling:
        weights = grade_weights(epoch * recipe.pace)[[rows[i].grade for i in indices]]
    chosen = draw(rng, indices, count, weights)
    if recipe.geometry:
        changes = matrices(rng.random((count, GEOMETRY)), recipe)
    else:
        changes = unchanged(count, recipe.net)
    return Draw(chosen, changes, colour_noise(rng, count, recipe.colour))


def fit(
    recipe: PublishedRecipe,
    rows: Sequence[Labelled],
    resident: ResidentSquares,
    out: Path,
    *,
    start: Path | None = None,
    acceleration: Acceleration = "none",
    report: Callable[[dict[str, Any]], None] | None = None,
    until: Callable[[], bool] | None = None,
    save_seconds: float = 0.0,
) -> list[dict[str, Any]]:
    """Train one network; goes on where a killed run in the same folder stopped.

    Under `torchrun` every process takes its share of each batch and gradients are averaged; the
    first process writes. The folder holds the checkpoint "state", the three kept weights (see
    `training.optimisation.checkpoints.write_tensors`) and `history.json`.

    Args:
        resident: their pixels, in the same order.
        start: weights to start from, a path without ending; biases of pixels are resized.
        save_seconds: least time between two checkpoints; 0 writes one after every epoch.

    Returns:
        One line of figures an epoch; fewer than the recipe's epochs where `until` said so.

    Raises:
        RunError: nothing to train on, another recipe in the folder, weights that do not fit.
    """
    out.mkdir(parents=True, exist_ok=True)
    run = PublishedRun(
        recipe, rows, resident, out, start=start, acceleration=acceleration, report=report
    )
    train_epochs(run, until=until, save_seconds=save_seconds)
    history: list[dict[str, Any]] = run.state.progress["history"]
    return history


class PublishedRun(Run):
    """Learning grades as published; the arguments are those of `fit`."""

    def __init__(
        self,
        recipe: PublishedRecipe,
        rows: Sequence[Labelled],
        resident: ResidentSquares,
        out: Path,
        *,
        start: Path | None = None,
        acceleration: Acceleration = "none",
        report: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        split = np.array([row.split for row in rows])
        self.train, self.val = np.flatnonzero(split == "train"), np.flatnonzero(split == "val")
        if not len(self.train):
            raise RunError("No photograph has the split 'train': there is nothing to train on.")
        self.rank, self.world = rank_and_count()
        if recipe.batch % self.world:
            raise RunError(f"A batch of {recipe.batch} cannot be shared by {self.world} processes.")
        self.recipe, self.rows, self.resident = recipe, rows, resident
        self.out, self.report = out, report
        device = resident.device
        torch.manual_seed(recipe.seed)
        network = build(recipe).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if start is not None:
            start_from(network, start)
        if self.world > 1 and recipe.norm and device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        self.network = network
        self.inputs: nn.Module = PublishedInput(recipe.net).to(device)
        self.running: nn.Module = network
        if acceleration == "compile":
            # Around the same parameters: what is saved stays plain.
            # What cannot be compiled runs as it is.
            torch._dynamo.config.suppress_errors = True  # noqa: SLF001
            self.running = torch.compile(network)  # type: ignore[assignment]
            self.inputs = torch.compile(self.inputs)  # type: ignore[assignment]
        elif acceleration == "graph" and device.type == "cuda":
            self.running = self._graphed()
        if self.world > 1:
            self.running = DistributedDataParallel(self.running)
        self.grades = torch.tensor([float(row.grade) for row in rows], device=device)
        self.best: dict[str, dict[str, Tensor]] = {}
        state = TrainingState(
            asdict(recipe), {"network": network}, optimiser_of(network, recipe),
            {"epoch": 0, "step": 0, "best_kappa": -2.0, "best_mse": 1e9, "history": []},
        )  # fmt: skip
        super().__init__(
            state, out / "state", epochs=recipe.epochs,
            steps=max(1, len(self.train) // recipe.batch), batch=recipe.batch, clip=recipe.clip,
            device=device,
        )  # fmt: skip

    def _graphed(self) -> nn.Module:
        """The network, whose forward and backward pass are replayed as CUDA graphs."""
        side = self.recipe.net.input_size
        squares = torch.zeros(
            (self.recipe.batch // self.world, 3, side, side), device=self.resident.device
        ).contiguous(memory_format=torch.channels_last)
        self.network.train()
        # Weights are cast within the graph: a cache from outside would be gone when it is replayed.
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            graphed: nn.Module = torch.cuda.make_graphed_callables(self.network, (squares,))
            return graphed

    def seed_of(self, epoch: int) -> int:
        """Return the seed of dropout, which must not depend on what ran before."""
        return (self.recipe.seed * 100_003 + epoch) * 1_009 + self.rank

    def rate_factor(self, step: int) -> float:
        """Return the published schedule, which falls at certain epochs."""
        return self.recipe.rate_factor(step // self.steps)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Return this process's share of the batches of an epoch."""
        self.network.train()
        drawn = draw_epoch(self.rows, self.train, self.recipe, epoch)
        # One copy an epoch; a batch is then a view.
        places = self.resident.places(drawn.indices)
        grades = self.grades[torch.from_numpy(drawn.indices).to(self.device)]
        changes = torch.from_numpy(drawn.changes).to(self.device)
        colours = torch.from_numpy(drawn.colours).to(self.device) if self.recipe.colour else None
        share = self.batch // self.world
        for first in range(self.rank * share, self.steps * self.batch, self.batch):
            mine = slice(first, first + share)
            with torch.no_grad():
                squares = self.inputs(
                    self.resident.pixels[places[mine]], changes[mine],
                    None if colours is None else colours[mine],
                )  # fmt: skip
            yield squares, grades[mine]

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean squared error, in grades squared."""
        squares, grades = batch
        with mixed_precision(self.device, processors=self.recipe.bfloat16):
            scores = self.running(squares)
        return functional.mse_loss(scores.float(), grades)[None]

    def describe(self, losses: list[float]) -> dict[str, Any]:
        """Name the loss and the rate of an epoch."""
        return {"rate": self.recipe.rate_at(self.state.progress["epoch"] - 1), "loss": losses[0]}

    def measure(self, epoch: int) -> dict[str, Any]:  # noqa: ARG002
        """Score the validation photographs."""
        if not len(self.val):
            return {}
        scores = predict(self.network, self.resident, self.val, bfloat16=self.recipe.bfloat16)
        return figures_of(scores, self.rows, self.val)

    def keep(self, line: dict[str, Any]) -> None:
        """Keep the weights with the best figures so far."""
        progress = self.state.progress
        progress["history"].append(line)
        # Of photographs with one grade alone there is no kappa.
        kappa = float(np.nan_to_num(line.get("kappa", -1.0), nan=-1.0))
        if kappa > progress["best_kappa"]:
            progress["best_kappa"] = kappa
            self.best["best-kappa"] = self._weights()
        if line.get("mse", 0.0) < progress["best_mse"]:
            progress["best_mse"] = line.get("mse", 0.0)
            self.best["best-mse"] = self._weights()
        if self.rank == 0 and self.report is not None:
            self.report(line)

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def write(self, lines: list[dict[str, Any]]) -> None:  # noqa: ARG002
        """Write the kept weights, the checkpoint and the figures of all epochs."""
        if self.rank == 0:
            for name, weights in {**self.best, "last": self._weights()}.items():
                write_tensors(self.out / name, weights)
            save(self.state, self.stem)
            text = json.dumps({"recipe": self.state.recipe, **self.state.progress})
            with replacing(self.out / "history.json") as part:
                part.write_text(text + "\n", encoding="utf-8")
        self.best = {}
        wait_for_all()


def optimiser_of(network: nn.Module, recipe: PublishedRecipe) -> torch.optim.SGD:
    """Return Nesterov gradient descent; decay on weights only, not on biases and norms."""
    weights = [p for name, p in network.named_parameters() if p.dim() in {2, 4}]
    others = [p for name, p in network.named_parameters() if p.dim() not in {2, 4}]
    return torch.optim.SGD(
        [
            {"params": weights, "weight_decay": recipe.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=recipe.rate,
        momentum=recipe.momentum,
        nesterov=True,
        fused=next(network.parameters()).is_cuda,
    )
