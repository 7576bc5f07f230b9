"""Training a published network: one process or several, resumable, three kept weights."""

from __future__ import annotations

import datetime
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from drcore.agreement.statistics import quadratic_weighted_kappa
from drcore.errors import DrcoreError
from training.data.labels import Labelled
from training.optimisation.precision import mixed_precision
from training.reproduction.augmentation import GEOMETRY, Resident, colour_noise, matrices, unchanged
from training.reproduction.networks import PublishedNetwork
from training.reproduction.recipe import PublishedRecipe, class_weights

__all__ = [
    "KEPT",
    "Draw",
    "FitError",
    "build",
    "draw_epoch",
    "figures_of",
    "fit",
    "grade_scores",
    "join_processes",
    "load_kept",
    "optimiser_of",
    "predict",
    "rank_of_process",
    "run_epoch",
    "start_from",
]

KEPT = ("best-kappa", "best-mse", "last")
"""The three weights that a run keeps."""


class FitError(DrcoreError):
    """A run of a published network cannot start or go on; the message says why."""


@dataclass(slots=True)
class _State:
    """How far a run has come, and what it has seen."""

    epoch: int = 0
    best_kappa: float = -2.0
    best_mse: float = float("inf")
    history: list[dict[str, Any]] = field(default_factory=list)


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
        rows: all labelled photographs.
        indices: int64 (n,), those to train on.
        recipe: resampling, geometry, colour.
        epoch: counted from 0.

    Returns:
        As many draws as there are photographs, in steps of whole batches.
    """
    rng = np.random.default_rng((recipe.seed, epoch))
    count = max(1, len(indices) // recipe.batch) * recipe.batch
    if recipe.resampling or len(indices) < count:
        weights = class_weights(epoch * recipe.pace) if recipe.resampling else np.ones(5)
        chances = weights[[rows[i].grade for i in indices]]
        chosen = rng.choice(indices, count, p=chances / chances.sum())
    else:
        chosen = rng.permutation(indices)[:count]
    if recipe.geometry:
        changes = matrices(rng.random((count, GEOMETRY)), recipe)
    else:
        changes = unchanged(count, recipe.net)
    return Draw(chosen, changes, colour_noise(rng, count, recipe.colour))


def fit(
    recipe: PublishedRecipe,
    rows: Sequence[Labelled],
    resident: Resident,
    out: Path,
    *,
    start: Path | None = None,
    compiled: bool = False,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """Train one network; goes on where a killed run in the same folder stopped.

    Under `torchrun` every process takes its share of each batch and gradients are averaged; the
    first process writes. The folder holds `state.safetensors`, the three kept weights and
    `history.json`.

    Args:
        recipe: what to do.
        rows: labelled photographs; "train" is trained on, "val" measured.
        resident: their pixels, in the same order.
        out: folder of this run.
        start: weights to start from; biases that belong to pixels are resized.
        compiled: compile the network (worth its minute on a GPU).
        report: called with each epoch's figures.

    Returns:
        One line of figures an epoch.

    Raises:
        FitError: nothing to train on, another recipe in the folder, weights that do not fit.
    """
    split = np.array([row.split for row in rows])
    train, val = np.flatnonzero(split == "train"), np.flatnonzero(split == "val")
    if not len(train):
        raise FitError("No photograph has the split 'train': there is nothing to train on.")
    rank, world = _place()
    if recipe.batch % world:
        raise FitError(f"A batch of {recipe.batch} cannot be shared by {world} processes.")
    out.mkdir(parents=True, exist_ok=True)
    device = resident.device
    torch.manual_seed(recipe.seed)
    network = build(recipe).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start is not None:
        start_from(network, start)
    if world > 1 and recipe.norm and device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    optimiser = optimiser_of(network, recipe)
    state = _resume(network, optimiser, recipe, out)
    running = _running(network, world, compiled=compiled)
    grades = torch.tensor([float(row.grade) for row in rows], device=device)

    for epoch in range(state.epoch, recipe.epochs):
        draw = draw_epoch(rows, train, recipe, epoch)
        # Dropout is the only chance left; its stream must not depend on what ran before.
        torch.manual_seed((recipe.seed * 100_003 + epoch) * 1_009 + rank)
        started = time.perf_counter()
        loss = run_epoch(running, optimiser, resident, grades, draw, recipe, epoch)
        seconds = time.perf_counter() - started
        line: dict[str, Any] = {
            "epoch": epoch + 1,
            "rate": recipe.rate_at(epoch),
            "loss": loss,
            "seconds": round(seconds, 3),
            "images_per_second": round(len(draw.indices) / seconds, 2),
        }
        if len(val):
            scores = predict(network, resident, val, bfloat16=recipe.bfloat16)
            line |= figures_of(scores, rows, val)
        state.epoch = epoch + 1
        state.history.append(line)
        if rank == 0:
            _keep(network, state, line, out)
            _save(network, optimiser, recipe, state, out)
            if report is not None:
                report(line)
        if world > 1:
            dist.barrier()
    return state.history


def _running(network: nn.Module, world: int, *, compiled: bool) -> nn.Module:
    """Compile and wrap around the same parameters: what is saved stays plain."""
    running: nn.Module = torch.compile(network) if compiled else network  # type: ignore[assignment]
    return DistributedDataParallel(running) if world > 1 else running


def build(recipe: PublishedRecipe) -> PublishedNetwork:
    """Build the network of a recipe, freshly initialised."""
    return PublishedNetwork(recipe.net, head=recipe.head, untied=recipe.untied, norm=recipe.norm)


def run_epoch(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    resident: Resident,
    grades: Tensor,
    draw: Draw,
    recipe: PublishedRecipe,
    epoch: int,
) -> float:
    """Train through a draw once.

    Args:
        network: maybe compiled, maybe one of several.
        optimiser: of its parameters.
        resident: photographs.
        grades: float32 (N,) on the device.
        draw: what to show.
        recipe: batch, clipping and rate.
        epoch: counted from 0, for the rate.

    Returns:
        Mean squared error over the epoch, in grades squared, of this process's share.
    """
    device = resident.device
    rank, world = _place()
    share = recipe.batch // world
    # One copy an epoch; a batch is then a view.
    indices = torch.from_numpy(draw.indices).to(device)
    changes = torch.from_numpy(draw.changes).to(device)
    colours = torch.from_numpy(draw.colours).to(device) if recipe.colour else None
    for group in optimiser.param_groups:
        group["lr"] = recipe.rate_at(epoch)
    network.train()
    # Summed on the device: asking for every batch's loss would make the host wait for it.
    total = torch.zeros((), device=device)
    steps = len(draw.indices) // recipe.batch
    for step in range(steps):
        mine = slice(step * recipe.batch + rank * share, step * recipe.batch + (rank + 1) * share)
        with torch.no_grad():
            squares = resident.batch(
                indices[mine], changes[mine], None if colours is None else colours[mine]
            )
        with mixed_precision(device, processors=recipe.bfloat16):
            scores = network(squares)
        loss = functional.mse_loss(scores.float(), grades[indices[mine]])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.clip:
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimiser.step()
        total += loss.detach()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return float(total / steps)


def predict(
    network: PublishedNetwork,
    resident: Resident,
    indices: NDArray[np.int64],
    batch: int = 64,
    *,
    bfloat16: bool = False,
) -> NDArray[np.float64]:
    """Score photographs, the central 7/8 of each, unaugmented.

    Args:
        network: set to evaluation mode.
        resident: photographs.
        indices: int64 (n,).
        batch: photographs at a time.
        bfloat16: multiply in bfloat16 on processors too.

    Returns:
        float64 (n,), scores in grades.
    """
    network.eval()
    device = resident.device
    scores = []
    with torch.inference_mode():
        for first in range(0, len(indices), batch):
            some = torch.from_numpy(indices[first : first + batch]).to(device)
            changes = torch.from_numpy(unchanged(len(some), resident.layout)).to(device)
            with mixed_precision(device, processors=bfloat16):
                scores.append(network(resident.batch(some, changes)).double().cpu())
    return torch.cat(scores).numpy() if scores else np.zeros(0)


def grade_scores(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Clip and threshold at .5 1.5 2.5 3.5, as published.

    Args:
        scores: float64 (n,), in grades.

    Returns:
        int64 (n,), ICDR grades 0-4.
    """
    return np.searchsorted([0.5, 1.5, 2.5, 3.5], scores, side="right").astype(np.int64)


