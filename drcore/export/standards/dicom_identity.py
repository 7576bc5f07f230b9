"""Whose photograph a DICOM file is: the patient's name for a report, or no identity at all."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from drcore.photographs.dicom_header import Header

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["anonymous_header", "derived_uid", "patient_name", "study_of"]

_UIDS = uuid.uuid5(uuid.NAMESPACE_OID, "drcore de-identified")
_DOCUMENTS = uuid.uuid5(uuid.NAMESPACE_OID, "drcore documents")
_REPLACED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
METHOD = "drcore: identity removed, UIDs replaced"


def anonymous_header(header: Header) -> Header:
    """Take all identity out of a header; what is of one study stays together.

    Args:
        header: of a DICOM file.

    Returns:
        A header without patient, dates, numbers and names, with other UIDs: the same for the same
        UID, so that report and overlay of a study join. Class and laterality of the picture stay.
    """
    from pydicom.dataset import Dataset

    kept = Dataset()
    kept.SpecificCharacterSet = "ISO_IR 192"
    if "SOPClassUID" in header.dataset:
        kept.SOPClassUID = header.dataset.SOPClassUID
    for keyword in _REPLACED:
        found = str(header.dataset.get(keyword) or "")
        if found:
            setattr(kept, keyword, f"2.25.{uuid.uuid5(_UIDS, found).int}")
    kept.PatientIdentityRemoved = "YES"
    kept.DeidentificationMethod = METHOD
    return replace(header, label=header.sha256[0][:16], patient=None, dataset=kept)


def derived_uid(text: str) -> str:
    """Return the UID of a document that is made of known content: the same for the same text.

    Args:
        text: all that tells the document from others.

    Returns:
        A UID of the form of PS3.5 B.2.
    """
    return f"2.25.{uuid.uuid5(_DOCUMENTS, text).int}"


def patient_name(header: Header) -> str:
    """Return the patient's name as a person writes it.

    Args:
        header: of a DICOM file.

    Returns:
        Family name first; empty where there is none. Untrusted text.
    """
    name = header.dataset.get("PatientName")
    groups = [str(part) for part in getattr(name, "components", ())] if name else []
    alphabetic = groups[0] if groups else str(name or "")
    parts = [part.strip() for part in alphabetic.split("^") if part.strip()]
    told = ", ".join([*parts[:1], *([" ".join(parts[1:])] if parts[1:] else [])])
    others = [part.replace("^", " ").strip() for part in groups[1:] if part.strip(" ^")]
    return f"{told} ({', '.join(others)})" if others and told else told or ", ".join(others)


def study_of(header: Header) -> str | None:
    """Return the Study Instance UID of a header, None where it is missing or no UID."""
    from pydicom.uid import UID

    found = str(header.dataset.get("StudyInstanceUID") or "")
    return found if found and UID(found).is_valid else None


def identity_of(dataset: Dataset) -> dict[str, str]:
    """Return what `anonymous_header` says of itself, for the documents made from it."""
    keywords = ("PatientIdentityRemoved", "DeidentificationMethod")
    return {keyword: str(dataset.get(keyword)) for keyword in keywords if keyword in dataset}
