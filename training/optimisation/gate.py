"""Training the network of the gradability check, `drcore.preprocessing.gate`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from tqdm import trange

from drcore.preprocessing.gate import CLASSES, INPUT, LAYERS
from training.data.gate_squares import GRADABLE, UNGRADABLE, GateSquares
from training.data.gate_variants import RUINED, SPOILT, mild, stored
from training.optimisation.precision import mixed_precision

__all__ = ["GateNetwork", "odds_of", "publish", "train", "trained"]

_BATCH = 64
_RATE = 2e-3
_KEPT = 0.995
"""Share of the averaged weights that a step keeps."""
_COUNTED = 30
"""Batches over which the statistics of the norms are counted in the end."""
_AS_IT_IS = 0.3
"""Share of the squares that are only mirrored."""
_SHOWN = (("gradable", 0.37), ("reject", 0.15), ("other", 0.17), ("spoilt", 0.2), ("ruined", 0.11))
"""How often a batch shows what: photographs that a reader could grade, those that none could, other
things, and gradable ones spoilt on purpose or so that no retina is left."""
_SPOILT = {"blurred": 0.4, "dark": 0.16, "over-exposed": 0.22, "cut": 0.22}
_KINDS = {"eyeq": 2.0, "drimdb": 2.0, "healthy": 3.0, "eophtha": 3.0, "aptos2019": 0.7}
"""How often a photograph of a kind is shown; 1 where it is not named."""
_DISC = cv2.circle(np.zeros((INPUT, INPUT, 1), np.uint8), (INPUT // 2,) * 2, INPUT // 2, 1, -1)
"""What of a square may be lit."""


class GateNetwork(nn.Module):
    """Convolutions over the square, their mean and maximum, and a hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels, side, stride in LAYERS:
            layers += [
                nn.Conv2d(before, channels, side, stride, side // 2, bias=False),
                nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
            ]  # fmt: skip
            before = channels
        self.layers = nn.Sequential(*layers)
        self.hidden = nn.Linear(2 * before, 64)
        self.last = nn.Linear(64, len(CLASSES))

    def forward(self, picture: Tensor) -> Tensor:
        """Float32 (n, 3, 160, 160), 0-1 -> logits (n, 6)."""
        x = self.layers(picture - 0.5)
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        logits: Tensor = self.last(self.hidden(pooled).relu())
        return logits


def trained(
    data: GateSquares,
    chosen: NDArray[np.int64],
    file: Path,
    *,
    cycles: int = 5,
    seed: int = 0,
    **options: Any,
) -> GateNetwork:
    """Train a network in cycles, each from the one before; what a run before has left is opened.

    Args:
        file: a number of a cycle is added to its name.
        cycles: how often the learning rate rises and falls.
        options: of `train`.
    """
    network = GateNetwork()
    for cycle in range(cycles):
        kept = file.with_name(f"{file.stem}-{cycle + 1}.safetensors")
        if kept.exists():
            network.load_state_dict(load_file(kept))
            continue
        torch.manual_seed(seed + cycle)
        network = train(data, chosen, network if cycle else GateNetwork(),
                        seed=seed + cycle, **options)  # fmt: skip
        state = {name: value.contiguous() for name, value in network.state_dict().items()}
        save_file(state, kept)
    return network.eval()


def train(
    data: GateSquares,
    chosen: NDArray[np.int64],
    network: GateNetwork,
    *,
    steps: int = 600,
    seed: int = 0,
    quiet: bool = False,
) -> GateNetwork:
    """Train a network for a cycle.

    Args:
        data: of `training.data.gate_squares.build`.
        chosen: the examples to train on.
        network: to begin with.
        steps: of 64 squares.
        seed: of chance.

    Returns:
        The network with averaged weights, in evaluation mode.
    """
    rng = np.random.default_rng(seed)
    network = network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(_KEPT))
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, _RATE, total_steps=steps + 1, pct_start=0.1
    )
    examples = _Examples(data, chosen, rng)
    for _ in trange(steps, disable=quiet):
        squares, classes = examples.batch()
        with mixed_precision(torch.device("cpu"), processors=True):
            logits = network(_tensor(squares)).float()
        loss = _loss(logits, torch.from_numpy(classes))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        average.update_parameters(network)
    result: GateNetwork = average.module
    # Averaged weights have other activations than the last ones: count these anew, in float32.
    update_bn((_tensor(examples.batch()[0]) for _ in range(_COUNTED)), result)
    return result.eval()


