"""Maps of the finest scale over whole photographs, and what they are worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from drcore.agreement.statistics import roc_auc
from drcore.model.link import Link
from drcore.model.network import RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from training.evaluation.localisation import average_precision
from training.finest_scale.squares import OUTSIDE, FineSquares
from training.finest_scale.tile_training import logits_of, normalised, shared
from training.optimisation.arithmetic import Folded

__all__ = ["coverage_of", "evidence", "figures", "in_grades", "logit_maps", "shared_out"]

GRID = 512
_NEAR = 21  # px of 1,024: within 1 % of the field of view


def coverage_of(squares: FineSquares, index: int, cells: int) -> NDArray[np.float32]:
    """Share of each cell of the map that is retina, float32 (m, m)."""
    inside = ((np.asarray(squares.masks[index]) & OUTSIDE) == 0).astype(np.float32)
    return np.asarray(cv2.resize(inside, (cells, cells), interpolation=cv2.INTER_AREA), np.float32)


def logit_maps(
    network: RamNetwork,
    squares: FineSquares,
    indices: Sequence[int],
    preparation: Preprocessing,
    pool: ThreadPoolExecutor,
    size: int | None = None,
) -> Iterator[NDArray[np.float16]]:
    """Look at whole photographs.

    Args:
        network: whose norms keep their statistics.
        squares: the photographs.
        indices: which of them.
        preparation: how squares become input.
        pool: threads.
        size: side in pixels of what the network sees; that of the squares where left out.

    Yields:
        The linear unit at each cell, float16 (m, m), in order.
    """
    folded = Folded(network)
    with torch.no_grad():
        leaves = [value.detach() for value in shared(folded)]

    def look(index: int) -> NDArray[np.float16]:
        contrast = np.asarray(squares.contrast[index])
        if size is not None and size != contrast.shape[0]:
            contrast = cv2.resize(contrast, (size, size), interpolation=cv2.INTER_AREA)
        with torch.no_grad():
            z = logits_of(folded, normalised([contrast], preparation), leaves)[0]
        return np.asarray(z.numpy(), np.float16)

    yield from pool.map(look, indices)


def in_grades(
    ram: NDArray[np.float64], share: NDArray[np.float32], link: Link
) -> tuple[NDArray[np.float64], float, float]:
    """Bring a map to grade units, so that its mean and the bias are the score.

    Args:
        ram: float (m, m), not negative.
        share: float (m, m), share of each cell that is retina.
        link: from the mean to the score.

    Returns:
        The map in grades, the bias, and the score: `mean(map) + bias == score` over the retina.
    """
    mean = float((ram * share).sum() / share.sum())
    bias, score = (float(link.score(np.array([at]))[0]) for at in (0.0, mean))
    return ram * ((score - bias) / max(mean, 1e-12)), bias, score


def shared_out(
    ram: NDArray[np.floating[Any]], contrast: NDArray[np.uint8], neighbourhoods: int = 64
) -> NDArray[np.float32]:
    """Share out the evidence of a neighbourhood by squared local contrast, as `drcore.focus` does.

    Args:
        ram: float (m, m), not negative.
        contrast: uint8 (S, S), green channel of the local contrast.
        neighbourhoods: a side; those of the finest scale are one cell wide.

    Returns:
        float32 (S, S).
    """
    size, each = contrast.shape[0], (neighbourhoods, neighbourhoods)
    smooth = cv2.resize(ram.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    stands = np.square(cv2.GaussianBlur(np.abs(contrast.astype(np.float32) - 128), (0, 0), 1.5))
    around = cv2.resize(stands, each, interpolation=cv2.INTER_AREA)
    around = cv2.resize(around, (size, size), interpolation=cv2.INTER_LINEAR)
    floor = 0.1 * float(stands.mean()) + 1e-6
    return np.asarray(smooth * np.minimum((stands + floor) / (around + floor), 40), np.float32)


def evidence(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The map, softplus of the logits; never negative."""
    return np.asarray(np.logaddexp(0, logits.astype(np.float64)))


