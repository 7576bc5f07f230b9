"""A contact sheet of photographs and their maps, to look at: `python -m training.sheet OUT.png`."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from drcore.grading.grader import Grader
from drcore.grading.report import Scale
from drcore.maps.overlay import FULL_FILL, overlay
from drcore.photographs.reader import read_photograph
from drcore.preprocessing.retina_square import RetinaSquare
from training import cli
from training.data.labels import Labelled
from training.torchvision_cpu import torchvision

__all__ = ["sheet"]


def sheet(
    grader: Grader, rows: list[Labelled], scales: list[Scale], side: int
) -> NDArray[np.uint8]:
    """Draw one line a photograph: the retina, then the overlay of each scale.

    Args:
        scales: input sizes in pixels, or "fused".
        side: of each picture in pixels.

    Returns:
        uint8 (H, W, 3), 0-255.
    """
    tiles = []
    for row in rows:
        photograph = read_photograph(row.path)
        report = grader.grade(row.path)
        if report.field_of_view is None:
            continue
        frame = RetinaSquare(report.field_of_view, report.width, report.height, side)
        square = np.asarray(frame.warp(photograph.rgb), np.uint8)
        label = f"{row.dataset} {row.grade} -> {report.grade} ({report.score:.1f})"
        cv2.putText(square, label, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1)
        tiles.append(square)
        for scale in scales:
            drawn = overlay(photograph.rgb, report.evidence(scale), report.width, fill=FULL_FILL)
            tiles.append(np.asarray(frame.warp(drawn), np.uint8))
    stack = torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2)
    grid = torchvision.utils.make_grid(stack, nrow=1 + len(scales), padding=2)
    return np.ascontiguousarray(grid.permute(1, 2, 0).numpy())


def main(arguments: list[str] | None = None) -> None:
    """Write a contact sheet from the command line."""
    parser = cli.parser("sheet", __doc__, "--weights", "--labels", "--images")
    parser.add_argument("out", type=Path, help="PNG file; do not share photographs of others")
    parser.add_argument("--grade", type=int, default=3)
    parser.add_argument("--dataset", default="idrid")
    parser.add_argument("--split", default="test")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--side", type=int, default=320, help="pixels a picture")
    cli.run(parser, _sheet, arguments)


def _sheet(given: argparse.Namespace) -> None:
    wanted = (given.grade, given.dataset, given.split)
    rows = [row for row in cli.labels(given) if (row.grade, row.dataset, row.split) == wanted]
    grader = cli.grader(given)
    picture = sheet(grader, rows[: given.count], [*grader.scales, "fused"], given.side)
    cv2.imwrite(str(given.out), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
