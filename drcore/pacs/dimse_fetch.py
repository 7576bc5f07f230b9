"""C-GET: the objects of a study, fetched over the association that asked for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association

from drcore.errors import DrcoreError, PacsError, SourceError
from drcore.pacs.association import MAX_CONTEXTS, associated, broke_off, refusal
from drcore.pacs.connection import Fetched, FoundStudy, Patience
from drcore.pacs.dimse_find import FIND, find_below, query_below, value_of
from drcore.pacs.object_kinds import FETCHED, NATIVE, SYNTAXES
from drcore.pacs.received import check_received, file_of, store
from drcore.pacs.servers import DicomServer
from drcore.photographs.dicom_elements import is_uid

__all__ = ["fetch_study"]

_GET = "1.2.840.10008.5.1.4.1.2.2.3"
"""Study Root Query/Retrieve Information Model - GET."""


@dataclass(slots=True)
class _Plan:
    """The objects of a study, as far as the archive tells.

    Attributes:
        objects: series and SOP class by SOP Instance UID.
        is_known: False where the archive answers no queries.
    """

    objects: dict[str, tuple[str, str]] = field(default_factory=dict)
    is_known: bool = True


@dataclass(slots=True)
class _Taker:
    """Takes what an archive sends, and stores it."""

    folder: Path
    study: str
    plan: _Plan
    progress: Callable[[int], None] | None
    new: list[str] = field(default_factory=list)
    there: set[str] = field(default_factory=set)
    problems: dict[str, None] = field(default_factory=dict)
    unwritable: SourceError | None = None

    def take(self, event: evt.Event) -> int:
        """Store one object; returns the status for the archive."""
        request: Any = event.request
        uid = str(request.AffectedSOPInstanceUID or "")
        if self.plan.is_known and uid not in self.plan.objects:
            self.problems["The archive sent an object that was not asked for; it is left out."] = (
                None
            )
            return 0xA900
        try:
            data = event.encoded_dataset()
            check_received(data, uid, study=self.study)
            outcome = store(self.folder, uid, data)
        except SourceError as error:
            self.unwritable = error
            return 0xA700
        except DrcoreError as error:
            self.problems[str(error)] = None
            return 0xA900
        if outcome == "new":
            self.new.append(uid)
            if self.progress is not None:
                self.progress(len(self.new))
        self.there.add(uid)
        return 0


def fetch_study(
    server: DicomServer,
    patience: Patience,
    study: FoundStudy,
    folder: Path,
    modalities: Sequence[str],
    progress: Callable[[int], None] | None,
) -> Fetched:
    """Fetch what is missing, and again after an outage; see `Connection.fetch`."""
    if not is_uid(study.study_uid):
        raise PacsError(f"{server.name}: the study's UID is none. Look for the study again.")
    plan = patience.of(lambda: _plan(server, study.study_uid, modalities))
    taker = _Taker(folder, study.study_uid, plan, progress)
    failure: PacsError | None = None
    for number in range(patience.tries):
        if plan.is_known and not _missing(plan, folder):
            failure = None
            break
        try:
            failure = None
            _get(server, taker)
        except PacsError as error:
            failure = error
        if taker.unwritable is not None:
            raise taker.unwritable
        if failure is None or not failure.is_outage:
            break
        if number < patience.tries - 1:
            patience.wait(number, failure.retry_after)
    return _fetched(taker, failure)


def _fetched(taker: _Taker, failure: PacsError | None) -> Fetched:
    plan = taker.plan
    wanted = set(plan.objects) if plan.is_known else taker.there
    files = [file_of(taker.folder, uid) for uid in sorted(wanted)]
    present = tuple(file for file in files if file.is_file())
    missing = len(files) - len(present)
    if failure is not None and not present:
        raise failure
    problems = [*taker.problems, *([str(failure)] if failure else [])]
    if missing and not problems:
        problems.append(f"The archive did not send {missing} of {len(files)} objects.")
    return Fetched(
        present, len(taker.new), missing, tuple(problems), failure is not None and failure.is_outage
    )


def _missing(plan: _Plan, folder: Path) -> list[str]:
    return [uid for uid in plan.objects if not file_of(folder, uid).is_file()]


# --- what there is ------------------------------------------------------------------------------


def _plan(server: DicomServer, study: str, modalities: Sequence[str]) -> _Plan:
    plan = _Plan()
    try:
        with associated(server, [(FIND, list(NATIVE))]) as association:
            series = find_below(
                association, server, "SERIES", study, SeriesInstanceUID="", Modality=""
            )
            for one in series:
                if modalities and value_of(one, "Modality") not in modalities:
                    continue
                uid = value_of(one, "SeriesInstanceUID")
                if is_uid(uid):
                    plan.objects |= _objects(association, server, study, uid)
    except PacsError as error:
        if error.is_outage or modalities:
            raise
        return _Plan(is_known=False)  # an archive that answers C-GET alone
    return plan


def _objects(
    association: Association, server: DicomServer, study: str, series: str
) -> dict[str, tuple[str, str]]:
    answers = find_below(
        association, server, "IMAGE", study,
        SeriesInstanceUID=series, SOPInstanceUID="", SOPClassUID="",
    )  # fmt: skip
    return {
        uid: (series, value_of(answer, "SOPClassUID"))
        for answer in answers
        if is_uid(uid := value_of(answer, "SOPInstanceUID"))
        and value_of(answer, "SeriesInstanceUID") in {"", series}
    }


# --- fetching it --------------------------------------------------------------------------------


def _get(server: DicomServer, taker: _Taker) -> None:
    told = {kind for _, kind in taker.plan.objects.values()}
    kinds = {kind for kind in told if is_uid(kind)}
    if not kinds or kinds != told:
        kinds |= set(FETCHED)
    # One context for each way to encode: an archive then sends objects as it has them.
    contexts = [(kind, [syntax]) for kind in sorted(kinds) for syntax in SYNTAXES]
    contexts = contexts[: MAX_CONTEXTS - 1]
    handlers = [(evt.EVT_C_STORE, taker.take)]
    with associated(
        server, [(_GET, list(NATIVE)), *contexts],
        receives=sorted({kind for kind, _ in contexts}), handlers=handlers,
    ) as association:  # fmt: skip
        for asked in _requests(taker.plan, taker):
            _ask(association, server, asked)
            if taker.unwritable is not None:
                return


def _requests(plan: _Plan, taker: _Taker) -> Iterator[Dataset]:
    """Ask for a whole study or series where all of it is missing, else for single objects."""
    if not plan.is_known:
        yield query_below("STUDY", taker.study)
        return
    missing = set(_missing(plan, taker.folder))
    by_series: dict[str, list[str]] = {}
    for uid, (series, _) in plan.objects.items():
        by_series.setdefault(series, []).append(uid)
    for series, uids in by_series.items():
        if missing.issuperset(uids):
            yield query_below("SERIES", taker.study, SeriesInstanceUID=series)
            continue
        for uid in uids:
            if uid in missing:
                yield query_below(
                    "IMAGE", taker.study, SeriesInstanceUID=series, SOPInstanceUID=uid
                )


def _ask(association: Association, server: DicomServer, asked: Dataset) -> None:
    if not association.is_established:
        raise broke_off(server)
    for status, _ in association.send_c_get(asked, _GET):
        if "Status" not in status:
            raise broke_off(server)
        code = int(status.Status)
        # B000, A702: some or all objects could not be sent; which, the missing files tell.
        if code not in {0x0000, 0xFF00, 0xB000, 0xA702}:
            why, passing = refusal(status)
            raise PacsError(f"{server.name}: {why}", is_outage=passing)