def figures_of(
    scores: NDArray[np.float64], rows: Sequence[Labelled], indices: NDArray[np.int64]
) -> dict[str, float]:
    """Compare scores with the labels.

    Args:
        scores: float64 (n,), in grades.
        rows: all labelled photographs.
        indices: int64 (n,), those that were scored.

    Returns:
        "mse" in grades squared and "kappa", quadratic weighted.
    """
    truth = np.array([rows[i].grade for i in indices])
    return {
        "mse": float(np.mean((scores - truth) ** 2)),
        "kappa": quadratic_weighted_kappa(truth, grade_scores(scores)),
    }


def start_from(network: PublishedNetwork, file: Path) -> None:
    """Take over the weights of a smaller network, as the stages 128 -> 256 -> 512 do.

    Layers that the smaller one lacks keep their fresh weights. A bias that belongs to a pixel is
    interpolated to the larger map. The linear unit and the FC head are taken only where they fit.

    Args:
        network: what to start.
        file: safetensors of the smaller network.

    Raises:
        FitError: the file is missing or nothing in it fits.
    """
    if not file.exists():
        raise FitError(f"There are no weights {file.name} in {file.parent.name} to start from.")
    given = load_file(file)
    own = network.state_dict()
    taken = {}
    for name, value in given.items():
        wanted = own.get(name)
        if wanted is None:
            continue
        if value.shape == wanted.shape:
            taken[name] = value
        elif name.endswith(".bias") and value.dim() == 3 and value.shape[0] == wanted.shape[0]:
            taken[name] = functional.interpolate(
                value[None], size=wanted.shape[1:], mode="bilinear", align_corners=False
            )[0]
    if not taken:
        raise FitError(f"The weights {file.name} of {file.parent.name} fit none of the layers.")
    network.load_state_dict(taken, strict=False)


