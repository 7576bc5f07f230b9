"""Whether a study that an archive found is what it was asked for."""

from __future__ import annotations

import re

from drcore.pacs.connection import FoundStudy, Query

__all__ = ["matches"]


def matches(query: Query, study: FoundStudy) -> bool:
    """Whether a study is what was asked for; some servers ignore what they cannot filter by.

    Args:
        query: as asked.
        study: as found.

    Returns:
        False where the study differs in what the query names.
    """
    return (
        _like(query.patient_id, study.patient_id)
        and _like(query.accession, study.accession)
        and query.study_uid in {"", study.study_uid}
        and (not query.first_date or query.first_date <= study.date)
        and (not query.last_date or "" < study.date <= query.last_date)
        and (not (query.modalities and study.modalities)
             or not set(query.modalities).isdisjoint(study.modalities))
    )  # fmt: skip


def _like(pattern: str, value: str) -> bool:
    wanted = re.escape(pattern.strip()).replace(r"\*", ".*").replace(r"\?", ".")
    return not wanted or re.fullmatch(wanted, value.strip(), re.IGNORECASE) is not None