class _Examples:
    """Draws squares, each with the bits of the classes that it may belong to."""

    def __init__(
        self, data: GateSquares, chosen: NDArray[np.int64], rng: np.random.Generator
    ) -> None:
        self._data, self._rng = data, rng
        classes, kinds = data.classes[chosen], data.kinds[chosen]
        common = np.array([_KINDS.get(kind.split()[0], 1.0) for kind in kinds])
        reject = classes == UNGRADABLE
        gradable = classes == GRADABLE
        pools = {"gradable": gradable, "reject": reject, "other": ~gradable & ~reject,
                 "spoilt": gradable, "ruined": gradable}  # fmt: skip
        shown = [(name, share) for name, share in _SHOWN if pools[name].any()]
        total = sum(share for _, share in shown)
        self._names = [name for name, _ in shown]
        self._shares = [share / total for _, share in shown]
        self._pools = {
            name: (chosen[pools[name]], common[pools[name]].cumsum()) for name in self._names
        }

    def batch(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return uint8 (64, 160, 160, 3) and bits, int64 (64,)."""
        squares, classes = zip(*(self.draw() for _ in range(_BATCH)), strict=True)
        return np.stack(squares), np.array(classes)

    def draw(self) -> tuple[NDArray[np.uint8], int]:
        """Return uint8 (160, 160, 3) and bits."""
        rng, data = self._rng, self._data
        name = self._names[int(rng.choice(len(self._names), p=self._shares))]
        among, cumulative = self._pools[name]
        index = among[int(np.searchsorted(cumulative, rng.random() * cumulative[-1]))]
        square, classes = np.array(data.squares[index]), int(data.classes[index])
        if name == "spoilt":
            defect = str(rng.choice(list(_SPOILT), p=list(_SPOILT.values())))
            square = SPOILT[defect](mild(square, rng), rng)
            return stored(square, rng), 2 ** CLASSES.index(defect)
        if name == "ruined":
            square = RUINED[int(rng.integers(len(RUINED)))](mild(square, rng), rng) * _DISC
            return stored(square, rng), 2 ** CLASSES.index("not a retina")
        if rng.random() < _AS_IT_IS:
            return _mirrored(square, rng), classes
        # Light and colour are part of what was judged, or of what it is not.
        return stored(mild(square, rng, recolour=classes == GRADABLE), rng), classes


def _mirrored(square: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    across, down, transposed = rng.random(3) < 0.5
    square = square[:: -1 if down else 1, :: -1 if across else 1]
    return square.transpose(1, 0, 2) if transposed else square


def _tensor(squares: NDArray[np.uint8]) -> Tensor:
    x = torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255
    return x.contiguous(memory_format=torch.channels_last)


def _loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Minus the logarithm of the probability of all classes that the example may belong to."""
    bits = torch.arange(len(CLASSES))
    allowed = (classes[:, None] >> bits) & 1
    among = logits.masked_fill(allowed == 0, -1e4)
    return (logits.logsumexp(1) - among.logsumexp(1)).mean()


@torch.inference_mode()
def odds_of(
    network: GateNetwork, data: GateSquares, chosen: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Judge examples.

    Returns:
        Log odds that each is gradable, before calibration, and the index of its likeliest defect
        in `CLASSES`.
    """
    logits = []
    for start in range(0, len(chosen), 256):
        part = chosen[start : start + 256]
        logits.append(network(_tensor(np.array(data.squares[part]))).double())
    every = torch.cat(logits)
    odds = every[:, 0] - every[:, 1:].logsumexp(1)
    return odds.numpy(), 1 + every[:, 1:].argmax(1).numpy()


def publish(network: GateNetwork, folder: Path, about: Mapping[str, Any]) -> None:
    """Write the weights in half precision, normalisation folded in, and their manifest.

    Args:
        network: in evaluation mode.
        folder: receives gate.safetensors and gate.json.
        about: slope and offset of the calibration, threshold, and what else the manifest says.
    """
    layers = list(network.layers)
    folded = [
        fuse_conv_bn_eval(layer, layers[index + 1])
        for index, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)
    ]  # fmt: skip
    named = {f"{index}.{name}": value for index, layer in enumerate(folded)
             for name, value in layer.named_parameters()}  # fmt: skip
    named |= {name: value for name, value in network.named_parameters() if "layers" not in name}
    tensors = {
        name: np.ascontiguousarray(value.detach().numpy().astype(np.float16))
        for name, value in named.items()
    }
    data = save(tensors)
    manifest = {
        "kind": "drcore gate 1",
        "sha256": hashlib.sha256(data).hexdigest(),
        "classes": list(CLASSES),
        "trained_by": "training.gate",
        **about,
    }
    (folder / "gate.safetensors").write_bytes(data)
    (folder / "gate.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
