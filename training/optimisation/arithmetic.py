"""Faster arithmetic for training on processors: bfloat16, folded norms, own depthwise gradients.

`Folded` runs a `RamNetwork` whose norms keep their statistics: each norm is folded into the
convolution before it, activations are bfloat16, depthwise convolutions and their gradients are
those of `depthwise.c`, compiled on first use with the C compiler of the machine. Gradients reach
the network's own float32 parameters. Several threads share a step, each with some of the pictures:
on a busy machine that is faster than dividing each operation.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from drcore.errors import DrcoreError
from drcore.files import replacing
from drcore.model.network import RamNetwork

__all__ = ["Folded", "Geometry", "depthwise", "step"]

_SOURCE = Path(__file__).with_name("depthwise.c")


class CompilerError(DrcoreError):
    """There is no C compiler, or it failed; the message says what it said."""


class _Shape(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int)
        for name in ("n", "h", "w", "c", "k", "stride", "dilation", "top", "left", "oh", "ow")
    ]


_COMPILING = threading.Lock()


def _library() -> ctypes.CDLL:
    """The compiled `depthwise.c`."""
    with _COMPILING:
        return _compiled()


@functools.cache
def _compiled() -> ctypes.CDLL:
    """Compile `depthwise.c` once a version of it."""
    source = _SOURCE.read_bytes()
    folder = Path(tempfile.gettempdir()) / f"drcore-training-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / f"depthwise-{hashlib.sha256(source).hexdigest()[:16]}.so"
    if not file.exists():
        with replacing(file) as part:
            _compile(part)
    return ctypes.CDLL(str(file))


def _compile(library: Path) -> None:
    """Run the machine's C compiler."""
    command = [
        os.environ.get("CC", "cc"), "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC",
        str(_SOURCE), "-o", str(library),
    ]  # fmt: skip
    try:
        subprocess.run(  # noqa: S603 - the machine's own compiler on a file of this package
            command, check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or error
        raise CompilerError(
            f"{_SOURCE.name} cannot be compiled ({said}). Install a C compiler, or "
            "train without the faster arithmetic."
        ) from error


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a depthwise convolution passes over a picture.

    Attributes:
        kernel: taps a side, 3 or 5.
        stride: pixels from one result to the next.
        dilation: pixels from one tap to the next.
        top: rows and columns of zeros before the picture.
        after: and behind it.
    """

    kernel: int
    stride: int
    dilation: int
    top: int
    after: int

    def out(self, size: int) -> int:
        """Return the side of the result of a side of the picture."""
        reach = self.dilation * (self.kernel - 1)
        return (size + self.top + self.after - reach - 1) // self.stride + 1

    def shape(self, x: Tensor) -> _Shape:
        """Return what the compiled functions take."""
        n, c, h, w = x.shape
        return _Shape(
            n, h, w, c, self.kernel, self.stride, self.dilation, self.top, self.top,
            self.out(h), self.out(w),
        )  # fmt: skip


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


class _Depthwise(torch.autograd.Function):
    """Depthwise convolution, bias and ReLU6 of bfloat16 (B, C, H, W), channels last."""

    @staticmethod
    def forward(  # type: ignore[override]
        context: torch.autograd.function.FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        geometry: Geometry,
    ) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        shape = geometry.shape(x)
        taps = weight.detach().reshape(weight.shape[0], -1).t().contiguous()
        y = torch.empty(
            (shape.n, shape.c, shape.oh, shape.ow), dtype=torch.bfloat16,
            memory_format=torch.channels_last,
        )  # fmt: skip
        _library().depthwise_forward(
            ctypes.byref(shape),
            _pointer(x),
            _pointer(taps),
            _pointer(bias.detach()),
            _pointer(y),
            1,
        )
        context.save_for_backward(x, taps, y)
        context.geometry = geometry  # type: ignore[attr-defined]
        return y

    @staticmethod
    def backward(  # type: ignore[override]
        context: torch.autograd.function.FunctionCtx, gradient: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, taps, y = context.saved_tensors  # type: ignore[attr-defined]
        geometry: Geometry = context.geometry  # type: ignore[attr-defined]
        shape, library = geometry.shape(x), _library()
        g = gradient.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        g = g.clone(memory_format=torch.channels_last)
        library.relu6_backward(_pointer(g), _pointer(y), ctypes.c_long(g.numel()))
        weight, bias = torch.zeros_like(taps), torch.zeros(shape.c)
        library.depthwise_weight(
            ctypes.byref(shape), _pointer(x), _pointer(g), _pointer(weight), _pointer(bias)
        )
        gx = torch.empty_like(x)
        if geometry.stride == 1:
            turned = taps.flip(0).contiguous()
            back = geometry.dilation * (geometry.kernel - 1) - geometry.top
            flipped = _Shape(
                shape.n, shape.oh, shape.ow, shape.c, shape.k, 1, shape.dilation, back, back,
                shape.h, shape.w,
            )  # fmt: skip
            library.depthwise_forward(
                ctypes.byref(flipped), _pointer(g), _pointer(turned), None, _pointer(gx), 0
            )
        else:
            library.depthwise_input(ctypes.byref(shape), _pointer(g), _pointer(taps), _pointer(gx))
        side = geometry.kernel
        return gx, weight.t().reshape(-1, 1, side, side), bias, None


def depthwise(x: Tensor, weight: Tensor, bias: Tensor, geometry: Geometry) -> Tensor:
    """Filter each channel, add a bias, limit to 0-6.

    Args:
        x: bfloat16 (B, C, H, W), C a multiple of 16.
        weight: float (C, 1, kernel, kernel).
        bias: float (C,).
        geometry: how the kernel passes.

    Returns:
        bfloat16 (B, C, h, w), channels last.
    """
    result: Tensor = _Depthwise.apply(x, weight, bias, geometry)
    return result


class Folded:
    """A network with its norms folded into its convolutions; see the module.

    Args:
        network: whose norms keep their statistics; its parameters are folded anew by `fold`.
        frozen: blocks from the input that stay as they are, the stem with them. The first ones
            are the largest: with those of the first three stages frozen, a step takes half as long.
    """

    def __init__(self, network: RamNetwork, frozen: int = 0) -> None:
        self.network, self.frozen = network, frozen
        if frozen:
            network.stem.requires_grad_(requires_grad=False)
            network.blocks[:frozen].requires_grad_(requires_grad=False)
        self.pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
        for module in network.modules():
            if isinstance(module, nn.Sequential) and isinstance(module[0], nn.Conv2d):
                self.pairs.append((module[0], module[1]))

    def fold(self) -> list[Tensor]:
        """Return weight and bias of each convolution, float32, connected to the parameters."""
        folded: list[Tensor] = []
        for convolution, norm in self.pairs:
            factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            folded.append(convolution.weight * factor[:, None, None, None])
            folded.append(norm.bias - norm.running_mean * factor)
        return folded

    def features(self, squares: Tensor, folded: Sequence[Tensor]) -> Tensor:
        """Return the feature maps, see `RamNetwork.features`.

        Args:
            squares: float (B, 3, S, S), normalised.
            folded: of `fold`.

        Returns:
            bfloat16 (B, K, m, m).
        """
        given = iter(zip(folded[::2], folded[1::2], strict=True))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            convolution = self.network.stem[0]
            x = squares.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
            weight, bias = next(given)
            x = functional.conv2d(
                x, weight.bfloat16(), bias.bfloat16(), convolution.stride, convolution.padding
            )
            x = functional.hardtanh_(x, 0.0, 6.0)
            for block in self.network.blocks[: self.frozen]:
                x = _block(block, x, given)
        for block in self.network.blocks[self.frozen :]:
            x = _block(block, x, given)
        return x


def _block(block: nn.Module, x: Tensor, given: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
    """An inverted residual block with its norms folded."""
    y = x
    if not isinstance(block.expand, nn.Identity):
        weight, bias = next(given)
        y = functional.conv2d(x, weight.bfloat16(), bias.bfloat16())
        y = functional.hardtanh_(y, 0.0, 6.0)
    weight, bias = next(given)
    y = depthwise(y, weight, bias, _geometry(block))
    weight, bias = next(given)
    y = functional.conv2d(y, weight.bfloat16(), bias.bfloat16())
    return x + y if block.residual else y


def _geometry(block: nn.Module) -> Geometry:
    convolution = block.depthwise[0]  # type: ignore[index]
    pad = block.pad.padding if isinstance(block.pad, nn.ZeroPad2d) else None
    top = pad[0] if pad else convolution.padding[0]
    after = pad[1] if pad else convolution.padding[0]
    return Geometry(
        convolution.kernel_size[0], convolution.stride[0], convolution.dilation[0], top, after
    )


def step(
    shared: Sequence[Tensor],
    jobs: Sequence[Callable[[list[Tensor]], tuple[Tensor, Tensor]]],
    pool: ThreadPoolExecutor,
) -> Tensor:
    """Sum the losses of several jobs and their gradients, some jobs at a time.

    Args:
        shared: tensors that all jobs read, connected to the parameters; `backward` goes through
            them once, after all jobs.
        jobs: each takes tensors like `shared` and returns its loss, float (), and figures to log.
        pool: as many threads as jobs are to run at a time.

    Returns:
        float (K,), sum of the figures.
    """

    def run(job: Callable[[list[Tensor]], tuple[Tensor, Tensor]]) -> tuple[list[Tensor], Tensor]:
        leaves = [value.detach().requires_grad_(value.requires_grad) for value in shared]
        with torch.enable_grad():
            loss, figures = job(leaves)
            learnt = [leaf for leaf in leaves if leaf.requires_grad]
            gradients = iter(torch.autograd.grad(loss, learnt))
        return [
            next(gradients) if leaf.requires_grad else torch.zeros(()) for leaf in leaves
        ], figures.detach()

    done = list(pool.map(run, jobs))
    totals = [torch.stack(each).sum(0) for each in zip(*(g for g, _ in done), strict=True)]
    learnt = [
        (value, total) for value, total in zip(shared, totals, strict=True) if value.requires_grad
    ]
    torch.autograd.backward([value for value, _ in learnt], [total for _, total in learnt])
    return torch.stack([figures for _, figures in done]).sum(0)
