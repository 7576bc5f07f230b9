"""What a DICOMweb server answers, read without trusting it, and its failures in our words."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from drcore.errors import RETRY_LATER, DrcoreError, PacsError
from drcore.pacs.connection import FoundStudy, Outcome
from drcore.pacs.web_session import RefusedError
from drcore.photographs.dicom_elements import is_uid
from drcore.sources.remote_client import retry_after

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from drcore.pacs.servers import WebServer

__all__ = [
    "FoundInstance", "StoreAnswer", "described", "found_study", "instance_of", "store_answer",
]  # fmt: skip

_LONGEST = 400
"""Characters of a value at most; the standard's own limits are far below."""

_STATUS = {
    400: "the server does not accept what was asked. Check url in the servers file.",
    403: "the login may not do this. Ask the administrator of the archive for the right.",
    404: "there is nothing at this address. Check url in the servers file.",
    409: "the archive did not accept the file. Look in its log.",
    413: "the file is too large for the server. Ask its administrator to raise the limit.",
    415: "the server does not take files of this kind. Ask its administrator.",
}
_REASONS = {
    0x0110: "the archive could not process the file. Look in its log.",
    0x0122: "the archive does not take this SOP class. Ask its administrator to allow it.",
    0x0124: "the login may not store. Ask the administrator of the archive for the right.",
    0xA700: f"the archive has no room left. {RETRY_LATER}",
    0xA900: "the file does not fit its study, says the archive. Look in its log.",
    0xC000: "the archive does not understand the file. Look in its log.",
}
"""By failure reason of PS3.18, table I.2-2."""
_DUPLICATE, _NO_ROOM = 0x0111, 0xA700
_PASSING = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class FoundInstance:
    """An instance that an archive has.

    Attributes:
        uid, series: SOP Instance UID and Series Instance UID, checked to be UIDs.
        modality: empty where not told.
    """

    uid: str
    series: str
    modality: str = ""


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """What an archive says of a file that was sent.

    Attributes:
        outcome: see `SentFile`.
        why: a sentence without the server's name; empty where all is well.
        is_outage: whether sending again later may succeed.
    """

    outcome: Outcome
    why: str = ""
    is_outage: bool = False


def found_study(item: dict[str, Any]) -> FoundStudy | None:
    """Read a result of QIDO-RS.

    Args:
        item: a study in the DICOM JSON model; untrusted.

    Returns:
        The study; None where it has no valid UID.
    """
    uid = _uid(item, "0020000D")
    if not uid:
        return None
    number = _first(item, "00201208")
    return FoundStudy(
        uid, _first(item, "00100020"), _first(item, "00100010"), _first(item, "00080050"),
        _first(item, "00080020"), _first(item, "00080030"), _first(item, "00081030"),
        tuple(_values(item, "00080061")), int(number) if number.isdecimal() else None,
    )  # fmt: skip


def instance_of(item: Any) -> FoundInstance | None:
    """Read a result of QIDO-RS.

    Args:
        item: an instance in the DICOM JSON model; untrusted.

    Returns:
        The instance; None where it lacks a valid UID.
    """
    if not isinstance(item, dict):
        return None
    uid, series = _uid(item, "00080018"), _uid(item, "0020000E")
    return FoundInstance(uid, series, _first(item, "00080060")) if uid and series else None


def store_answer(answer: Dataset, uid: str) -> StoreAnswer | None:
    """Read an answer of STOW-RS.

    Args:
        answer: as dicomweb-client returns it; untrusted.
        uid: SOP Instance UID of the file that was sent.

    Returns:
        What it says of the file; None where it says nothing.
    """
    for item in answer.get("FailedSOPSequence") or ():
        if str(item.get("ReferencedSOPInstanceUID", "")) == uid:
            code = int(item.get("FailureReason") or 0)
            if code == _DUPLICATE:
                return StoreAnswer("already there")
            text = f"the archive refused the file (reason {code:04X}). Look in its log."
            return StoreAnswer("failed", _REASONS.get(code, text), is_outage=code == _NO_ROOM)
    for item in answer.get("ReferencedSOPSequence") or ():
        if str(item.get("ReferencedSOPInstanceUID", "")) == uid:
            code = int(item.get("WarningReason") or 0)
            why = f"stored, but the archive changed values of it (warning {code:04X})."
            return StoreAnswer("sent", why if code else "")
    return None


def described(error: Exception, server: WebServer) -> PacsError:
    """Say in our own words why a server failed.

    Args:
        error: of the client, of requests, or ours; its text may hold addresses and is not told.
        server: that was asked.

    Returns:
        An error whose message begins with the server's name.
    """
    asked = 0.0
    if isinstance(error, DrcoreError):
        why, passing = str(error), error.is_outage
    elif isinstance(error, RefusedError):
        why, passing = _of_status(error.status, server)
        asked = retry_after(error)
    else:
        why, passing = _of_failure(error)
    return PacsError(f"{server.name}: {why}", is_outage=passing, retry_after=asked)


def _of_status(status: int, server: WebServer) -> tuple[str, bool]:
    answered = f"The server answered with status {status}."
    if status == 401:
        names = server.token_env or (server.user_env and f"{server.user_env} and its password")
        what = f"Check what {names} holds" if names else "Name a login in the servers file"
        return f"the login is refused. {what}. {answered}", False
    if status in _PASSING or (status >= 500 and status not in {501, 505}):
        return f"the server is out of order or too busy (status {status}). {RETRY_LATER}", True
    if status < 400:
        return (
            f"the server refers to another address. Give that one in the servers file. {answered}"
        ), False
    return f"{_STATUS.get(status, 'the server refuses. Look in its log.')} {answered}", False


def _of_failure(error: Exception) -> tuple[str, bool]:
    if isinstance(error, requests.exceptions.SSLError):
        return (
            "the certificate of the server cannot be verified. Name the PEM file of its authority "
            "as ca in the servers file."
        ), False
    if isinstance(error, requests.exceptions.Timeout):
        return f"the server does not answer in time. {RETRY_LATER}", True
    own = isinstance(error, requests.exceptions.RequestException)  # all of these are OSError
    if isinstance(error, requests.exceptions.ConnectionError) or (
        isinstance(error, OSError) and not own
    ):
        return (
            f"the server cannot be reached, or breaks off. Check url and network. {RETRY_LATER}"
        ), True
    return (
        "the server sent an answer that is not understood. Check url in the servers file, and "
        "whether it is a DICOMweb server."
    ), False


def _uid(item: dict[str, Any], tag: str) -> str:
    value = _first(item, tag)
    return value if is_uid(value) else ""


def _first(item: dict[str, Any], tag: str) -> str:
    return next(iter(_values(item, tag)), "")


def _values(item: dict[str, Any], tag: str) -> list[str]:
    """Return the values of an element as clean text; of a name its alphabetic form."""
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    texts = []
    for value in values if isinstance(values, list) else ():
        told = value.get("Alphabetic") if isinstance(value, dict) else value
        if isinstance(told, str | int | float):
            kept = (c for c in str(told) if unicodedata.category(c)[0] != "C")
            texts.append("".join(kept).strip()[:_LONGEST])
    return texts
