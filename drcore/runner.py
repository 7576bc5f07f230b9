"""Running a bundle's networks: squares in, scores and maps out, the fastest way the device has.

An eye and its mirror image have one grade: the mean of both is steadier, and so is the map, of
which it remains the mean. Every square therefore goes through its network twice.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drcore.network import RamNetwork

__all__ = ["Answers", "CompiledRunner", "Runner", "Squares", "TorchRunner", "graph", "open_runner"]

Squares = dict[int, NDArray[np.float32]]
"""Of one photograph, by input size: network input (3, S, S), or coverage of its map (m, m)."""

Answers = dict[int, tuple[float, NDArray[np.float32]]]
"""Of one photograph, by input size, ascending: score in grades, and map (m, m) in grades."""

_STREAMS = 8
"""Most networks that run at once; each keeps memory for its activations, about 60 MiB at 512 px."""


class Runner(Protocol):
    """Runs the networks of a bundle; safe to share between threads.

    Attributes:
        alone: True where a photograph is done fastest by itself, and threads may run at once;
            False where photographs should go through the networks together.
    """

    alone: bool

    def run(self, inputs: Sequence[Squares], coverage: Sequence[Squares]) -> list[Answers]:
        """Grade squares.

        Args:
            inputs: for each photograph and input size float32 (3, S, S), normalised.
            coverage: the same with float32 (m, m), 0-1, how much of each cell is retina.

        Returns:
            Scores and maps of each photograph.

        Raises:
            RuntimeError: the device cannot run them (out of memory, a lost device).
        """
        ...


def open_runner(networks: Mapping[int, RamNetwork], device: str) -> Runner:
    """Make networks ready for a device.

    Args:
        networks: by input size in pixels, in evaluation mode.
        device: "cpu" or "cuda".

    Returns:
        Compiled networks on a CPU that has OpenVINO, else the networks as they are.
    """
    if device == "cpu" and importlib.util.find_spec("openvino") is not None:
        return CompiledRunner(networks)
    return TorchRunner(networks, device)


class TorchRunner:
    """The networks as PyTorch runs them: on a GPU, and where there is no compiler.

    Args:
        networks: by input size in pixels, in evaluation mode, on the device.
        device: "cpu" or "cuda".
    """

    alone = False

    def __init__(self, networks: Mapping[int, RamNetwork], device: str) -> None:
        self._networks = dict(sorted(networks.items()))
        self._device = device
        # One forward pass at a time: two would only fight for the same cores and memory.
        self._lock = threading.Lock()

    def run(self, inputs: Sequence[Squares], coverage: Sequence[Squares]) -> list[Answers]:
        """See `Runner.run`."""
        import torch

        def carried(squares: list[NDArray[np.float32]]) -> torch.Tensor:
            stacked = torch.from_numpy(np.stack(squares))
            if self._device == "cpu":
                return stacked
            return stacked.pin_memory().to(self._device, non_blocking=True)

        # On a CPU larger groups only fall out of its cache.
        group = 1 if self._device == "cpu" else len(inputs)
        answers: list[Answers] = [{} for _ in inputs]
        with self._lock, torch.inference_mode():
            for size, network in self._networks.items():
                for first in range(0, len(inputs), group):
                    part = slice(first, first + group)
                    squares = carried([item[size] for item in inputs[part]])
                    squares = squares.to(memory_format=torch.channels_last)
                    share = carried([item[size] for item in coverage[part]])
                    scores, maps = network(squares, share)
                    mirrored, back = network(squares.flip(3), share.flip(2))
                    scores, maps = (scores + mirrored) / 2, (maps + back.flip(2)) / 2
                    for index, (score, ram) in enumerate(
                        zip(scores.cpu(), maps.cpu().numpy(), strict=True)
                    ):
                        answers[first + index][size] = float(score), ram.copy()
        return answers


class CompiledRunner:
    """The networks compiled by OpenVINO for this machine's CPU, in float32.

    Args:
        networks: by input size in pixels, in evaluation mode.
    """

    alone = True

    def __init__(self, networks: Mapping[int, RamNetwork]) -> None:
        # The compiler's converter, which we do not use, can report its use over the network.
        # Nothing in a process that holds photographs may: without its sender it is a stub.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino  # type: ignore[import-untyped]

        cores = _cores()
        core = openvino.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            # A core a stream: several photographs, sizes or mirror images run side by side and
            # never wait for each other, as threads within one small convolution would.
            "INFERENCE_NUM_THREADS": cores,
            "NUM_STREAMS": min(cores, _STREAMS),
            "ENABLE_CPU_PINNING": False,  # other programs have these cores too
        }
        # The largest first, in which order they are run: the small ones fill the gaps.
        self._models = {
            size: core.compile_model(graph(network), "CPU", settings)
            for size, network in sorted(networks.items(), reverse=True)
        }

    def run(self, inputs: Sequence[Squares], coverage: Sequence[Squares]) -> list[Answers]:
        """See `Runner.run`."""
        return [self._run(*of_one) for of_one in zip(inputs, coverage, strict=True)]

    def _run(self, inputs: Squares, coverage: Squares) -> Answers:
        begun = []
        for size, model in self._models.items():
            for step in (1, -1):
                given = [
                    np.ascontiguousarray(inputs[size][None, ..., ::step]),
                    np.ascontiguousarray(coverage[size][None, ..., ::step]),
                ]
                request = model.create_infer_request()
                request.start_async(given, share_inputs=True)
                begun.append((size, step, request, given))  # what is shared must stay alive
        parts: dict[int, list[tuple[float, NDArray[np.float32]]]] = {}
        for size, step, request, _ in begun:
            request.wait()
            score, ram = (request.get_output_tensor(index).data[0] for index in (0, 1))
            parts.setdefault(size, []).append((float(score), ram[:, ::step]))
        return {
            size: ((a + b) / 2, (plain + mirrored) / np.float32(2))
            for size, ((a, plain), (b, mirrored)) in sorted(parts.items())
        }


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def graph(network: RamNetwork) -> Any:
    """Rebuild a network for the compiler, batch normalisation folded into the convolutions.

    Built layer by layer instead of traced: no converter, and no network that is only nearly ours.

    Args:
        network: in evaluation mode.

    Returns:
        `openvino.Model` from a square (1, 3, S, S) and its coverage (1, m, m) to score (1,) and
        map (1, m, m).
    """
    import openvino
    from openvino import opset13 as ops
    from torch import nn

    config = network.config
    square = ops.parameter([1, 3, config.input_size, config.input_size], np.float32)
    share = ops.parameter([1, config.map_size, config.map_size], np.float32)
    x = _convolved(square, network.stem)
    block: Any  # of the network's own kind, which has no public name
    for block in network.blocks:
        y = x if isinstance(block.expand, nn.Identity) else _convolved(x, block.expand)
        y = _convolved(y, block.depthwise, block.pad)
        y = _convolved(y, block.project)
        x = ops.add(x, y) if block.residual else y
    weight = network.linear.weight.detach().numpy()[:, :, None, None]
    ram = ops.convolution(x, ops.constant(weight), [1, 1], [0, 0], [0, 0], [1, 1])
    ram = ops.squeeze(ram, ops.constant(np.array([1])))
    axes = ops.constant(np.array([1, 2]))
    covered = ops.reduce_sum(share, axes)
    least = ops.constant(np.float32(1e-6))
    mean = ops.divide(ops.reduce_sum(ops.multiply(ram, share), axes), ops.maximum(covered, least))
    score = ops.add(mean, ops.constant(network.linear.bias.detach().numpy()))
    ram = ops.add(ram, ops.constant(network.level.numpy()))
    return openvino.Model([score, ram], [square, share], config.name)


def _convolved(x: Any, layers: Any, pad: Any = None) -> Any:
    """Convolution with its batch normalisation, padding and activation."""
    from openvino import opset13 as ops
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    convolution, norm = layers[0], layers[1]
    fused, shift = fuse_conv_bn_weights(
        convolution.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight,
        norm.bias,
    )  # fmt: skip
    weight, bias = fused.detach().numpy(), shift.detach().numpy()
    begin = end = list(convolution.padding)
    if isinstance(pad, nn.ZeroPad2d):
        left, right, top, bottom = pad.padding
        begin, end = [top, left], [bottom, right]
    layout = (list(convolution.stride), begin, end, list(convolution.dilation))
    if convolution.groups > 1:  # depthwise: each channel is its own group
        y = ops.group_convolution(x, ops.constant(weight[:, None]), *layout)
    else:
        y = ops.convolution(x, ops.constant(weight), *layout)
    y = ops.add(y, ops.constant(bias.reshape(1, -1, 1, 1)))
    return ops.clamp(y, 0.0, 6.0) if len(layers) == 3 else y
