"""The GAP regression networks: a convolutional trunk, a mean over the retina, one linear unit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from drcore.model.link import Link, OnsetLink

__all__ = ["PRESETS", "NetworkConfig", "RamNetwork", "retina_mean"]

_NO_RETINA = 1e-6
_LEAST_MEAN = 1e-12


@dataclass(frozen=True, slots=True)
class Stage:
    """Some inverted residual blocks: the first one changes channels and, by `stride`, resolution.

    `dilation` stands in for a stride that was taken out before this stage, so that weights trained
    with the stride see the same neighbourhood.
    """

    channels: int
    kernel: int
    stride: int
    blocks: int
    expand: int
    dilation: int = 1


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """What a network is made of; goes into the manifest beside the weights.

    Attributes:
        name: preset name.
        input_size: side of the input square in pixels.
        stem: channels after the first convolution, which halves the resolution.
        stages: the trunk.
    """

    name: str
    input_size: int
    stem: int
    stages: tuple[Stage, ...]

    @property
    def stride(self) -> int:
        """Input pixels per cell of the map."""
        stride = 2
        for stage in self.stages:
            stride *= stage.stride
        return stride

    @property
    def map_size(self) -> int:
        """Cells a side of the map."""
        return self.input_size // self.stride


def _dilation(stages: tuple[Stage, ...], stage: Stage, *, first: bool) -> int:
    if not first:
        return stage.dilation
    index = stages.index(stage)
    return stages[index - 1].dilation if index else 1


# EfficientNet-Lite0 (Tan & Le 2019; Liu 2020) cut after its fifth stage: what follows is coarser
# than the lesions. Its 512 px form has a cell every 16 px; for the smaller inputs the last stride
# is taken out, as Wang & Yang 2017 (section 3) do, and a cell stands every 8 px.
_LITE0 = (
    Stage(16, 3, 1, 1, 1),
    Stage(24, 3, 2, 2, 6),
    Stage(40, 5, 2, 2, 6),
    Stage(80, 3, 2, 3, 6),
    Stage(112, 5, 1, 3, 6),
)
# EfficientNet-Lite2: the same with a block more a stage, and wider.
_LITE2 = (
    Stage(16, 3, 1, 1, 1),
    Stage(24, 3, 2, 3, 6),
    Stage(48, 5, 2, 3, 6),
    Stage(88, 3, 2, 4, 6),
    Stage(120, 5, 1, 4, 6),
)


def _fine(trunk: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The trunk without its last stride."""
    return (*trunk[:3], replace(trunk[3], stride=1, dilation=2), replace(trunk[4], dilation=2))


PRESETS: dict[str, NetworkConfig] = {
    "ram-128": NetworkConfig("ram-128", 128, 32, _fine(_LITE0)),
    "ram-256": NetworkConfig("ram-256", 256, 32, _fine(_LITE0)),
    "ram-512": NetworkConfig("ram-512", 512, 32, _LITE0),
    # Microaneurysms are a few pixels across at 1,024 px: a cell sees 147 px, which is enough.
    "ram-1024": NetworkConfig("ram-1024", 1024, 32, _LITE0[:4]),
    # The same with three blocks more, which start as nothing: a cell sees 307 px.
    "ram-1024-deep": NetworkConfig(
        "ram-1024-deep",
        1024,
        32,
        (*_LITE0[:2], replace(_LITE0[2], blocks=3), _LITE0[3], Stage(80, 5, 1, 2, 6)),
    ),
    "ram-256-lite2": NetworkConfig("ram-256-lite2", 256, 32, _fine(_LITE2)),
    "ram-512-lite2": NetworkConfig("ram-512-lite2", 512, 32, _LITE2),
    # For tests and demonstrations: trains in seconds, a cell sees 23 px.
    "tiny-128": NetworkConfig("tiny-128", 128, 12, (Stage(16, 3, 2, 1, 2), Stage(24, 3, 1, 2, 2))),
}