def load_kept(recipe: PublishedRecipe, out: Path, kept: str = "best-kappa") -> PublishedNetwork:
    """Open one of the three kept weights of a run.

    Args:
        recipe: of the run.
        out: its folder.
        kept: one of `KEPT`.

    Returns:
        The network in evaluation mode.

    Raises:
        FitError: there is no such run.
    """
    file = out / f"{kept}.safetensors"
    if not file.exists():
        raise FitError(f"There is no {file.name} in {out.name}: train that run first.")
    network = build(recipe)
    network.load_state_dict(load_file(file))
    return network.eval()


def _place() -> tuple[int, int]:
    """Rank of this process and how many there are."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def rank_of_process() -> int:
    """Return the number of this process among those that train together, 0 for the first."""
    return _place()[0]


def join_processes(device: str | None = None) -> torch.device:
    """Join the other processes where `torchrun` started several, and choose the device.

    Args:
        device: "cpu" or "cuda"; CUDA where there is one, if left out.

    Returns:
        This process's device.
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        # Hours: the first process measures a finished run while the others wait in the next one.
        dist.init_process_group(
            "nccl" if kind == "cuda" else "gloo", timeout=datetime.timedelta(hours=6)
        )
    if kind == "cuda":
        torch.cuda.set_device(local)
        return torch.device("cuda", local)
    return torch.device("cpu")


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
    )


def _keep(network: nn.Module, state: _State, line: dict[str, Any], out: Path) -> None:
    names = ["last"]
    if line.get("kappa", -1.0) > state.best_kappa:
        state.best_kappa = line.get("kappa", -1.0)
        names.append("best-kappa")
    if line.get("mse", 0.0) < state.best_mse:
        state.best_mse = line.get("mse", 0.0)
        names.append("best-mse")
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in network.state_dict().items()}
    for name in names:
        _write(out / f"{name}.safetensors", lambda path: save_file(tensors, path))


def _save(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    recipe: PublishedRecipe,
    state: _State,
    out: Path,
) -> None:
    tensors: dict[str, Tensor] = {f"network.{k}": v for k, v in network.state_dict().items()}
    for index, values in optimiser.state_dict()["state"].items():
        if values.get("momentum_buffer") is not None:
            tensors[f"momentum.{index}"] = values["momentum_buffer"]
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    text = json.dumps({"recipe": asdict(recipe), **asdict(state)})
    # One file holds weights, momentum and history: a kill leaves the epoch before, whole.
    _write(out / "state.safetensors", lambda path: save_file(tensors, path, {"state": text}))
    _write(
        out / "history.json",
        lambda path: path.write_text(text + "\n", encoding="utf-8"),
    )


def _write(file: Path, write: Callable[[Path], object]) -> None:
    part = file.with_name(file.name + ".part")
    write(part)
    part.replace(file)


def _resume(
    network: nn.Module, optimiser: torch.optim.Optimizer, recipe: PublishedRecipe, out: Path
) -> _State:
    file = out / "state.safetensors"
    if not file.exists():
        return _State()
    with safe_open(file, framework="pt") as opened:
        stored = json.loads(opened.metadata()["state"])
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    wanted = json.loads(json.dumps(asdict(recipe)))
    past = stored.pop("recipe")
    if past != wanted:
        changed = ", ".join(k for k, v in wanted.items() if past.get(k) != v)
        raise FitError(
            f"{out.name} holds a run with another recipe ({changed} differ): choose another "
            "folder, or the same recipe to go on."
        )
    network.load_state_dict(
        {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
    )
    whole = optimiser.state_dict()
    whole["state"] = {
        int(k.removeprefix("momentum.")): {"momentum_buffer": v}
        for k, v in tensors.items()
        if k.startswith("momentum.")
    }
    optimiser.load_state_dict(whole)
    return _State(**stored)
