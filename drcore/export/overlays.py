"""Overlays of many photographs in a ZIP, with a manifest."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from drcore import __version__
from drcore.errors import DrcoreError
from drcore.export.archive import ExportArchive, photograph_stem
from drcore.export.final_grade import FINAL_COLUMNS, final_cells, final_values
from drcore.export.legend import with_legend
from drcore.export.pictures import illustrate, jpeg
from drcore.grading.statements import (
    map_sentence,
    operating_point,
    outcome,
)  # fmt: skip
from drcore.icdr import NOTICE
from drcore.maps.overlay import DENSITY_RANGE
from drcore.maps.region import LEVELS
from drcore.results.columns import COLUMNS, row_of
from drcore.text import csv_text

if TYPE_CHECKING:
    from datetime import datetime

    from drcore.export.case import Case
    from drcore.export.deidentification import Disclosure

__all__ = ["OverlayWriter"]

UNIT = "score added per disc area"


class OverlayWriter:
    """Writes overlays into an archive, and their manifest.

    Args:
        archive: that they go into.
        privacy: identifiers to include.
        folder: of the archive.
    """

    def __init__(self, archive: ExportArchive, privacy: Disclosure, folder: str = "") -> None:
        self._archive, self._privacy, self._folder = archive, privacy, folder
        self._entries: list[dict[str, Any]] = []
        self._rows: list[dict[str, str]] = []

    def add(self, case: Case) -> None:
        """Write the overlay of one photograph.

        Args:
            case: graded or ungradable.

        Raises:
            DrcoreError: there is no map, the photograph cannot be read again, or its picture may
                not leave.
        """
        case = self._privacy.apply(case)
        report = case.report
        if report.status == "failed":
            raise DrcoreError(f"{report.name}: there is no overlay, because {report.reason}")
        overlay = illustrate(case, self._privacy).overlay
        picture = jpeg(with_legend(overlay, case))
        name = f"{photograph_stem(report.name, report.sha256)}-overlay.jpg"
        path = self._archive.add(self._folder, name, picture)
        file = path.removeprefix(f"{self._folder}/") if self._folder else path
        self._rows.append({"overlay": file, **row_of(report), **final_cells(case.reading)})
        self._entries.append(
            {
                "file": file,
                "image": report.name,
                "sha256": report.sha256,
                "model_version": report.model_version,
                "scale": "fused",
                "final": final_values(case.reading),
                "status": report.status,
                "grade": report.grade,
                "score": _rounded(report.score),
                "referral": outcome(report),
                "p_referable": _rounded(report.probability_referable),
                "operating_point": operating_point(report),
                "heat_map": map_sentence(report),
                "field_degrees": report.field_degrees,
                "laterality": report.laterality,
                "patient": report.patient,
            }
        )

    def finish(self, made_at: datetime) -> None:
        """Write manifest and table.

        Args:
            made_at: date of the manifest.

        Raises:
            SourceError: the archive cannot be written.
        """
        manifest = {
            "kind": "drcore overlays 1",
            "made_at": made_at.isoformat(timespec="seconds"),
            "drcore": __version__,
            "notice": NOTICE,
            "deidentified": self._privacy.deidentified,
            "colour_range": {
                "from": DENSITY_RANGE[0],
                "to": DENSITY_RANGE[1],
                "scale": "logarithmic",
                "unit": UNIT,
            },
            "outlines": {"at": list(LEVELS), "unit": UNIT},
            "photographs": self._entries,
        }
        text = json.dumps(manifest, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
        self._archive.add(self._folder, "manifest.json", text)
        table = csv_text(self._rows, ("overlay", *COLUMNS, *FINAL_COLUMNS))
        self._archive.add(self._folder, "photographs.csv", table)


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 4)
