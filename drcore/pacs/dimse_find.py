"""C-FIND in the study root model: studies, and the series and objects below one."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from itertools import islice

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pynetdicom.association import Association

from drcore.errors import PacsError
from drcore.pacs.association import associated, broke_off, refusal
from drcore.pacs.connection import FoundStudy, Query
from drcore.pacs.matching import matches
from drcore.pacs.object_kinds import NATIVE
from drcore.pacs.servers import DicomServer
from drcore.photographs.dicom_elements import is_uid
from drcore.text import printable

__all__ = ["FIND", "find_below", "find_studies", "query_below", "value_of"]

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
"""Study Root Query/Retrieve Information Model - FIND."""

_MOST = 10_000

_RETURNED = (
    "StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber", "StudyDate", "StudyTime",
    "StudyDescription", "ModalitiesInStudy", "NumberOfStudyRelatedInstances",
)  # fmt: skip


def find_studies(server: DicomServer, query: Query, limit: int) -> list[FoundStudy]:
    """Look for studies once; see `Connection.find`."""
    asked = _identifier(query)
    found: dict[str, FoundStudy] = {}
    with associated(server, [(FIND, list(NATIVE))]) as association:
        # A list of modalities is not understood everywhere; one at a time is.
        for modality in query.modalities or ("",):
            asked.ModalitiesInStudy = modality
            for answer in _answers(association, server, asked):
                if (study := _study(answer)) is not None and matches(query, study):
                    found.setdefault(study.study_uid, study)
        kept = (_narrowed(association, server, study, query) for study in found.values())
        return list(islice((study for study in kept if study is not None), limit))


def _identifier(query: Query) -> Dataset:
    query.check()
    asked = Dataset()
    for keyword in _RETURNED:
        setattr(asked, keyword, "")
    asked.QueryRetrieveLevel = "STUDY"
    asked.PatientID, asked.AccessionNumber = query.patient_id, query.accession
    asked.StudyInstanceUID = query.study_uid
    if query.first_date or query.last_date:
        asked.StudyDate = (
            query.first_date
            if query.first_date == query.last_date
            else f"{query.first_date}-{query.last_date}"
        )
    if not f"{query.patient_id}{query.accession}".isascii():
        asked.SpecificCharacterSet = "ISO_IR 192"
    return asked


def _study(answer: Dataset) -> FoundStudy | None:
    uid = value_of(answer, "StudyInstanceUID")
    if not is_uid(uid):
        return None
    count = value_of(answer, "NumberOfStudyRelatedInstances")
    return FoundStudy(
        study_uid=uid,
        patient_id=value_of(answer, "PatientID"),
        patient_name=value_of(answer, "PatientName"),
        accession=value_of(answer, "AccessionNumber"),
        date=value_of(answer, "StudyDate"),
        time=value_of(answer, "StudyTime"),
        description=value_of(answer, "StudyDescription"),
        modalities=tuple(filter(None, value_of(answer, "ModalitiesInStudy").split("\\"))),
        instances=int(count) if count.isascii() and count.isdigit() else None,
    )


def _narrowed(
    association: Association, server: DicomServer, study: FoundStudy, query: Query
) -> FoundStudy | None:
    """Check what an archive may have ignored: modality and station are optional keys of a study."""
    if not query.station and (not query.modalities or study.modalities):
        return study
    asked = query_below("SERIES", study.study_uid, Modality="", StationName="")
    series = [
        (value_of(answer, "Modality"), value_of(answer, "StationName"))
        for answer in _answers(association, server, asked)
    ]
    fits = any(
        (not query.modalities or modality in query.modalities)
        and (not query.station or station == query.station)
        for modality, station in series
    )
    modalities = study.modalities or tuple(sorted({modality for modality, _ in series if modality}))
    return replace(study, modalities=modalities) if fits else None


def find_below(
    association: Association, server: DicomServer, level: str, study: str, **keys: str
) -> list[Dataset]:
    """Look for the series or the objects of a study.

    Args:
        association: with a context for C-FIND.
        server: that it is with.
        level: "SERIES" or "IMAGE".
        study: Study Instance UID.
        keys: wanted attributes, empty for any value.

    Raises:
        PacsError: the query is refused, or the archive fails.
    """
    return list(_answers(association, server, query_below(level, study, **keys)))


def query_below(level: str, study: str, **keys: str) -> Dataset:
    """Return the data set that asks for series or instances of a study, or for itself."""
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    asked.StudyInstanceUID = study
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    return asked


def _answers(association: Association, server: DicomServer, asked: Dataset) -> Generator[Dataset]:
    if not association.is_established:
        raise broke_off(server)
    for number, (status, answer) in enumerate(association.send_c_find(asked, FIND)):
        if "Status" not in status:
            raise broke_off(server)
        if number > _MOST:
            raise PacsError(
                f"{server.name}: there are more than {_MOST} matches. Narrow the search, by dates "
                "for example."
            )
        if status.Status in {0xFF00, 0xFF01}:
            if answer is None:
                raise PacsError(f"{server.name}: an answer is damaged. Ask who runs the archive.")
            yield answer
        elif status.Status != 0:
            why, passing = refusal(status)
            raise PacsError(f"{server.name}: {why}", is_outage=passing)


def value_of(answer: Dataset, keyword: str) -> str:
    """Return a value of an archive's answer as one printable line; empty where it is missing."""
    try:
        value = answer.get(keyword)
    except Exception:  # noqa: BLE001 - pydicom decodes values late, hostile ones too
        return ""
    if value is None:
        return ""
    text = "\\".join(map(str, value)) if isinstance(value, MultiValue | list) else str(value)
    return printable(text.strip(" \0"))[:200]
