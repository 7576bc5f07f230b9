"""An archive that is reached through DICOMweb: QIDO-RS, WADO-RS and STOW-RS."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pydicom
from dicomweb_client.api import DICOMwebClient

from drcore.errors import PacsError, PhotographError, SourceError
from drcore.pacs.connection import Fetched, FoundStudy, Patience, Query, SentFile
from drcore.pacs.matching import matches
from drcore.pacs.received import check_received, file_of, store
from drcore.pacs.web_answers import (
    FoundInstance,
    StoreAnswer,
    described,
    found_study,
    instance_of,
    store_answer,
)
from drcore.pacs.web_session import RefusedError, WebSession
from drcore.photographs.dicom_elements import Identifiers, read_identifiers
from drcore.photographs.photograph import MAX_BYTES
from drcore.text import clean_name, one_line

if TYPE_CHECKING:
    from drcore.pacs.servers import WebServer

__all__ = ["WebConnection"]

# Both repeat what a server or a file says, and our errors say it better.
warnings.filterwarnings("ignore", module=r"(pydicom|dicomweb_client)\.")
logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL)

PAGE = 200
"""Results that are asked for at once."""

MAX_INSTANCES = 20_000
"""Instances of a study at most; more is taken for a server that counts without end."""

_NOBODY = "2.25.1"
"""A Study Instance UID that no study has: asking for it costs a server nothing."""

_STUDY_FIELDS = ("StudyDescription", "ModalitiesInStudy", "NumberOfStudyRelatedInstances")
_ODD = re.compile(r"[^A-Za-z0-9._?-]+")
_NO_SEARCH = frozenset({404, 405, 501})
"""Status of servers that cannot search, or not for what they do not have."""

T = TypeVar("T")
Json = dict[str, Any]


class WebConnection:
    """See `drcore.pacs.connection.Connection`.

    Args:
        server: of the servers file.
        patience: with its outages.

    Raises:
        PacsError: an environment variable of the server is not set.
    """

    def __init__(self, server: WebServer, patience: Patience) -> None:
        self._server, self._patience = server, patience
        self._client = DICOMwebClient(
            server.url.rstrip("/"), session=WebSession(server), permissive_uid=True
        )
        self._client.set_http_retry_params(retry=False)  # ours heeds Retry-After
        self._client.set_chunk_size(MAX_BYTES + (1 << 20))  # never chunked: some proxies refuse

    @property
    def server(self) -> WebServer:
        """The server, as the servers file describes it."""
        return self._server

    def echo(self) -> None:
        """Check that the server answers and lets drcore in."""
        self._ask(self._search_nobody)

    def find(self, query: Query, limit: int = 1000) -> list[FoundStudy]:
        """Look for studies."""
        query.check()
        filters = _filters(query)
        found: dict[str, FoundStudy] = {}
        for modality in query.modalities or ("",):
            asked = filters | ({"ModalitiesInStudy": modality} if modality else {})
            for study in self._studies(query, asked, limit):
                found.setdefault(study.study_uid, study)
        return list(found.values())[:limit]

    def fetch(
        self,
        study: FoundStudy,
        folder: Path,
        *,
        modalities: Sequence[str] = (),
        progress: Callable[[int], None] | None = None,
    ) -> Fetched:
        """Fetch the instances of a study that a folder does not hold yet."""
        search = partial(self._client.search_for_instances, study.study_uid, fields=("Modality",))
        listed = self._pages(search, "00080018", MAX_INSTANCES)
        wanted = [
            found
            for found in filter(None, map(instance_of, listed))
            if not modalities or found.modality in {"", *modalities}
        ]
        files: list[Path] = []
        failures: list[PacsError] = []
        new = 0
        for number, instance in enumerate(wanted, start=1):
            file = file_of(folder, instance.uid)
            try:
                if not file.is_file():
                    self._fetch_one(study.study_uid, instance, folder)
                    new += 1
                files.append(file)
            except PacsError as error:
                failures.append(error)
                if error.is_outage and not self._answers():
                    break
            if progress is not None:
                progress(number)
        if failures and not files:
            raise failures[0]
        return Fetched(
            tuple(files), new, len(wanted) - len(files),
            tuple(dict.fromkeys(map(str, failures))), any(one.is_outage for one in failures),
        )  # fmt: skip

    def send(
        self, files: Sequence[Path], *, progress: Callable[[int], None] | None = None
    ) -> list[SentFile]:
        """Store files in the archive; what it has already is not sent again."""
        settled: dict[str, SentFile] = {}
        results: list[SentFile] = []
        for number, file in enumerate(files, start=1):
            results.append(self._settle(file, settled))
            if progress is not None:
                progress(number)
        return results

    def _settle(self, file: Path, settled: dict[str, SentFile]) -> SentFile:
        """Send a file, unless the same was sent or the server has gone."""
        try:
            data = _read(file)
            known = read_identifiers(data, clean_name(file.name))
            uid = known.sop_instance
            first = settled.get(uid)
            is_other = first is not None and _read(first.file) != data
        except PhotographError as error:
            return SentFile(file, "", "failed", str(error))
        gone = next((one for one in settled.values() if one.is_outage), None)
        if first is None and gone is not None and not self._answers():
            result = SentFile(file, uid, "failed", gone.why, is_outage=True)
        elif first is None:
            result = self._send_one(file, data, known)
        elif not is_other:
            result = replace(first, file=file)
        else:
            result = SentFile(
                file, uid, "failed",
                f"{clean_name(file.name)}: {clean_name(first.file.name)} has the same SOP Instance "
                "UID and other content. Send one of the two.",
            )  # fmt: skip
        settled.setdefault(uid, result)
        return result

    # --- searching ----------------------------------------------------------------------------

    def _studies(self, query: Query, asked: dict[str, str], limit: int) -> list[FoundStudy]:
        found: list[FoundStudy] = []
        for filters in _spellings(asked):
            search = partial(
                self._client.search_for_studies, fields=_STUDY_FIELDS, search_filters=filters
            )
            found = [
                study
                for study in map(found_study, self._pages(search, "0020000D", limit))
                if study and matches(query, study) and self._made_by(query.station, study.study_uid)
            ]
            if found:
                break
        return found

    def _pages(self, search: Callable[..., list[Json]], tag: str, limit: int) -> Iterator[Json]:
        """Yield results page after page, each once by the UID of a tag."""
        seen: set[str] = set()
        offset = 0
        while len(seen) < limit:
            page = self._ask(partial(search, limit=min(PAGE, limit), offset=offset))
            if not isinstance(page, list):
                return
            known = len(seen)
            for item in page:
                uid = str(item.get(tag)) if isinstance(item, dict) else ""
                if uid and uid not in seen:
                    seen.add(uid)
                    yield item
            if len(seen) == known:  # at the end, or the server does not know of offsets
                return
            offset += len(page)

    def _made_by(self, station: str, study_uid: str) -> bool:
        if not station:
            return True
        search = partial(
            self._client.search_for_series, study_uid, fields=("StationName",),
            search_filters={"StationName": station},
        )  # fmt: skip
        stations = (item.get("00081010") for item in self._pages(search, "0020000E", PAGE))
        return any(isinstance(one, dict) and one.get("Value") == [station] for one in stations)

    def _search_nobody(self) -> list[Json]:
        filters = {"StudyInstanceUID": _NOBODY}
        return self._client.search_for_studies(limit=1, search_filters=filters)

    def _answers(self) -> bool:
        try:
            self._once(self._search_nobody)
        except PacsError:
            return False
        return True

    # --- fetching and sending -----------------------------------------------------------------

    def _fetch_one(self, study: str, instance: FoundInstance, folder: Path) -> None:
        def action() -> bytes:
            dataset = self._client.retrieve_instance(study, instance.series, instance.uid)
            buffer = io.BytesIO()
            pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
            data = buffer.getvalue()
            check_received(data, instance.uid, study=study)
            return data

        store(folder, instance.uid, self._ask(action))

    def _send_one(self, file: Path, data: bytes, known: Identifiers) -> SentFile:
        uid, study = known.sop_instance, known.study
        tried = False

        def action() -> StoreAnswer:
            nonlocal tried
            if self._has(study, uid):  # after a try that broke off, it may be ours
                return StoreAnswer("sent" if tried else "already there")
            dataset = pydicom.dcmread(io.BytesIO(data))
            tried = True
            answer = store_answer(self._client.store_instances([dataset]), uid)
            if answer is None:  # the server does not say
                if not self._has(study, uid):
                    raise PacsError(
                        "the server did not confirm that it stored this. Look in the archive."
                    )
                answer = StoreAnswer("sent")
            return answer

        try:
            answer = self._ask(action)
        except PacsError as error:
            return SentFile(file, uid, "failed", str(error), is_outage=error.is_outage)
        why = f"{self._server.name}: {answer.why}" if answer.why else ""
        return SentFile(file, uid, answer.outcome, why, answer.is_outage)

    def _has(self, study: str, uid: str) -> bool:
        """Whether the archive has an instance; False where it cannot search."""
        try:
            found = self._client.search_for_instances(
                study, limit=1, search_filters={"SOPInstanceUID": uid}
            )
        except RefusedError as error:
            if error.status in _NO_SEARCH:
                return False
            raise
        return any(one is not None and one.uid == uid for one in map(instance_of, found))

    def _ask(self, action: Callable[[], T]) -> T:
        """Do something with the client, again while the server is out; all errors are ours."""
        return self._patience.of(lambda: self._once(action))

    def _once(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except SourceError:
            raise
        except Exception as error:  # noqa: BLE001 - of several libraries
            # Not "from error": its text may hold what was searched for, and tracebacks are printed.
            raise described(error, self._server) from None


def _filters(query: Query) -> dict[str, str]:
    dates = f"{query.first_date}-{query.last_date}" if query.first_date or query.last_date else ""
    if query.first_date == query.last_date:
        dates = query.first_date
    asked = {
        "PatientID": query.patient_id, "AccessionNumber": query.accession,
        "StudyInstanceUID": query.study_uid, "StudyDate": dates,
    }  # fmt: skip
    return {keyword: value for keyword, value in asked.items() if value}


def _spellings(filters: dict[str, str]) -> list[dict[str, str]]:
    """What to ask for: the values, and where they hold other than letters, once with wildcards.

    Some servers, Orthanc 1.10 among them, do not decode what an address must encode.
    """
    plain = {keyword: _ODD.sub("*", value) for keyword, value in filters.items()}
    if plain == filters or not any(value.strip("*") for value in plain.values()):
        return [filters]
    return [filters, plain]


def _read(file: Path) -> bytes:
    try:
        if file.stat().st_size <= MAX_BYTES:
            return file.read_bytes()
        why = f"it has more than {MAX_BYTES >> 20} MiB"
    except OSError as error:
        why = f"it cannot be read ({error.strerror or one_line(error)})"
    raise PhotographError(f"{clean_name(file.name)}: {why}. Choose another file.")
