"""Ways to run the networks, held against the plain one: milliseconds, and how scores move.

    python -m tests.benchmarks.networks [--json] [--threads N] [--device cuda]

One photograph at a time (as many as are named behind "x"), all three scales, without the mirror
image. What is not installed here is left out with its reason. On a GPU the way there and back is
counted, and scores are held against those of the CPU.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from drcore.grading.grader import Grader, Prepared
from drcore.model.network import RamNetwork
from drcore.model.openvino_graph import graph
from tests.benchmarks.photographs import make_photographs, photographs_in

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Scores (B,) and maps (B, m, m), or the inputs and coverage that they come from."""

Way = Callable[[int, NDArray[np.float32], NDArray[np.float32]], Pair]
"""From input size, inputs and coverage to scores and maps."""

GROUPS = (1, 8)
LIMIT = 1e-3


def plain(networks: dict[int, RamNetwork], *, channels_last: bool = True) -> Way:
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    ready = {size: n.to(memory_format=memory_format) for size, n in networks.items()}

    def run(size: int, inputs: NDArray[np.float32], coverage: NDArray[np.float32]) -> Pair:
        squares = torch.from_numpy(inputs).to(memory_format=memory_format)
        with torch.inference_mode():
            scores, maps = ready[size](squares, torch.from_numpy(coverage))
        return scores.numpy(), maps.numpy()

    return run


def half(networks: dict[int, RamNetwork]) -> Way:
    ordinary = plain(networks)

    def run(size: int, inputs: NDArray[np.float32], coverage: NDArray[np.float32]) -> Pair:
        with torch.autocast("cpu", torch.bfloat16):
            return ordinary(size, inputs, coverage)

    return run


def folded(networks: dict[int, RamNetwork]) -> dict[int, RamNetwork]:
    """Return copies with each batch normalisation folded into its convolution."""
    copies = {size: copy.deepcopy(network) for size, network in networks.items()}
    for network in copies.values():
        for layers in [m for m in network.modules() if isinstance(m, nn.Sequential)]:
            if len(layers) > 1 and isinstance(layers[1], nn.BatchNorm2d):
                layers[0] = fuse_conv_bn_eval(layers[0], layers[1])
                layers[1] = nn.Identity()
        network.requires_grad_(False)
    return copies


def frozen(networks: dict[int, RamNetwork], examples: dict[int, Pair]) -> Way:
    ready = {}
    for size, network in networks.items():
        inputs, coverage = (torch.from_numpy(part[:1]) for part in examples[size])
        traced = torch.jit.trace(network, (inputs, coverage), check_trace=False)
        ready[size] = torch.jit.optimize_for_inference(torch.jit.freeze(traced.eval()))

    def run(size: int, inputs: NDArray[np.float32], coverage: NDArray[np.float32]) -> Pair:
        squares = torch.from_numpy(inputs).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            scores, maps = ready[size](squares, torch.from_numpy(coverage))
        return scores.numpy(), maps.numpy()

    return run


def inductor(networks: dict[int, RamNetwork]) -> Way:
    import torch._inductor.config as settings

    settings.freezing = True
    compiled = {size: torch.compile(network, dynamic=False) for size, network in networks.items()}

    def run(size: int, inputs: NDArray[np.float32], coverage: NDArray[np.float32]) -> Pair:
        squares = torch.from_numpy(inputs).to(memory_format=torch.channels_last)
        with torch.no_grad():
            scores, maps = compiled[size](squares, torch.from_numpy(coverage))
        return scores.numpy(), maps.numpy()

    return run


def onnx_runtime(networks: dict[int, RamNetwork], examples: dict[int, Pair], threads: int) -> Way:
    import onnxruntime

    sessions = {}
    for size, network in networks.items():
        file = io.BytesIO()
        inputs, coverage = (torch.from_numpy(part[:1]) for part in examples[size])
        torch.onnx.export(
            network, (inputs, coverage), file, dynamo=False, input_names=["x", "c"],
            dynamic_axes={"x": {0: "b"}, "c": {0: "b"}},
        )  # fmt: skip
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        sessions[size] = onnxruntime.InferenceSession(
            file.getvalue(), options, providers=["CPUExecutionProvider"]
        )

    def run(size: int, inputs: NDArray[np.float32], coverage: NDArray[np.float32]) -> Pair:
        scores, maps = sessions[size].run(None, {"x": inputs, "c": coverage})
        return scores, maps

    return run


