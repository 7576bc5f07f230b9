"""The published networks: net-5 and net-4 with either head, and those that drew the maps.

Facts from Wang & Yang 2017 (arXiv 1703.10757), from its code and from the benchmark that it
extends (Kaggle team o_O); the code is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "LAYOUTS",
    "Convolution",
    "Head",
    "Layout",
    "Pool",
    "PublishedNetwork",
    "count_parameters",
    "map_sizes",
    "receptive_field",
]

Head = Literal["gap", "fc"]

LEAK = 0.01
FIRST_BIAS = 0.05
HIDDEN = 1024


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution, its bias and a leaky ReLU."""

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 1


@dataclass(frozen=True, slots=True)
class Pool:
    """Maximum over 3 x 3. `partial` keeps the window that the border cuts (Theano on CPU did)."""

    stride: int = 2
    partial: bool = False
    kernel: int = 3


Layer = Convolution | Pool


@dataclass(frozen=True, slots=True)
class Layout:
    """The convolutional part of a published network.

    Attributes:
        name: key of `LAYOUTS`.
        photograph: side of the square that the photograph is stored at, pixels.
        input_size: side of the network's input, 7/8 of it, pixels.
        layers: convolutions and pools in order.
        rms_stride: stride of the 3 x 3 root-mean-square pool that the FC head begins with.
    """

    name: str
    photograph: int
    input_size: int
    layers: tuple[Layer, ...]
    rms_stride: int = 3


def _three(channels: int, count: int) -> tuple[Layer, ...]:
    return (Convolution(channels, 3),) * count


def _net5(first_padding: int, groups: int) -> tuple[Layer, ...]:
    """Up to five groups of convolutions; 128 px networks end after 3, 256 px ones after 4."""
    parts: list[tuple[Layer, ...]] = [
        (Convolution(32, 5, 2, first_padding), *_three(32, 1)),
        (Convolution(64, 5, 2, first_padding), *_three(64, 2)),
        _three(128, 3),
        _three(256, 3),
        _three(512, 2),
    ]
    return _with_pools(parts[:groups])


def _net4(groups: int) -> tuple[Layer, ...]:
    def three(channels: int) -> tuple[Layer, ...]:
        return tuple(Convolution(channels, 4, 1, padding) for padding in (2, 1, 2))

    parts: list[tuple[Layer, ...]] = [
        (Convolution(32, 4, 2, 1), Convolution(32, 4, 1, 2)),
        (Convolution(64, 4, 2, 1), Convolution(64, 4, 1, 2), Convolution(64, 4, 1, 1)),
        three(128),
        three(256),
        (Convolution(512, 4, 1, 1),),
    ]
    return _with_pools(parts[:groups])


def _with_pools(parts: list[tuple[Layer, ...]]) -> tuple[Layer, ...]:
    layers = list(parts[0])
    for part in parts[1:]:
        layers += [Pool(), *part]
    return tuple(layers)


# The networks of the published pictures keep late strides out and are, at 256 and 512 px, half as
# wide. What the paper states is met exactly: 54 x 54, 56 x 56 and 54 x 54 cells that see 41, 93
# and 181 px. The pools kept the windows cut by the border, without which the sizes do not come out.
_FINE_128: tuple[Layer, ...] = (
    Convolution(32, 5, 1, 2), *_three(32, 1), Pool(2, partial=True),
    Convolution(64, 5, 1, 2), *_three(64, 2), Pool(1, partial=True),
    *_three(128, 3),
)  # fmt: skip
_FINE_256: tuple[Layer, ...] = (
    Convolution(16, 5, 2, 2), *_three(16, 1), Pool(2, partial=True),
    Convolution(32, 5, 1, 2), *_three(32, 2),
    *_three(64, 3), *_three(128, 3),
)  # fmt: skip
_FINE_512: tuple[Layer, ...] = (
    Convolution(16, 5, 2, 1), *_three(16, 1), Pool(2, partial=True),
    Convolution(32, 5, 1, 1), *_three(32, 2), Pool(2, partial=True),
    *_three(64, 3), *_three(128, 3), *_three(256, 2),
)  # fmt: skip


def _layouts() -> dict[str, Layout]:
    layouts = []
    for photograph, groups in ((128, 3), (256, 4), (512, 5)):
        size = photograph * 7 // 8
        layouts += [
            Layout(f"net-5-{photograph}", photograph, size, _net5(2, groups)),
            # The paper's own fork pads its 5 x 5 convolutions by 1; its 9.7 M need that.
            Layout(f"net-5-pad1-{photograph}", photograph, size, _net5(1, groups)),
            Layout(f"net-4-{photograph}", photograph, size, _net4(groups), rms_stride=2),
        ]
    layouts += [
        Layout("fine-128", 128, 112, _FINE_128),
        Layout("fine-256", 256, 224, _FINE_256),
        Layout("fine-512", 512, 448, _FINE_512),
    ]
    return {layout.name: layout for layout in layouts}


LAYOUTS: dict[str, Layout] = _layouts()
"""net-5 (`same` padding, as o_O), net-5-pad1 (as the paper's fork), net-4; the map networks."""