class RamNetwork(nn.Module):
    """Score and Regression Activation Map of a square, from one forward pass.

    With f_k the K feature maps, w_k the weights of the linear unit and b its bias,
    `ram = sum_k w_k f_k` and `score = mean(ram) + b` (Wang & Yang 2017, equations 1-3). The mean
    runs over the field of view: black surround neither votes nor shows.

    With an `OnsetLink`, `score = link(mean(ram) + b)`, and the map is multiplied so that
    `score = mean(ram) + link(b)`. With a `Link` the map is never negative,
    `e = log(1 + exp(sum_k w_k f_k + b))`, and its mean gives the score through the link,
    `score = link(mean(e))`. Brought into grade units,
    `ram = e * (score - link(0)) / mean(e)`, so that `score = mean(ram) + link(0)` holds as before.

    Args:
        config: what the network is made of.
        link: from the mean of the map to the score; None for their sum.

    Attributes:
        mirrored: whether grading takes the mean over the square and its mirror image.
        precision: "bfloat16" where scores hold in that arithmetic, which processors that have it
            may then use; "float32" elsewhere.
    """

    def __init__(self, config: NetworkConfig, link: Link | OnsetLink | None = None) -> None:
        super().__init__()
        self.config = config
        self.link = link
        self.mirrored = True
        self.precision = "float32"
        self.stem = _conv(3, config.stem, 3, stride=2)
        blocks: list[nn.Module] = []
        channels = config.stem
        strided = [stage for stage in config.stages if stage.stride == 2]
        for stage in config.stages:
            for index in range(stage.blocks):
                first = index == 0
                blocks.append(
                    _InvertedResidual(
                        channels,
                        stage.channels,
                        stage.kernel,
                        stage.stride if first else 1,
                        stage.expand,
                        _dilation(config.stages, stage, first=first),
                        # All strided layers but the last sample early by half a pixel of their
                        # input, the last one late: the shifts cancel (-.5 -1 -2 +4 = +.5 px), and
                        # a cell of the map lies over the pixels that it speaks of.
                        late=first and bool(strided) and stage is strided[-1],
                    )
                )
                channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(channels, 1)
        nn.init.normal_(self.linear.weight, std=channels**-0.5)
        nn.init.zeros_(self.linear.bias)
        # What part of the bias is spread over the map; see `set_level`. Lives in the manifest.
        self.level: Tensor
        self.register_buffer("level", torch.zeros(()), persistent=False)

    @property
    def bias(self) -> float:
        """The bias, in grades: score less the mean of the map."""
        if isinstance(self.link, Link):
            return self.link.least
        plain = self._plain_bias
        return plain if self.link is None else float(self.link.score(plain))

    @property
    def _plain_bias(self) -> float:
        """The bias of a linear map before any link."""
        return float(self.linear.bias.detach() - self.level)

    def set_level(self, level: float) -> None:
        """Move a constant from the bias into the map; no score changes.

        Only the sum of the two is learnt. With the level of healthy retina moved, 0 in the map
        means "as in a healthy eye" and the map's values can be read as grades above that.

        Args:
            level: grades added to every cell of the map and taken off the bias; 0 with a `Link`,
                whose map is zero where there is nothing to see.
        """
        if isinstance(self.link, Link) and level:
            raise ValueError("A map that is never negative has no level.")
        self.level.fill_(level)

    def forward(self, squares: Tensor, coverage: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Grade squares.

        Args:
            squares: float (B, 3, S, S), normalised.
            coverage: float (B, m, m), 0-1, how much of each cell is retina; all if None.

        Returns:
            Scores (B,) in grades, and Regression Activation Maps (B, m, m) in grades, with
            `sum(map * coverage) / sum(coverage) + bias == score`.
        """
        return self.read(self.features(squares), coverage)

    def features(self, squares: Tensor) -> Tensor:
        """Look at squares; what the linear unit reads.

        Args:
            squares: float (B, 3, S, S), normalised.

        Returns:
            The feature maps f_k, float (B, K, m, m).
        """
        features: Tensor = self.blocks(self.stem(squares))
        return features

    def read(self, features: Tensor, coverage: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the linear unit to feature maps.

        Args:
            features: float (B, K, m, m), see `features`.
            coverage: float (B, m, m), 0-1, how much of each cell is retina; all if None.

        Returns:
            Scores and maps, see `forward`.
        """
        ram = self.cells(features)
        if not isinstance(self.link, Link):
            mean = ram.mean(dim=(1, 2)) if coverage is None else retina_mean(ram, coverage)
            plain, ram = mean + self.linear.bias.float(), ram + self.level
            if self.link is None:
                return plain, ram
            factor = self.link.factor(mean + self.level, self._plain_bias, torch)
            return self.link.score(plain, torch), ram * factor[:, None, None]
        ram = functional.softplus(ram + self.linear.bias.float())
        mean = ram.mean(dim=(1, 2)) if coverage is None else retina_mean(ram, coverage)
        scores: Tensor = self.link.score(mean, torch)
        factor = (scores - self.link.least) / mean.clamp_min(_LEAST_MEAN)
        return scores, ram * factor[:, None, None]

    def cells(self, features: Tensor) -> Tensor:
        """Return the linear unit at each cell, without bias and level: `sum_k w_k f_k`.

        Args:
            features: float (B, K, m, m), see `features`.

        Returns:
            float32 (B, m, m).
        """
        weight = self.linear.weight.to(features.dtype)[:, :, None, None]  # (1, K, 1, 1)
        # A 1 x 1 convolution is the sum over k; torch.einsum here gave wrong gradients on CPU.
        return functional.conv2d(features, weight)[:, 0].float()


def retina_mean(maps: Tensor, coverage: Tensor) -> Tensor:
    """Average maps over the retina.

    Args:
        maps: float (..., m, m).
        coverage: float (..., m, m) or what broadcasts to it, 0-1, how much of each cell is retina.

    Returns:
        float (...).
    """
    return (maps * coverage).sum(dim=(-2, -1)) / coverage.sum(dim=(-2, -1)).clamp_min(_NO_RETINA)


def _conv(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int | None = None,
    dilation: int = 1,
    groups: int = 1,
    active: bool = True,
) -> nn.Sequential:
    if padding is None:
        padding = dilation * (kernel // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3),
    ]
    if active:
        layers.append(nn.ReLU6(inplace=True))
    return nn.Sequential(*layers)


class _InvertedResidual(nn.Module):
    """Widen by 1x1, filter each channel, narrow by 1x1; add the input where shapes agree."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        expand: int,
        dilation: int,
        *,
        late: bool,
    ) -> None:
        super().__init__()
        hidden = inputs * expand
        self.expand = _conv(inputs, hidden, 1) if expand != 1 else nn.Identity()
        reach = dilation * (kernel // 2)
        self.pad = nn.ZeroPad2d((reach - 1, reach, reach - 1, reach)) if late else nn.Identity()
        self.depthwise = _conv(
            hidden, hidden, kernel,
            stride=stride, padding=0 if late else reach, dilation=dilation, groups=hidden,
        )  # fmt: skip
        self.project = _conv(hidden, outputs, 1, active=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.pad(self.expand(x))))
        return x + y if self.residual else y