def openvino(networks: dict[int, RamNetwork], precision: str, threads: int) -> Way:
    import openvino as ov

    core = ov.Core()
    models: dict[tuple[int, int], ov.CompiledModel] = {}

    def run(size: int, inputs: NDArray[np.float32], coverage: NDArray[np.float32]) -> Pair:
        count = len(inputs)
        if (size, count) not in models:
            model = graph(networks[size])
            shapes = [ov.PartialShape([count, *part.shape[1:]]) for part in (inputs, coverage)]
            model.reshape(dict(zip(model.inputs, shapes, strict=True)))
            models[size, count] = core.compile_model(
                model, "CPU",
                {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads,
                 "NUM_STREAMS": 1},
            )  # fmt: skip
        results = models[size, count]([inputs, coverage])
        return np.array(results[0]), np.array(results[1])

    return run


def on_gpu(
    networks: dict[int, RamNetwork], *, pinned: bool = True, half: torch.dtype | None = None
) -> Way:
    def carried(part: NDArray[np.float32]) -> torch.Tensor:
        tensor = torch.from_numpy(part)
        return (tensor.pin_memory() if pinned else tensor).to("cuda", non_blocking=pinned)

    def run(size: int, inputs: NDArray[np.float32], coverage: NDArray[np.float32]) -> Pair:
        squares = carried(inputs).to(memory_format=torch.channels_last)
        enabled = half is not None
        with torch.inference_mode(), torch.autocast("cuda", half, enabled=enabled):
            scores, maps = networks[size](squares, carried(coverage))
        return scores.float().cpu().numpy(), maps.float().cpu().numpy()

    return run


def cuda_graphs(networks: dict[int, RamNetwork]) -> Way:
    captured: dict[tuple[int, int], tuple] = {}

    def capture(size: int, *parts: NDArray[np.float32]) -> tuple:
        given = [torch.from_numpy(part).cuda() for part in parts]
        given[0] = given[0].to(memory_format=torch.channels_last)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside), torch.no_grad():
            for _ in range(3):  # what is chosen at first use must not be captured
                networks[size](*given)
        torch.cuda.current_stream().wait_stream(aside)
        recorded = torch.cuda.CUDAGraph()
        with torch.no_grad(), torch.cuda.graph(recorded):
            results = networks[size](*given)
        return recorded, given, results

    def run(size: int, inputs: NDArray[np.float32], coverage: NDArray[np.float32]) -> Pair:
        key = size, len(inputs)
        if key not in captured:
            captured[key] = capture(size, inputs, coverage)
        recorded, given, (scores, maps) = captured[key]
        for place, part in zip(given, (inputs, coverage), strict=True):
            place.copy_(torch.from_numpy(part).pin_memory(), non_blocking=True)
        recorded.replay()
        return scores.cpu().numpy(), maps.cpu().numpy()

    return run


def ways_on_gpu(networks: dict[int, RamNetwork]) -> dict:
    """Return makers of all ways on a GPU, by name."""
    there = {size: copy.deepcopy(network).cuda() for size, network in networks.items()}
    light = {size: network.cuda() for size, network in folded(networks).items()}

    def compiled() -> Way:
        return on_gpu({size: torch.compile(n, dynamic=False) for size, n in light.items()})

    return {
        "float32, pageable copies": lambda: on_gpu(there, pinned=False),
        "float32, pinned copies (plain)": lambda: on_gpu(there),
        "+ batch normalisation folded": lambda: on_gpu(light),
        "+ CUDA graphs": lambda: cuda_graphs(light),
        "+ torch.compile": compiled,
        "bfloat16 autocast": lambda: on_gpu(there, half=torch.bfloat16),
        "float16 autocast": lambda: on_gpu(there, half=torch.float16),
    }


def ways(networks: dict[int, RamNetwork], examples: dict[int, Pair], threads: int) -> dict:
    """Return makers of all ways, by name; each may fail where a part is missing."""
    light = folded(networks)
    return {
        "PyTorch, channels first": lambda: plain(copy.deepcopy(networks), channels_last=False),
        "PyTorch, channels last (plain)": lambda: plain(networks),
        "+ batch normalisation folded": lambda: plain(light),
        "+ frozen TorchScript": lambda: frozen(light, examples),
        "PyTorch, bfloat16 autocast": lambda: half(networks),
        "ONNX Runtime": lambda: onnx_runtime(light, examples, threads),
        "OpenVINO, float32": lambda: openvino(networks, "f32", threads),
        "OpenVINO, float16": lambda: openvino(networks, "f16", threads),
        "OpenVINO, bfloat16": lambda: openvino(networks, "bf16", threads),
        # Last: what it leaves running slows down those after it.
        "torch.compile, frozen": lambda: inductor(networks),
    }