def figures(
    squares: FineSquares, indices: Sequence[int], maps: Sequence[NDArray[np.floating[Any]]]
) -> dict[str, Any]:
    """Measure maps of logits on graded photographs and on those with masks.

    Args:
        squares: the photographs.
        indices: which of them, N.
        maps: (m, m) each, logits.

    Returns:
        By data set and split: areas under the curve for grade 0 against 1, any and referable
        disease, and the share of healthy eyes whose map is above 1 somewhere; where there are
        masks, the pointing hit and average precisions.
    """
    groups: dict[str, list[tuple[int, NDArray[np.float64]]]] = {}
    for index, one in zip(indices, maps, strict=True):
        row = squares.rows[index]
        kind = f"-{row.path.suffix[1:]}" if row.dataset == "eyepacs" else ""
        groups.setdefault(f"{row.dataset}/{row.split}{kind}", []).append((index, evidence(one)))
    result: dict[str, Any] = {}
    for name, members in sorted(groups.items()):
        if squares.rows[members[0][0]].mask is not None:
            result[name] = _pointing(squares, members)
        else:
            result[name] = _grading(squares, members)
    return result


def mean_evidence(squares: FineSquares, index: int, ram: NDArray[np.float64]) -> float:
    """Mean of a map over the retina."""
    share = coverage_of(squares, index, ram.shape[0])
    return float((ram * share).sum() / share.sum())


def _grading(
    squares: FineSquares, members: list[tuple[int, NDArray[np.float64]]]
) -> dict[str, Any]:
    grades = np.array([squares.rows[i].grade for i, _ in members])
    means = np.array([mean_evidence(squares, i, ram) for i, ram in members])
    peaks = np.array(
        [float((ram * (coverage_of(squares, i, ram.shape[0]) > 0.5)).max()) for i, ram in members]
    )
    entry: dict[str, Any] = {"n": len(members), "above1": float((peaks[grades == 0] > 1).mean())}
    entry["median0"] = float(np.median(means[grades == 0]))
    if grades.max() > 0:
        few = grades <= 1
        entry["r_log"] = float(np.corrcoef(np.log1p(means / 0.002), grades)[0, 1])
        for key, positive, chosen in (
            ("referable", grades >= 2, grades >= 0),
            ("any", grades >= 1, grades >= 0),
            ("01", grades >= 1, few),
        ):
            entry[key] = roc_auc(positive[chosen], means[chosen])
            entry[f"{key}_peak"] = roc_auc(positive[chosen], peaks[chosen])
    return entry


def _pointing(
    squares: FineSquares, members: list[tuple[int, NDArray[np.float64]]]
) -> dict[str, Any]:
    hits: dict[str, list[float]] = {"all": [], "MA": []}
    precision: dict[str, list[float]] = {"all": [], "MA": []}
    for index, ram in members:
        mask = np.asarray(squares.masks[index])
        inside = (mask & OUTSIDE) == 0
        values = cv2.resize(ram.astype(np.float32), mask.shape, interpolation=cv2.INTER_LINEAR)
        for name, bits in (("all", 15), ("MA", 1)):
            lesion = inside & ((mask & bits) > 0)
            if not lesion.any():
                continue
            near = cv2.dilate(
                lesion.astype(np.uint8),
                cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_NEAR, _NEAR)),
            )[inside].astype(bool)
            peak = values[inside]
            hits[name].append(float(near[peak == peak.max()].mean()))
            half = (slice(None, None, 2),) * 2
            precision[name].append(
                average_precision(values[half][inside[half]], lesion[half][inside[half]])
            )
    return {
        "n": len(members),
        **{f"hit_{k}": float(np.mean(v)) for k, v in hits.items() if v},
        **{f"ap_{k}": float(np.mean(v)) for k, v in precision.items() if v},
    }
