"""From finished runs to a bundle: level of healthy retina, thresholds, manifest, half precision."""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from drcore.agreement import quadratic_weighted_kappa
from drcore.checkpoint import MANIFEST, Bundle, bundled_folder, load_bundle, save_bundle
from drcore.errors import DrcoreError
from drcore.grader import Grader
from drcore.prepare import Preparation
from training.data import Squares, data_root, read_labels
from training.evaluate import evaluate
from training.train import load_average, predict

__all__ = ["fit_thresholds"]

PRESETS = ("ram-128", "ram-256", "ram-512")
LICENCE = (
    "Code and weights Apache-2.0. Trained on IDRiD (CC-BY 4.0) and on APTOS 2019 and EyePACS "
    "competition photographs, whose terms allow research use only: so are these weights."
)
INTENDED_USE = (
    "Research on diabetic retinopathy grading from colour fundus photographs. "
    "Decision support, not a medical device. Macular oedema is not graded."
)


def fit_thresholds(
    score: NDArray[np.float64],
    truth: NDArray[np.int64],
    dataset: NDArray[np.str_],
    weights: dict[str, float] | None = None,
) -> tuple[float, float, float, float]:
    """Find the four scores between grades that agree best with the validation labels.

    Coordinate search for the highest mean over datasets of quadratic weighted kappa, so that
    the largest dataset does not decide alone. Thresholds are held near the plain rounding
    .5 1.5 2.5 3.5 (within 0.45, at a price of 0.05 kappa a squared grade), so that a few
    photographs cannot squeeze a rare grade out.

    Args:
        score: float (N,).
        truth: int (N,), 0-4.
        dataset: str (N,).
        weights: of datasets in the mean, 1 where not named.

    Returns:
        Four rising thresholds.
    """
    plain = (0.5, 1.5, 2.5, 3.5)
    names = sorted(set(dataset))
    parts = [(score[dataset == name], truth[dataset == name]) for name in names]
    share = np.array([(weights or {}).get(name, 1.0) for name in names])

    def quality(thresholds: Sequence[float]) -> float:
        kappas = [
            quadratic_weighted_kappa(t, np.searchsorted(thresholds, s, side="right"))
            for s, t in parts
        ]
        pull = sum((a - b) ** 2 for a, b in zip(thresholds, plain, strict=True))
        return float(np.nansum(kappas * share) / share.sum()) - 0.05 * pull

    best = list(plain)
    top = quality(best)
    for _, i in itertools.product(range(6), range(4)):
        for value in np.round(np.arange(plain[i] - 0.45, plain[i] + 0.451, 0.025), 3):
            trial = [*best[:i], float(value), *best[i + 1 :]]
            if all(a < b for a, b in itertools.pairwise(trial)) and quality(trial) > top + 1e-9:
                best, top = trial, quality(trial)
    return best[0], best[1], best[2], best[3]


def main(arguments: list[str] | None = None) -> None:
    """Write a bundle from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/first"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=bundled_folder(), help="folder of the bundle")
    parser.add_argument("--name", default="ram-lite0")
    parser.add_argument("--model-version", default="0.1.0")
    parser.add_argument("--labels", type=Path, help="labels.csv (default: $DRCORE_DATA/labels.csv)")
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    given = parser.parse_args(arguments)
    preparation = Preparation()
    try:
        rows = read_labels(given.labels or data_root() / "labels.csv")
        held = [row for row in rows if row.split == "val"]
        squares = Squares.build(held, given.cache, preparation)
        networks = {n.config.input_size: n for n in (load_average(p, given.run) for p in PRESETS)}
        val = np.arange(len(held))
        truth = np.array([row.grade for row in held])
        dataset = np.array([row.dataset for row in held])
        scores = {}
        for size, network in networks.items():
            scores[size] = predict(network, squares, val, preparation)
            # 0 in the map is to mean "as in a healthy eye": the mean healthy score stays in the
            # bias, and the map of a healthy eye has mean zero.
            healthy = float(scores[size][truth == 0].mean())
            network.set_level(float(network.linear.bias.detach()) - healthy)
        fused = np.mean(list(scores.values()), axis=0)
        thresholds = fit_thresholds(fused, truth, dataset)
        bundle = Bundle(
            name=given.name,
            version=given.model_version,
            networks=networks,
            preparation=preparation,
            thresholds=thresholds,
            created=datetime.datetime.now(datetime.UTC).date().isoformat(),
            training={
                "photographs": {
                    d: sum(r.dataset == d and r.split == "train" for r in rows)
                    for d in sorted({r.dataset for r in rows})
                },
                "start": "EfficientNet-Lite0, ImageNet weights",
                "recipes": {p: _recipe(given.run, p) for p in PRESETS},
                "thresholds": "fitted on the validation split, mean kappa over datasets",
                "lesion_masks": "not used",
            },
            metrics={},
            licence=LICENCE,
            intended_use=INTENDED_USE,
        )
        save_bundle(bundle, given.out)
        # Measured on what was written: half precision, thresholds, the reading path of a user.
        held_out = [row for row in rows if row.split != "train"]
        metrics = evaluate(Grader.from_folder(given.out), held_out)
        stored = load_bundle(given.out)
        manifest = json.loads((given.out / MANIFEST).read_text(encoding="utf-8"))
        manifest["metrics"] = metrics["sets"]
        (given.out / MANIFEST).write_text(
            json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        print(f"{stored.name} {stored.version}: thresholds {stored.thresholds}")
    except DrcoreError as error:
        parser.exit(1, f"{error}\n")


def _recipe(run: Path, preset: str) -> dict[str, object]:
    with safe_open(run / f"{preset}.state.safetensors", framework="pt") as file:
        recipe = json.loads(file.metadata()["recipe"])
    return dict(recipe)


if __name__ == "__main__":
    main()
