"""Objects that come from elsewhere, stored under names that nobody else chooses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from drcore.errors import PacsError, PhotographError, SourceError
from drcore.files import replacing
from drcore.photographs.dicom_elements import Identifiers, is_uid, read_identifiers

__all__ = ["check_received", "file_of", "store"]


def file_of(folder: Path, sop_instance: str) -> Path:
    """Return where an object lies in a folder: SOP-INSTANCE-UID.dcm.

    Raises:
        PacsError: the text is no UID.
    """
    if not is_uid(sop_instance):
        raise PacsError("The archive names an object by something that is no UID; it is left out.")
    return folder / f"{sop_instance}.dcm"


def check_received(
    data: bytes, sop_instance: str, *, study: str = "", sop_class: str = ""
) -> Identifiers:
    """Check that an object is the one that it was sent as.

    Args:
        data: the file, meta information included.
        sop_instance, study, sop_class: that it must have; any where empty.

    Raises:
        PhotographError: it is damaged, or names another object.
    """
    label = sop_instance if is_uid(sop_instance) else "an object"
    found = read_identifiers(data, label)
    for expected, actual, what in (
        (sop_instance, found.sop_instance, "object"),
        (study, found.study, "study"),
        (sop_class, found.sop_class, "kind of object"),
    ):
        if expected not in {"", actual}:
            raise PhotographError(f"{label}: the data set is of another {what} than was announced.")
    return found


def store(folder: Path, sop_instance: str, data: bytes) -> Literal["new", "same", "different"]:
    """Store an object durably, unless the folder has one of its name.

    Args:
        folder: is made.
        sop_instance: its UID.
        data: the file.

    Returns:
        "new", or whether the object that is there is the same; it stays as it is.

    Raises:
        SourceError: it cannot be written.
    """
    file = file_of(folder, sop_instance)
    try:
        if file.exists():
            return "same" if file.read_bytes() == data else "different"
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(file) as part, part.open("wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        _sync(folder)
    except OSError as error:
        raise SourceError(
            f"{file.name} cannot be stored ({error.strerror or error}). Free some space, or choose "
            "another folder."
        ) from error
    return "new"


def _sync(folder: Path) -> None:
    """Make the entry of a new file last, where the system can."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
