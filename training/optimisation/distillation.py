"""What a bundle says of the training photographs, as part of what a new network learns.

One reader's grade is noisy: of photographs of one eye, not all get the same one
(`training.repeats`). A bundle has seen all grades, and its score for a photograph says what such a
retina is graded on average. A network that learns the mean of both learns from quieter targets
(Hinton et al. 2015, "Distilling the knowledge in a neural network"). The teacher should not have
memorised the training grades: one that was trained for a short time is better.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drcore.errors import DrcoreError
from drcore.files import replacing
from drcore.grading.grader import Grader
from drcore.model.bundle import Bundle
from drcore.preprocessing.network_input import Preprocessing
from training.data.squares import SQUARE, SoftTargets, Squares
from training.optimisation.predict import predict

__all__ = ["distilled_targets", "on_the_scale_of_grades"]


def distilled_targets(
    bundle: Bundle,
    squares: Squares,
    preparation: Preprocessing,
    share: float,
    *,
    keep: Path | None = None,
    workers: int = 0,
) -> SoftTargets:
    """Let a bundle teach.

    Args:
        squares: photographs; those of the split "train" are taught, the others keep their grades.
        share: weight of the teacher's score in the target, 0-1.

    Raises:
        DrcoreError: a photograph that has to be read from its file cannot be.
    """
    training = np.flatnonzero([row.split == "train" for row in squares.rows])
    grade = np.array([row.grade for row in squares.rows], np.float64)
    dataset = np.array([row.dataset for row in squares.rows])
    name = f"{bundle.name} {bundle.version}"
    file = keep / f"scores of {name}.npy" if keep else None
    score = np.full(len(grade), np.nan)
    if file is not None and file.exists():
        kept = np.load(file, allow_pickle=False)
        score = kept if kept.shape == score.shape else score
    if np.isnan(score[training]).any():
        score[training] = _scores(bundle, squares, training, preparation, workers)
        if file is not None:
            with replacing(file) as part, part.open("wb") as stream:
                np.save(stream, score, allow_pickle=False)  # to a path, it would add an ending
    targets = grade.copy()
    said = on_the_scale_of_grades(score[training], grade[training], dataset[training])
    targets[training] = (1 - share) * grade[training] + share * said
    return SoftTargets(targets, name)


def _scores(
    bundle: Bundle,
    squares: Squares,
    indices: NDArray[np.int64],
    preparation: Preprocessing,
    workers: int,
) -> NDArray[np.float64]:
    """Fused scores; from the files where the bundle looks finer than squares are."""
    if max(bundle.networks) <= SQUARE:
        scores = [
            bundle.fusion[size] * predict(network, squares, indices, preparation, workers=workers)
            for size, network in bundle.networks.items()
        ]
        return np.asarray(sum(scores), np.float64)
    files = [squares.rows[index].path for index in indices]
    found = []
    for report in Grader(bundle).grade_many(files):
        if report.status == "failed":
            raise DrcoreError(f"{report.name} cannot be taught: {report.reason}")
        found.append(report.score)
    return np.array(found, np.float64)


def on_the_scale_of_grades(
    score: NDArray[np.float64], grade: NDArray[np.float64], dataset: NDArray[np.str_]
) -> NDArray[np.float64]:
    """Bring scores onto the scale of the grades, each dataset by itself.

    A teacher may score one camera's photographs lower than another's; that is not to be learnt.

    Args:
        score: float64 (N,), of the teacher.
        grade: float64 (N,), 0-4.
        dataset: str (N,).

    Returns:
        float64 (N,), the least-squares line of the grade over the score.
    """
    result = np.empty_like(score)
    for one in np.unique(dataset):
        here = dataset == one
        x, y = score[here] - score[here].mean(), grade[here]
        power = float(x @ x)
        slope = float(x @ y) / power if power > 0 else 0.0
        result[here] = y.mean() + slope * x
    return result
