"""Training the finest scale on tiles: `python -m training.finest tiles --out runs/fine`.

The network looks at 1,024 px across the field of view. Its map is never negative: with z the linear
unit at a cell, the map there is softplus(z) = -log(1 - p), the evidence for a lesion with
probability p. Tiles with lesion masks and healthy tiles teach the cells; grades of whole
photographs teach the sum, through the fixed link of `score_of`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from drcore.files import replacing
from drcore.model.bundle import bundled_folder, load_bundle
from drcore.model.network import PRESETS, RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from training.finest_scale.squares import FineSquares
from training.finest_scale.tiles import (
    Dots,
    Tile,
    TileChanges,
    cell_labels,
    change_tone,
    draw_tile,
    find_dots,
    paste,
)
from training.optimisation.arithmetic import Folded, step

__all__ = ["TILES", "TileRecipe", "cell_loss", "train_tiles"]


SHARP = 800  # px; photographs with less across the field are not made coarser still


@dataclass(frozen=True, slots=True)
class TileRecipe:
    """What a run on tiles does.

    Attributes:
        preset: network, a key of `drcore.model.network.PRESETS`.
        steps: of the optimiser.
        size: side of a tile in pixels.
        dots, others, anywhere, healthy: tiles a step around a microaneurysm, around another lesion,
            anywhere in photographs with masks, and in healthy ones.
        pasted: share of healthy tiles that get microaneurysms of other photographs.
        rate: largest learning rate of AdamW; the linear unit has three times as much.
        weight_decay: decoupled.
        average: decay a step of the moving average of weights.
        focus: exponent of the focal loss (Lin et al. 2017).
        positive: weight of cells with a lesion.
        temperature: logits are divided by it before the focal loss, where the map is to be sharper
            than the probabilities.
        bright: weight of cells with exudates among those with a lesion; 0 leaves them out.
        loud: share of healthy tiles drawn where the map is loudest, once there are maps.
        changes: random changes.
        seed: of everything random.
    """

    preset: str = "ram-1024"
    steps: int = 900
    size: int = 320
    dots: int = 10
    others: int = 2
    anywhere: int = 3
    healthy: int = 9
    pasted: float = 0.3
    rate: float = 4e-4
    weight_decay: float = 0.02
    average: float = 0.99
    focus: float = 1.0
    positive: float = 1.5
    temperature: float = 1.0
    bright: float = 0.0
    loud: float = 0.0
    changes: TileChanges = field(default_factory=TileChanges)
    seed: int = 20


TILES = TileRecipe()

_START = -4.0


def cell_loss(logits: Tensor, label: Tensor, weight: Tensor, recipe: TileRecipe) -> Tensor:
    """Focal loss over cells, summed.

    Args:
        logits: float (B, m, m).
        label, weight: float (B, m, m), see `cell_labels`.
        recipe: exponent and weight of positive cells.

    Returns:
        float ().
    """
    error = functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
    missed = (torch.sigmoid(logits) - label).abs().pow(recipe.focus)
    return (error * missed * weight * (1 + (recipe.positive - 1) * label)).sum()


@dataclass(frozen=True, slots=True)
class _Sources:
    squares: FineSquares
    dots: Dots
    others: Dots
    masked: list[int]
    healthy: list[list[int]]  # by data set, so that each is drawn alike
    loudest: Callable[[int, np.random.Generator], tuple[float, float]] | None = None

    def tile(self, kind: str, recipe: TileRecipe, rng: np.random.Generator) -> tuple[Tile, bool]:
        """Draw a tile of a kind; and whether its photograph is healthy."""
        centre: tuple[float, float] | None = None
        if kind in ("dots", "others"):
            places = (self.dots if kind == "dots" else self.others).places
            # By photograph first: one with two hundred lesions counts as one with a single lesion.
            index = int(rng.choice(np.unique(places[:, 0])))
            own = places[places[:, 0] == index]
            _, x, y = own[rng.integers(len(own))]
            centre = (float(x), float(y))
        elif kind == "anywhere":
            index = int(rng.choice(self.masked))
        else:
            group = self.healthy[rng.integers(len(self.healthy))]
            index = int(rng.choice(group))
            if self.loudest is not None and rng.random() < recipe.loud:
                centre = self.loudest(index, rng)
        tile = draw_tile(self.squares, index, centre, recipe.size, recipe.changes, rng)
        healthy = kind == "healthy"
        if healthy and rng.random() < recipe.pasted:
            paste(tile, self.dots.spots, rng, int(rng.integers(1, 5)))
            tile.mask[tile.mask == 64] = 0
        sharp = bool(self.squares.widths[index] >= SHARP)
        return Tile(
            change_tone(tile.contrast, recipe.changes, rng, sharp=sharp), tile.mask
        ), healthy


def _sources(squares: FineSquares) -> _Sources:
    rows = squares.rows
    masked = [i for i, row in enumerate(rows) if row.mask is not None and row.split == "train"]
    healthy: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if row.grade == 0 and row.split == "train" and row.dataset != "aptos2019":
            healthy.setdefault(row.dataset, []).append(i)
    wide = [i for i in masked if rows[i].annotated & 2]
    return _Sources(
        squares, find_dots(squares, masked), find_dots(squares, wide, 2), masked,
        list(healthy.values()),
    )  # fmt: skip


def started(preset: str) -> RamNetwork:
    """Return the network with the trunk of the shipped `ram-256`, and nothing in its map yet."""
    network = RamNetwork(PRESETS[preset])
    known = load_bundle(bundled_folder()).networks[256].state_dict()
    own = network.state_dict()
    fitting = {k: v for k, v in known.items() if k in own and own[k].shape == v.shape}
    fitting = {k: v for k, v in fitting.items() if not k.startswith("linear")}
    network.load_state_dict(fitting, strict=False)
    torch.nn.init.zeros_(network.linear.weight)
    torch.nn.init.constant_(network.linear.bias, _START)
    return network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


class Run:
    """A network, its average and its optimiser, saved as safetensors and gone on from.

    Args:
        network: as it starts.
        rate: largest learning rate; the linear unit has three times as much.
        weight_decay: decoupled.
        file: without ending, where the run is kept.
    """

    def __init__(self, network: RamNetwork, rate: float, weight_decay: float, file: Path) -> None:
        self.network, self.file, self.done = network, file, 0
        head = {id(p) for p in network.linear.parameters()}
        trunk = [p for p in network.parameters() if id(p) not in head]
        self.optimiser = torch.optim.AdamW(
            [
                {
                    "params": [p for p in trunk if p.dim() > 1],
                    "weight_decay": weight_decay,
                    "of": 1.0,
                },
                {"params": [p for p in trunk if p.dim() <= 1], "weight_decay": 0.0, "of": 1.0},
                {"params": list(network.linear.parameters()), "weight_decay": 0.0, "of": 3.0},
            ],
            lr=rate,
        )
        self.rate = rate
        self.average = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self._resume()

    def _resume(self) -> None:
        state = self.file.with_suffix(".state.safetensors")
        if not state.exists():
            return
        with safe_open(state, framework="pt") as opened:
            self.done = int(opened.metadata()["step"])
        tensors = load_file(state)
        parts: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            part, name = key.split(".", 1)
            parts.setdefault(part, {})[name] = value
        self.network.load_state_dict(parts["network"])
        for name, value in self.average.items():
            value.copy_(parts["average"][name])
        whole = self.optimiser.state_dict()
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in parts.get("optimiser", {}).items():
            index, field = name.split(".", 1)
            states.setdefault(int(index), {})[field] = value
        whole["state"] = states
        self.optimiser.load_state_dict(whole)

    def save(self) -> None:
        """Write everything that a killed run goes on from, and the averaged weights."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
        meta = {"step": str(self.done)}
        with replacing(self.file.with_suffix(".state.safetensors")) as part:
            save_file(tensors, part, meta)
        plain = {k: v.contiguous().clone() for k, v in self.average.items()}
        with replacing(self.file.with_suffix(".average.safetensors")) as part:
            save_file(plain, part, meta)

    def update(self, share: float, decay: float) -> None:
        """Take one step of the optimiser.

        Args:
            share: of the largest learning rate.
            decay: of the average.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * share * group["of"]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.done += 1
        decay = min(decay, self.done / (self.done + 10))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - decay)


def schedule(done: int, steps: int, warm: int = 50) -> float:
    """Share of the learning rate: linear warm-up, then a cosine down to 2 %."""
    if done < warm:
        return (done + 1) / warm
    along = min(1.0, (done - warm) / max(1, steps - warm))
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * along))


def normalised(contrast: list[NDArray[np.uint8]], preparation: Preprocessing) -> Tensor:
    """Stack contrast uint8 (S, S, 3) into float (B, 3, S, S), channels last."""
    pixels = torch.from_numpy(np.stack(contrast)).permute(0, 3, 1, 2)
    return (pixels.float() - preparation.mean) / preparation.std


def tile_jobs(
    folded: Folded,
    sources: _Sources,
    recipe: TileRecipe,
    preparation: Preprocessing,
    number: int,
    scale: float = 1.0,
    together: int = 2,
) -> list[Callable[[list[Tensor]], tuple[Tensor, Tensor]]]:
    """The tiles of one step, some to a job."""
    kinds = [
        kind for kind in ("dots", "others", "anywhere", "healthy")
        for _ in range(getattr(recipe, kind))
    ]  # fmt: skip
    order = np.random.default_rng((recipe.seed, number)).permutation(len(kinds))

    def job(places: NDArray[np.int64], leaves: list[Tensor]) -> tuple[Tensor, Tensor]:
        drawn = [
            sources.tile(kinds[p], recipe, np.random.default_rng((recipe.seed, number, int(p))))
            for p in places
        ]
        labels = [
            cell_labels(tile.mask, healthy=healthy, bright=recipe.bright) for tile, healthy in drawn
        ]
        label, weight = (torch.from_numpy(np.stack(side)) for side in zip(*labels, strict=True))
        logits = logits_of(folded, normalised([t.contrast for t, _ in drawn], preparation), leaves)
        loss = cell_loss(logits / recipe.temperature, label, weight, recipe) * (scale / len(kinds))
        with torch.no_grad():
            held = (torch.sigmoid(logits) * label * weight).sum()
            false = (torch.sigmoid(logits) * (1 - label) * weight).sum()
            sums = [loss, held, (label * weight).sum(), false, ((1 - label) * weight).sum()]
            figures = torch.stack([value.detach() for value in sums])
        return loss, figures

    groups = [order[i : i + together] for i in range(0, len(order), together)]
    return [lambda leaves, g=g: job(g, leaves) for g in groups]  # type: ignore[misc]


def logits_of(folded: Folded, squares: Tensor, leaves: list[Tensor]) -> Tensor:
    """The linear unit at each cell, float (B, m, m); the last two leaves are its weights."""
    features = folded.features(squares, leaves[:-2])
    weight, bias = leaves[-2], leaves[-1]
    z = functional.conv2d(features, weight[:, :, None, None].bfloat16())[:, 0]
    return z.float() + bias


def shared(folded: Folded) -> list[Tensor]:
    """All that jobs read: folded trunk, then the linear unit."""
    linear = folded.network.linear
    return [*folded.fold(), linear.weight * 1.0, linear.bias * 1.0]


def train_tiles(
    recipe: TileRecipe,
    squares: FineSquares,
    out: Path,
    preparation: Preprocessing,
    threads: int = 2,
) -> RamNetwork:
    """Teach the cells.

    Args:
        recipe: what to do.
        squares: photographs with masks, and healthy ones.
        out: folder of the run; one that was killed goes on.
        preparation: how squares become input.
        threads: that share a step.

    Returns:
        The network with averaged weights.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    sources = _sources(squares)
    run = Run(started(recipe.preset), recipe.rate, recipe.weight_decay, out / "tiles")
    folded = Folded(run.network)
    sums, began = torch.zeros(5), time.perf_counter()
    (out / "tiles.recipe.json").write_text(json.dumps(asdict(recipe), indent=1))
    with ThreadPoolExecutor(threads) as pool:
        while run.done < recipe.steps:
            jobs = tile_jobs(folded, sources, recipe, preparation, run.done)
            sums += step(shared(folded), jobs, pool)
            run.update(schedule(run.done, recipe.steps), recipe.average)
            if run.done % 25 == 0 or run.done == recipe.steps:
                line = {
                    "step": run.done,
                    "loss": round(float(sums[0]) / 25, 4),
                    "held": round(float(sums[1] / sums[2]), 4),
                    "false": round(float(sums[3] / sums[4]), 5),
                    "seconds": round((time.perf_counter() - began) / 25, 2),
                }
                with (out / "tiles.metrics.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                sums, began = torch.zeros(5), time.perf_counter()
            if run.done % 100 == 0 or run.done == recipe.steps:
                run.save()
    return run.network
