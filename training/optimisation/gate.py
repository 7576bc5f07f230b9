"""Training the network of the gradability check, `drcore.preprocessing.gate`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import Tensor, nn

from drcore.preprocessing.gate import CLASSES, FARTHEST
from training.data.gate_squares import GRADABLE, UNGRADABLE, GateSquares
from training.optimisation.gate_examples import Examples

__all__ = ["GateHead", "odds_of", "publish", "train"]

Floats = NDArray[np.float64]

_BATCH = 256
_RATE = 2e-3
_DECAY = 1e-2
_DROPPED = 0.3
"""Share of the figures, and of the hidden units, that a step goes without."""
_LEAST_DEVIATION = 0.01
_HIDDEN = 64
_SHOWN = {"gradable": 0.49, "reject": 0.28, "other": 0.13, "spoilt": 0.06, "ruined": 0.04}
"""How often a batch shows what: photographs that a reader could grade, those that none could, other
things, and gradable ones spoilt on purpose or so that no retina is left."""
_KINDS = {"eyeq": 8.0, "drimdb": 2.0, "drimdb not_a_retina": 10.0, "healthy": 12.0,
          "eophtha": 4.0, "idrid": 1.5, "messidor2": 1.2, "phantom": 6.0}  # fmt: skip
"""How often a photograph of a kind, or of a source, is shown; 1 where neither is named. What
readers said of quality transfers to other cameras best."""
_SEVERE, _USABLE, _CHANGED = 20.0, 0.5, 0.3
"""Bleeding into the vitreous blurs a photograph: to refuse a severe eye is the worst error. What a
reader called usable lies between the classes. A gradable photograph is shown more often as it is
than changed."""


class GateHead(nn.Module):
    """Two linear layers on figures that are brought to a mean of 0 and a deviation of 1."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("deviation", deviation.float())
        self.hidden = nn.Linear(len(mean), _HIDDEN)
        self.last = nn.Linear(_HIDDEN, len(CLASSES))

    def forward(self, figures: Tensor) -> Tensor:
        """Float32 (n, F) -> logits (n, 6)."""
        x = ((figures - self.mean) / self.deviation).clamp(-FARTHEST, FARTHEST)
        x = nn.functional.dropout(x, _DROPPED, self.training)
        x = nn.functional.dropout(self.hidden(x).relu(), _DROPPED, self.training)
        logits: Tensor = self.last(x)
        return logits


def train(
    data: GateSquares, examples: Examples, chosen: NDArray[np.bool_], *, steps: int, seed: int = 0
) -> GateHead:
    """Train the layers on the figures of the trunk.

    Args:
        data: the pictures that the examples are made of.
        examples: of `training.optimisation.gate_examples.examples`.
        chosen: the examples to train on, by example.
        steps: of 256 examples.
        seed: of chance.

    Returns:
        In evaluation mode.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    examples = examples.of(chosen)
    shares = _shares(data, examples)
    mean = shares @ examples.figures
    deviation = np.sqrt(shares @ np.square(examples.figures - mean)) + _LEAST_DEVIATION
    head = GateHead(torch.from_numpy(mean), torch.from_numpy(deviation))
    figures = torch.from_numpy(examples.figures)
    allowed = torch.from_numpy(examples.classes[:, None] >> np.arange(len(CLASSES)) & 1) > 0
    optimiser = torch.optim.AdamW(head.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, _RATE, total_steps=steps, pct_start=0.1
    )
    until = shares.cumsum()
    for _ in range(steps):
        batch = np.searchsorted(until, rng.random(_BATCH) * until[-1])
        loss = _loss(head(figures[batch]), allowed[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return head.eval()


def _shares(data: GateSquares, examples: Examples) -> Floats:
    """How often each example is shown."""
    kinds = data.kinds[examples.source]
    often = np.array([_KINDS.get(kind, _KINDS.get(kind.split()[0], 1.0)) for kind in kinds])
    often[np.char.endswith(kinds, "usable")] *= _USABLE
    spoilt, ruined = examples.change == "spoilt", examples.change == "ruined"
    real = ~spoilt & ~ruined
    often[real & np.char.endswith(kinds, "severe")] *= _SEVERE
    gradable = real & (examples.classes == GRADABLE)
    often[gradable & (examples.change == "kept")] *= _CHANGED
    reject = examples.classes == UNGRADABLE
    parts = {"gradable": gradable, "reject": reject, "other": real & ~gradable & ~reject,
             "spoilt": spoilt, "ruined": ruined}  # fmt: skip
    shares = np.zeros(len(often))
    for name, part in parts.items():
        if part.any():
            shares[part] = often[part] / often[part].sum() * _SHOWN[name]
    return np.asarray(shares / shares.sum())


def _loss(logits: Tensor, allowed: Tensor) -> Tensor:
    """Minus the logarithm of the probability of all classes that the example may belong to."""
    among = logits.masked_fill(~allowed, -1e4)
    return (logits.logsumexp(1) - among.logsumexp(1)).mean()


@torch.inference_mode()
def odds_of(head: GateHead, figures: NDArray[np.float32]) -> Floats:
    """Return log odds that each example is gradable, before calibration; float64 (M,)."""
    logits = head(torch.from_numpy(figures)).double()
    return np.asarray((logits[:, 0] - logits[:, 1:].logsumexp(1)).numpy(), np.float64)


def publish(
    head: GateHead,
    trunk: Mapping[str, NDArray[Any]],
    folder: Path,
    about: Mapping[str, Any],
) -> None:
    """Write the weights in half precision and their manifest.

    Args:
        head: in evaluation mode.
        trunk: of `training.optimisation.gate_trunk.trunk_weights`.
        folder: receives gate.safetensors and gate.json.
        about: slope and offset of the calibration, threshold, and what else the manifest says.
    """
    layers = {name: value.numpy() for name, value in head.state_dict().items()}
    narrow = {
        name: np.ascontiguousarray(value, np.float16)
        for name, value in layers.items() if name.startswith(("hidden", "last"))
    }  # fmt: skip
    data = save({**trunk, **layers, **narrow})
    manifest = {
        "kind": "drcore gate 3",
        "sha256": hashlib.sha256(data).hexdigest(),
        "classes": list(CLASSES),
        "trained_by": "training.gate",
        **about,
    }
    (folder / "gate.safetensors").write_bytes(data)
    (folder / "gate.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
