"""The files that hold the fused map of a photograph."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from drcore.errors import PhotographError, SourceError
from drcore.files import DERIVED_MARK, replacing
from drcore.grading.statements import (
    map_key_words,
    map_sentence,
    model_sentence,
    operating_point,
    outcome_words,
)  # fmt: skip
from drcore.icdr import MODEL_NOTICE
from drcore.maps.legend import add_legend
from drcore.maps.overlay import overlay
from drcore.photographs.reader import read_photograph
from drcore.sources.sniff import OVERLAY_ENDING

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport
    from drcore.sources.source import PhotographSource

__all__ = ["map_files", "save_map"]

_CELLS_ENDING = ".drcore-map.npz"


def map_files(folder: Path, image: str) -> tuple[Path, Path]:
    """Return where the map of a photograph goes.

    Args:
        folder: of all maps.
        image: the photograph's name in the table; unique there, untrusted.

    Returns:
        Overlay (JPEG) and cells (npz), directly in the folder: the readable part of the name, then
        a hash of all of it, so that no two share a file.
    """
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", re.sub(r"\.[A-Za-z0-9]{1,5}$", "", image))
    digest = hashlib.sha256(image.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    stem = f"{readable.strip('_-')[-80:] or 'photograph'}-{digest}"
    return folder / f"{stem}{OVERLAY_ENDING}", folder / f"{stem}{_CELLS_ENDING}"


def save_map(report: GradeReport, found: PhotographSource, folder: Path) -> None:
    """Write the fused map of a photograph: as an overlay with its legend, and as numbers.

    The npz holds `ram`, float32 (m, m), grades above a healthy retina, NaN where there is no
    retina; `x0`, `y0`, `step`, centre of its first cell and distance of the cells in pixels of
    the original; `width`, `height`, size of the original; `score`. No pickle.

    Args:
        report: graded or ungradable.
        found: the photograph; it is read again for its pixels.
        folder: exists; files of the same name are replaced.

    Raises:
        PhotographError: the photograph vanished or changed since it was graded.
        SourceError: the folder cannot be written.
    """
    source, name = found.source()
    photograph = read_photograph(source, name=name, for_grading=True)
    if photograph.sha256 != report.sha256:
        raise PhotographError(f"{photograph.name}: the file changed while it was graded.")
    overlay_file, cells_file = map_files(folder, found.image)
    picture = overlay(photograph.rgb, report.evidence(), report.width)
    picture = add_legend(picture, _lines(report))
    jpeg = io.BytesIO()
    Image.fromarray(picture).save(jpeg, "JPEG", quality=90, subsampling=0, comment=DERIVED_MARK)
    cells = report.cells()
    numbers = io.BytesIO()
    np.savez_compressed(
        numbers, ram=cells.values, x0=cells.x0, y0=cells.y0, step=cells.step,
        width=report.width, height=report.height, score=report.score,
    )  # fmt: skip
    for file, data in ((cells_file, numbers.getvalue()), (overlay_file, jpeg.getvalue())):
        try:
            with replacing(file) as part:
                part.write_bytes(data)
        except OSError as error:
            raise SourceError(
                f"{file.name}: the map cannot be written ({error.strerror or error}). "
                "Check the folder and the free space, then go on with --resume."
            ) from error


def _lines(report: GradeReport) -> tuple[str, ...]:
    """What stands below an overlay: nobody has read the photograph yet."""
    return (
        map_key_words(report),
        map_sentence(report),
        f"{model_sentence(report)}: {outcome_words(report)}. {operating_point(report)}",
        MODEL_NOTICE,
    )
