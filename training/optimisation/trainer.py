"""Training one of our networks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn
from tqdm import tqdm

from drcore.agreement.statistics import quadratic_weighted_kappa
from drcore.model.network import PRESETS, RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from training.data.labels import Labelled
from training.data.lesion_squares import LesionBatch, LesionSquares
from training.data.squares import Sample, Squares, network_input
from training.optimisation.arithmetic import Folded
from training.optimisation.checkpoints import RunError, TrainingState, save, save_average
from training.optimisation.epochs import EpochBatches
from training.optimisation.initial_weights import warm_start
from training.optimisation.lesion_task import LesionHead
from training.optimisation.linear_refit import refit
from training.optimisation.loop import Run, train_epochs
from training.optimisation.losses import losses
from training.optimisation.predict import scores_of
from training.recipe import Recipe

__all__ = ["GradingRun", "train"]


_BATCHES_FOR_STATISTICS = 24
_LARGEST_GRADIENT = 5.0


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
    until: Callable[[], bool] | None = None,
    save_seconds: float = 0.0,
    quiet: bool = False,
) -> RamNetwork:
    """Train one network; goes on where a killed run in the same folder stopped.

    The folder holds `<preset>.state.safetensors` (recipe, progress, weights, their average,
    optimiser), `<preset>.average.safetensors` (the averaged weights, which are what is used:
    after the last epoch, and whenever they were measured) and `<preset>.metrics.jsonl`, a line an
    epoch; see `training.optimisation.checkpoints.write_tensors` for files larger than 16 MiB.

    Args:
        device: "cuda" or "cpu"; CUDA where there is one, if left out.
        workers: processes that augment; on CUDA the device does that itself.
        save_seconds: least time between two checkpoints; 0 writes one after every epoch.

    Raises:
        RunError: the folder holds a run of another recipe or teacher, or the warm start, the masks
            or the teacher are missing.
    """
    if recipe.lesions and lesions is None:
        raise RunError(f"The recipe of {recipe.preset} learns from lesion masks: give some.")
    if recipe.taught and squares.soft_targets is None:
        raise RunError(f"The recipe of {recipe.preset} has a teacher: give one.")
    out.mkdir(parents=True, exist_ok=True)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    batches = EpochBatches(
        squares,
        lesions,
        recipe,
        preparation or Preprocessing(),
        where,
        # A graphics card waits for processors that change one photograph after the other.
        resident=where.type == "cuda",
        workers=workers,
    )
    run = GradingRun(recipe, batches, out, measure_every=measure_every, quiet=quiet)
    # The refit follows the last epoch: a finished run may get one, or another.
    done = train_epochs(
        run, free=("refit",), until=until, save_seconds=save_seconds,
        describe=None if quiet else recipe.preset,
    )  # fmt: skip
    finished = run.finished(done=done)
    if recipe.refit is not None and done:
        refit(
            finished, squares, batches.training, batches.chances, batches.preparation,
            ridge=recipe.refit.ridge, calm=recipe.refit.calm,
        )  # fmt: skip
        save_average(finished.state_dict(), recipe.preset, out)
    return finished


class GradingRun(Run):
    """Learning grades, and lesions where a recipe asks for them, with averaged weights."""

    def __init__(
        self, recipe: Recipe, data: EpochBatches, out: Path, *, measure_every: int, quiet: bool
    ) -> None:
        self.recipe, self.data, self.out = recipe, data, out
        self.measure_every, self.quiet = measure_every, quiet
        torch.manual_seed(recipe.seed)
        network = RamNetwork(PRESETS[recipe.preset])
        warm_start(network, recipe, out)
        network.to(data.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        _freeze(network, recipe.frozen)

        def towards(average: list[Tensor], now: list[Tensor], count: Tensor) -> None:
            del count  # on the device, where asking for its value would make the host wait
            step = self.state.progress["step"]
            # Short at first, so that the random start is soon forgotten.
            torch._foreach_lerp_(average, now, 1 - min(recipe.average, step / (step + 10)))

        # Copied before blocks are skipped at random: the average never is.
        self.average = AveragedModel(network, multi_avg_fn=towards)
        _skip_blocks(network, recipe.depth_drop)
        self.network = network
        self.fast = folded_of(network, recipe)
        self.head = None
        modules: dict[str, nn.Module] = {"network": network, "average": self.average.module}
        if recipe.lesions:
            self.head = LesionHead(network.linear.in_features).to(data.device)
            modules["head"] = self.head
        targets = data.squares.soft_targets
        self.teacher = targets.teacher if recipe.taught and targets is not None else ""
        state = TrainingState(
            asdict(recipe), modules, _optimiser(network, self.head, recipe),
            {"epoch": 0, "step": 0, "teacher": self.teacher},
        )  # fmt: skip
        super().__init__(
            state, out / f"{recipe.preset}.state", epochs=recipe.epochs, steps=data.steps,
            batch=recipe.batch, clip=_LARGEST_GRADIENT, device=data.device,
            weights=(1.0, recipe.lesions),
        )  # fmt: skip

    def resumed(self) -> None:
        """Check who taught, and let the average go on instead of beginning anew."""
        stored = self.state.progress["teacher"]
        if stored != self.teacher:
            raise RunError(
                f"{self.out.name} holds a run taught by {stored or 'no teacher'}, not by "
                f"{self.teacher or 'no teacher'}: choose another folder, or the same --teacher."
            )
        self.average.n_averaged.fill_(self.state.progress["step"])

    def seed_of(self, epoch: int) -> int:
        """Return the seed of an epoch's chance."""
        return self.recipe.seed * 1_000_003 + epoch

    def rate_factor(self, step: int) -> float:
        """Linear warm-up, then a cosine down to 1 % of the largest rate."""
        total = self.steps * self.epochs
        warm = max(1, round(self.recipe.warmup * total))
        if step < warm:
            return (step + 1) / warm
        along = (step - warm) / max(1, total - warm)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * along))

    def batches(self, epoch: int) -> Iterable[tuple[Sample, LesionBatch | None]]:
        """Return the batches of an epoch, and set the network to training."""
        self.network.train(_norms_learn(self.recipe))
        return self.data.steps_of(epoch)

    def losses(self, batch: tuple[Sample, LesionBatch | None]) -> Tensor:
        """Return the losses of grades and of lesions."""
        graded, annotated = batch
        found = losses(
            self.network, self.head, graded, annotated, self.data.preparation,
            self.recipe.sparsity, self.fast,
        )  # fmt: skip
        return torch.stack(found)

    def after_step(self) -> None:
        """Follow the weights with their average."""
        self.average.update_parameters(self.network)

    def describe(self, losses: list[float]) -> dict[str, Any]:
        """Name the mean losses of an epoch."""
        named = {"loss": round(losses[0], 5)}
        return named | ({"lesion_loss": round(losses[1], 5)} if self.recipe.lesions else {})

    def measure(self, epoch: int) -> dict[str, Any]:
        """Make the averaged weights usable and measure them on the validation split."""
        if epoch + 1 not in {self.epochs, *range(0, self.epochs, self.measure_every)}:
            return {}
        data = self.data
        averaged = self.refresh(epoch)
        if not len(data.validation):
            return {}
        scores = scores_of(averaged, data.plain(data.validation), data.preparation)
        return _agreement(scores, [data.squares.rows[i] for i in data.validation])

    def refresh(self, epoch: int) -> RamNetwork:
        """Make the averaged weights usable: they never met the statistics that were averaged."""
        averaged: RamNetwork = self.average.module
        if _norms_learn(self.recipe):
            first = self.data.first_of(epoch, _BATCHES_FOR_STATISTICS)
            inputs = (network_input(b[0], self.data.preparation, self.device) for b in first)
            update_bn(inputs, _Trunk(averaged))
        return averaged.eval()

    def keep(self, line: dict[str, Any]) -> None:
        """Print the figures of an epoch."""
        if not self.quiet:
            tqdm.write(json.dumps({"preset": self.recipe.preset, **line}))

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Write the checkpoint, the averaged weights and the lines of figures."""
        save(self.state, self.stem)
        save_average(self.average.module.state_dict(), self.recipe.preset, self.out)
        with (self.out / f"{self.recipe.preset}.metrics.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(
                json.dumps({"preset": self.recipe.preset, **line}) + "\n" for line in lines
            )

    def finished(self, *, done: bool) -> RamNetwork:
        """Return the averaged network; of a run cut short between two measurements, too."""
        epoch = self.state.progress["epoch"]
        if epoch and not done:
            weights = self.refresh(epoch - 1).state_dict()
            save_average(weights, self.recipe.preset, self.out)
        return self.averaged()

    def averaged(self) -> RamNetwork:
        """Return a copy of the network with averaged weights, in evaluation mode."""
        copy = RamNetwork(self.network.config).to(self.device)
        copy.load_state_dict(self.average.module.state_dict())
        return copy.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


class _Trunk(nn.Module):
    """A network up to its feature maps, as `update_bn` calls it."""

    def __init__(self, network: RamNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network.features(inputs)


def folded_of(network: RamNetwork, recipe: Recipe) -> Folded | None:
    """The network in the faster arithmetic where a recipe asks for it.

    Raises:
        RunError: the recipe does what that arithmetic does not.
    """
    if not recipe.folded:
        return None
    where = next(network.parameters()).device.type
    widths = {m.groups for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1}
    if where != "cpu" or _norms_learn(recipe) or recipe.depth_drop or any(w % 16 for w in widths):
        raise RunError(
            f"{recipe.preset}: the faster arithmetic runs on processors, wants keep_norms, no "
            "depth_drop, and channels in multiples of 16; train without --folded."
        )
    return Folded(network, recipe.frozen)


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
