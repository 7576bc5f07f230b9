"""Training the detector of writing: photographs with rendered lines, in whatever script.

The detector is `drcore.export.writing`; it learns from photographs of the training split, with
random strings in every font of a folder. Scripts in `HELD_OUT` are never shown to it, so that the
benchmark (`python -m tests.benchmarks.writing`) says what it makes of scripts that it does not
know.
"""

from __future__ import annotations

import hashlib
import json
import queue
import threading
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from training.data.writing_squares import HELD_OUT, Example, Fonts, Squares

__all__ = ["HELD_OUT", "WritingNetwork", "publish", "train"]


class WritingNetwork(nn.Module):
    """A small network: at each cell of four pixels, the log odds that it lies in writing."""

    def __init__(self, channels: int = 24) -> None:
        super().__init__()
        widths = [(3, 8, 2, 1), (8, channels, 2, 1)]
        widths += [(channels, channels, 1, dilation) for dilation in (1, 2, 4, 8)]
        layers: list[nn.Module] = []
        for before, after, stride, dilation in widths:
            layers += [
                nn.Conv2d(before, after, 3, stride, dilation, dilation, bias=False),
                nn.BatchNorm2d(after), nn.ReLU(inplace=True),
            ]  # fmt: skip
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float32 (n, 3, h, w), 0-1 -> log odds (n, h / 4, w / 4)."""
        answer: torch.Tensor = self.layers(x - 0.5)[:, 0]
        return answer


class HardSquares:
    """Squares without writing that the network took for writing.

    Args:
        most: that are kept.
    """

    def __init__(self, most: int = 400) -> None:
        self._most = most
        self._kept: list[tuple[float, Example]] = []

    def add(self, examples: list[Example], scores: list[float]) -> None:
        """Keep the hardest."""
        self._kept += zip(scores, examples, strict=True)
        self._kept.sort(key=lambda kept: -kept[0])
        del self._kept[self._most :]

    def take(self, rng: np.random.Generator, count: int) -> list[Example]:
        """Take some out; they come back with their new scores."""
        count = min(count, len(self._kept))
        chosen = set(rng.choice(len(self._kept), count, replace=False).tolist()) if count else set()
        taken = [kept[1] for i, kept in enumerate(self._kept) if i in chosen]
        self._kept = [kept for i, kept in enumerate(self._kept) if i not in chosen]
        return taken


def _ahead(make: Callable[[], list[Example]], depth: int = 4) -> Generator[list[Example]]:
    """Make batches in a thread."""
    waiting: queue.Queue[list[Example]] = queue.Queue(depth)
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            made = make()
            while not ended.is_set():
                with suppress(queue.Full):
                    waiting.put(made, timeout=0.2)
                    break

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            yield waiting.get()
    finally:
        ended.set()
        thread.join()


def _loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross entropy in which hard cells count more, the mean of writing and of the rest apart."""
    truth = target.clamp(min=0)
    entropy = binary_cross_entropy_with_logits(logits, truth, reduction="none")
    surprise = (truth - logits.sigmoid()).abs()
    weighted = entropy * surprise
    positive, negative = target == 1, target == 0
    return weighted[positive].sum() / positive.sum().clamp(min=200) + 6 * weighted[
        negative
    ].sum() / negative.sum().clamp(min=1)


def train(
    files: list[Path],
    fonts: Path,
    out: Path,
    *,
    steps: int,
    seed: int = 0,
    batch: int = 16,
) -> WritingNetwork:
    """Train a network.

    Args:
        files: photographs without writing.
        fonts: folder of fonts.
        out: receives the state of the network (safetensors) from time to time.
        steps: of training.
        seed: of chance.
        batch: new squares a step, half of them with writing; hard ones of before come on top.

    Returns:
        The network, in evaluation mode.
    """
    torch.manual_seed(seed)
    network = WritingNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-4)
    squares, rng = Squares(files, Fonts(fonts), seed), np.random.default_rng(seed)
    hard, half, running = HardSquares(), batch // 2, 0.0

    def draw() -> list[Example]:
        return [squares.draw(written=index < half) for index in range(batch)]

    with closing(_ahead(draw)) as batches:
        for step in range(1, steps + 1):
            for group in optimiser.param_groups:
                group["lr"] = 3e-3 * min(1, step / 100) * (0.02 + 0.98 * (1 - step / steps))
            examples = next(batches) + hard.take(rng, half // 2)
            loss, tops = _step(network, optimiser, examples)
            if step > 100:
                hard.add(examples[half:], tops[half:])
            running = loss if step == 1 else 0.98 * running + 0.02 * loss
            if step % 50 == 0:
                print(f"{step} of {steps} steps, loss {running:.4f}", flush=True)
                _save(network, out)
    _save(network, out)
    return network.eval()


def _step(
    network: nn.Module, optimiser: torch.optim.Optimizer, examples: list[Example]
) -> tuple[float, list[float]]:
    """One step; returns the loss, and the largest log odds of each square."""
    x = torch.from_numpy(np.stack([e.rgb for e in examples])).permute(0, 3, 1, 2) / 255
    y = torch.from_numpy(np.stack([e.target for e in examples]))
    logits = network(x.contiguous(memory_format=torch.channels_last))
    loss = _loss(logits, y)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item(), logits.detach().flatten(1).amax(1).tolist()


def _save(network: nn.Module, file: Path) -> None:
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, file)


def publish(network: WritingNetwork, folder: Path, threshold: float) -> None:
    """Write the weights in half precision, normalisation folded in, and their manifest.

    Args:
        network: in evaluation mode.
        folder: receives writing.safetensors and writing.json.
        threshold: of the score, from which there may be writing.
    """
    from safetensors.numpy import save
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    layers = list(network.layers)
    folded = [
        fuse_conv_bn_eval(layer, layers[index + 1]) if isinstance(layers[index + 1], nn.BatchNorm2d)
        else layer
        for index, layer in enumerate(layers[:-1]) if isinstance(layer, nn.Conv2d)
    ] + [layers[-1]]  # fmt: skip
    tensors = {}
    for index, layer in enumerate(folded):
        for name, value in (("weight", layer.weight), ("bias", layer.bias)):
            array = value.detach().numpy().astype(np.float16)
            tensors[f"{index}.{name}"] = np.ascontiguousarray(array)
    data = save(tensors)
    manifest = {
        "kind": "drcore writing 1",
        "sha256": hashlib.sha256(data).hexdigest(),
        "threshold": threshold,
        "trained_by": "training.writing",
        "scripts_never_shown": list(HELD_OUT),
    }
    (folder / "writing.safetensors").write_bytes(data)
    (folder / "writing.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