def examples_of(grader: Grader, files: list[Path]) -> dict[int, Pair]:
    prepared = [item for item in map(grader.attempt, files) if isinstance(item, Prepared)]
    return {
        size: (
            np.stack([item.inputs[size] for item in prepared]),
            np.stack([item.coverage[size] for item in prepared]),
        )
        for size in grader.scales
    }


def best(way: Way, size: int, pair: Pair, budget: float = 0.6) -> float:
    """Shortest of some runs, in seconds: what the machine does when nothing disturbs it."""
    times: list[float] = []
    while len(times) < 3 or (sum(times) < budget and len(times) < 20):
        began = time.perf_counter()
        way(size, *pair)
        times.append(time.perf_counter() - began)
    return min(times)


def measure(
    grader: Grader, files: list[Path], threads: int, only: str = "", device: str = "cpu"
) -> list[dict[str, object]]:
    networks = grader.bundle.networks
    examples = examples_of(grader, files)
    reference = plain(networks)
    truth = {size: reference(size, *pair) for size, pair in examples.items()}
    rows: list[dict[str, object]] = []
    gpu = device == "cuda"
    made = ways_on_gpu(networks) if gpu else ways(networks, examples, threads)
    for name, make in made.items():
        if only.lower() not in name.lower():
            continue
        try:
            way = make()
            for size, pair in examples.items():  # compiles; not counted
                way(size, *(part[:1] for part in pair))
        except Exception as error:  # noqa: BLE001 - whatever is missing here, the others go on
            why = " ".join(str(error).split())[:120]
            rows.append({"way": name, "missing": f"{type(error).__name__}: {why}"})
            continue
        row: dict[str, object] = {"way": name}
        for group in GROUPS:
            parts = {s: (x[:group], c[:group]) for s, (x, c) in examples.items()}
            for size, pair in parts.items():
                way(size, *pair)
            seconds = {size: best(way, size, pair) for size, pair in parts.items()}
            row[f"ms_x{group}"] = {s: 1e3 * t / group for s, t in seconds.items()}
            row[f"ms_all_x{group}"] = 1e3 * sum(seconds.values()) / group
        found = {size: way(size, *pair) for size, pair in examples.items()}
        row["score_moves"] = max(float(np.abs(found[s][0] - truth[s][0]).max()) for s in truth)
        row["map_moves"] = max(float(np.abs(found[s][1] - truth[s][1]).max()) for s in truth)
        row["within"] = float(str(row["score_moves"])) < LIMIT
        rows.append(row)
    return rows


def markdown(rows: list[dict[str, object]]) -> str:
    lines = [
        "| way | " + " | ".join(f"ms a photograph, x{g}" for g in GROUPS) + " | score moves by |",
        "|---|" + "---|" * (len(GROUPS) + 1),
    ]
    for row in rows:
        if "missing" in row:
            cells = [str(row["way"]), *["-"] * len(GROUPS), str(row["missing"])]
        else:
            times = [f"{row[f'ms_all_x{g}']:.0f}" for g in GROUPS]
            cells = [str(row["way"]), *times, f"{row['score_moves']:.0e}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.networks", description="Ways to run the networks."
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--threads", type=int, default=1, help="cores for each way; default 1")
    parser.add_argument("--photographs", type=Path, metavar="FOLDER", help="measure with these")
    parser.add_argument("--only", default="", metavar="TEXT", help="ways with this in their name")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no CUDA device here: nothing of a GPU can be measured.")
    warnings.filterwarnings("ignore")
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory(prefix="drcore-benchmark-") as name:
        made = Path(name)
        if given.photographs is None:
            make_photographs(made, max(GROUPS))
        files = photographs_in(given.photographs or made)[: max(GROUPS)]
        rows = measure(Grader.bundled("cpu"), files, given.threads, given.only, given.device)
    if given.json:
        print(
            json.dumps(
                {
                    "device": given.device,
                    "threads": given.threads,
                    "cores": os.cpu_count(),
                    "ways": rows,
                }
            )
        )
    else:
        print(markdown(rows))


if __name__ == "__main__":
    main()