def map_sizes(layout: Layout) -> list[int]:
    """Compute the side of the map after every convolution and pool."""
    sizes, side = [], layout.input_size
    for layer in layout.layers:
        if isinstance(layer, Pool):
            rounded = math.ceil if layer.partial else math.floor
            side = rounded((side - layer.kernel) / layer.stride) + 1
        else:
            side = (side + 2 * layer.padding - layer.kernel) // layer.stride + 1
        sizes.append(side)
    return sizes


def receptive_field(layout: Layout) -> int:
    """Compute how much of the input one cell of the last map can see.

    Returns:
        Side in input pixels.
    """
    field, jump = 1, 1
    for layer in layout.layers:
        field += (layer.kernel - 1) * jump
        jump *= layer.stride
    return field


class PublishedNetwork(nn.Module):
    """Grades a square; with the GAP head the map adds up to the grade.

    Args:
        head: "gap", global average pooling and one linear unit (equations 1 and 2 of the paper);
            "fc", the benchmark's root-mean-square pool, dropout and two dense maxout layers.
    """

    def __init__(
        self, layout: Layout, *, head: Head = "gap", untied: bool = True, norm: bool = False
    ) -> None:
        super().__init__()
        self.layout = layout
        self.head = head
        self.norm = nn.BatchNorm2d(3) if norm else nn.Identity()
        blocks: list[nn.Module] = []
        channels = 3
        sizes = map_sizes(layout)
        last = len(layout.layers) - 1
        for index, (layer, side) in enumerate(zip(layout.layers, sizes, strict=True)):
            if isinstance(layer, Pool):
                blocks.append(nn.MaxPool2d(layer.kernel, layer.stride, ceil_mode=layer.partial))
                continue
            blocks.append(_Biased(channels, layer, side if untied else 1))
            channels = layer.channels
            if norm and index != last:
                blocks.append(nn.BatchNorm2d(channels))
        self.blocks = nn.Sequential(*blocks)
        self.channels = channels
        if head == "fc":
            side = (sizes[-1] - 3) // layout.rms_stride + 1
            self.dense = nn.Sequential(
                nn.Dropout(0.5), _Maxout(channels * side * side), nn.Dropout(0.5),
                _Maxout(HIDDEN // 2),
            )  # fmt: skip
        self.linear = nn.Linear(HIDDEN // 2 if head == "fc" else channels, 1)
        _orthogonal(self.linear)

    def features(self, squares: Tensor) -> Tensor:
        """Run the convolutions.

        Args:
            squares: float (B, 3, S, S), normalised.
        """
        features: Tensor = self.blocks(self.norm(squares))
        return features

    def pooled(self, squares: Tensor) -> Tensor:
        """Return what the head starts from: the features of the per-patient blend.

        Args:
            squares: float (B, 3, S, S), normalised.

        Returns:
            float32 (B, P): the mean of each feature map (GAP), or its root mean squares (FC).
        """
        features = self.features(squares)
        if self.head == "gap":
            return features.float().mean(dim=(2, 3))
        squared = functional.avg_pool2d(features.float().square(), 3, self.layout.rms_stride)
        return (squared + 1e-12).sqrt().flatten(1)

    def score(self, pooled: Tensor) -> Tensor:
        """Grade from pooled features.

        Args:
            pooled: float32 (B, P), what `pooled` returned.

        Returns:
            float32 (B,), scores in grades.
        """
        hidden = self.dense(pooled) if self.head == "fc" else pooled
        scores: Tensor = self.linear(hidden)[:, 0].float()
        return scores

    def forward(self, squares: Tensor) -> Tensor:
        """Grade squares.

        Args:
            squares: float (B, 3, S, S), normalised.

        Returns:
            float32 (B,), scores in grades.
        """
        return self.score(self.pooled(squares))

    def ram(self, squares: Tensor) -> Tensor:
        """Return Regression Activation Maps, whose mean plus the bias is the score (equation 3).

        Args:
            squares: float (B, 3, S, S), normalised.

        Returns:
            float32 (B, m, m) in grades.

        Raises:
            ValueError: the network has the FC head, which has no such map.
        """
        if self.head != "gap":
            raise ValueError("Only a network with the GAP head has a Regression Activation Map.")
        weight = self.linear.weight[:, :, None, None]
        return functional.conv2d(self.features(squares).float(), weight)[:, 0]


class _Biased(nn.Module):
    """Convolution, bias (one a pixel where `side` is the map's own), leaky ReLU."""

    def __init__(self, inputs: int, layer: Convolution, side: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            inputs, layer.channels, layer.kernel, layer.stride, layer.padding, bias=False
        )
        nn.init.orthogonal_(self.convolution.weight)
        self.bias = nn.Parameter(torch.full((layer.channels, side, side), FIRST_BIAS))

    def forward(self, x: Tensor) -> Tensor:
        y = self.convolution(x)
        return functional.leaky_relu(y + self.bias.to(y.dtype), LEAK)


class _Maxout(nn.Module):
    """Dense layer of 1024 units, of which the larger of each two goes on."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, HIDDEN)
        _orthogonal(self.linear)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.leaky_relu(self.linear(x), LEAK)
        return y.unflatten(1, (HIDDEN // 2, 2)).amax(2)


def _orthogonal(linear: nn.Linear) -> None:
    nn.init.orthogonal_(linear.weight)
    nn.init.constant_(linear.bias, FIRST_BIAS)


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
