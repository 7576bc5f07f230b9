"""C-STORE: files that leave for an archive, each once."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pydicom import dcmread
from pynetdicom.association import Association

from drcore.errors import PacsError, PhotographError
from drcore.pacs.association import associated, broke_off, refusal
from drcore.pacs.connection import Patience, SentFile
from drcore.pacs.dimse_find import FIND, find_below, value_of
from drcore.pacs.object_kinds import NATIVE, VERIFICATION, kind_name, syntax_name
from drcore.pacs.servers import DicomServer
from drcore.photographs.dicom_elements import Identifiers, read_identifiers
from drcore.text import clean_name, one_line

__all__ = ["send_files"]

_PAIRS = 60
"""Kinds of object and encoding for which one association asks."""


class _Sending:
    """Files on their way, and what became of each."""

    def __init__(
        self, server: DicomServer, files: Sequence[Path], progress: Callable[[int], None] | None
    ) -> None:
        self.server = server
        self.progress = progress
        self.todo: dict[str, tuple[Path, Identifiers]] = {}
        self.settled: dict[str, SentFile] = {}
        self.unfit: dict[Path, SentFile] = {}
        self.uids: dict[Path, str] = {}
        self.tried: set[str] = set()
        for file in files:
            self._add(file)

    def _add(self, file: Path) -> None:
        if file in self.uids or file in self.unfit:
            return
        try:
            found = _identifiers(file)
            first = self.todo.setdefault(found.sop_instance, (file, found))[0]
            is_other = first != file and first.read_bytes() != file.read_bytes()
        except PhotographError as error:
            self.unfit[file] = SentFile(file, "", "failed", str(error))
        except OSError as error:
            self.unfit[file] = SentFile(file, "", "failed", _unreadable(file, error))
        else:
            self.uids[file] = found.sop_instance
            if is_other:
                why = (
                    f"{clean_name(file.name)}: {clean_name(first.name)} has the same SOP Instance "
                    "UID and other content. Send one of the two."
                )
                self.unfit[file] = SentFile(file, found.sop_instance, "failed", why)

    @property
    def pending(self) -> dict[str, tuple[Path, Identifiers]]:
        """What is not settled, by SOP Instance UID."""
        return {uid: item for uid, item in self.todo.items() if uid not in self.settled}

    def settle(self, uid: str, outcome: SentFile) -> None:
        """Note what became of an object."""
        self.settled[uid] = outcome
        if self.progress is not None:
            self.progress(len(self.settled))

    def give_up(self, error: PacsError) -> None:
        """Note that nothing more can be sent now."""
        for uid, (file, _) in self.pending.items():
            self.settle(uid, SentFile(file, uid, "failed", str(error), error.is_outage))

    def result(self, files: Sequence[Path]) -> list[SentFile]:
        """One for each file that was given."""
        told = []
        for file in files:
            outcome = self.unfit.get(file) or self.settled[self.uids[file]]
            told.append(
                SentFile(
                    file, outcome.sop_instance_uid, outcome.outcome, outcome.why, outcome.is_outage
                )
            )
        return told


def send_files(
    server: DicomServer,
    patience: Patience,
    files: Sequence[Path],
    progress: Callable[[int], None] | None,
) -> list[SentFile]:
    """Send files, and after an outage those that are not confirmed; see `Connection.send`."""
    sending = _Sending(server, files, progress)
    busy: dict[str, SentFile] = {}
    for number in range(patience.tries):
        is_last = number == patience.tries - 1
        try:
            busy = _send_once(sending)
            if not busy:
                break
        except PacsError as error:
            if is_last or not error.is_outage:
                sending.give_up(error)
                break
        if is_last:
            for uid, outcome in busy.items():
                sending.settle(uid, outcome)
        else:
            patience.wait(number)
    return sending.result(files)


def _send_once(sending: _Sending) -> dict[str, SentFile]:
    """Send what is pending; returns what the archive could not take now."""
    busy: dict[str, SentFile] = {}
    pairs = {(known.sop_class, known.transfer_syntax) for _, known in sending.pending.values()}
    ordered = sorted(pairs)
    for start in range(0, len(ordered), _PAIRS):
        chosen = set(ordered[start : start + _PAIRS])
        group = {
            uid: (file, known)
            for uid, (file, known) in sending.pending.items()
            if (known.sop_class, known.transfer_syntax) in chosen
        }
        with associated(sending.server, _contexts(chosen)) as association:
            there = _already_there(association, sending.server, group.values())
            for uid, (file, known) in group.items():
                if uid in there:
                    is_ours = uid in sending.tried  # it arrived, and the answer was lost
                    sending.settle(uid, SentFile(file, uid, "sent" if is_ours else "already there"))
                    continue
                sending.tried.add(uid)
                outcome = _store(association, sending.server, file, known)
                if outcome.is_outage:
                    busy[uid] = outcome
                else:
                    sending.settle(uid, outcome)
    return busy


def _contexts(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, Sequence[str]]]:
    """The contexts to ask for: each encoding by itself, and both native ones for either."""
    # With a kind that every archive takes, the others fail one by one, and not the association.
    wanted = {(kind, native) for kind in (FIND, VERIFICATION) for native in NATIVE}
    for sop_class, syntax in pairs:
        wanted.add((sop_class, syntax))
        if syntax in NATIVE:
            wanted |= {(sop_class, native) for native in NATIVE}
    return [(sop_class, [syntax]) for sop_class, syntax in sorted(wanted)]


def _already_there(
    association: Association, server: DicomServer, items: Iterable[tuple[Path, Identifiers]]
) -> set[str]:
    """SOP Instance UIDs of these series that the archive has; none where it cannot be asked."""
    if not any(context.abstract_syntax == FIND for context in association.accepted_contexts):
        return set()
    series = {(known.study, known.series) for _, known in items}
    there = set()
    for study, one in sorted(series):
        try:
            answers = find_below(
                association, server, "IMAGE", study, SeriesInstanceUID=one, SOPInstanceUID=""
            )
        except PacsError as error:
            if error.is_outage:
                raise
            return set()
        there |= {value_of(answer, "SOPInstanceUID") for answer in answers}
    return there


def _store(
    association: Association, server: DicomServer, file: Path, known: Identifiers
) -> SentFile:
    """Send one file; an archive that breaks off raises."""
    uid, name = known.sop_instance, clean_name(file.name)
    accepted = {
        (str(context.abstract_syntax), str(context.transfer_syntax[0]))
        for context in association.accepted_contexts
    }
    natives = [native for native in NATIVE if (known.sop_class, native) in accepted]
    is_accepted = (known.sop_class, known.transfer_syntax) in accepted
    if not is_accepted and not (known.transfer_syntax in NATIVE and natives):
        kind, syntax = kind_name(known.sop_class), syntax_name(known.transfer_syntax)
        why = f"{name}: the archive takes no {kind} as {syntax}. Ask who runs it to allow it."
        return SentFile(file, uid, "failed", why)
    if not association.is_established:
        raise broke_off(server)
    try:
        # As it is; what the archive wants otherwise encoded is read and written anew.
        status = association.send_c_store(file if is_accepted else dcmread(file))
    except OSError as error:
        return SentFile(file, uid, "failed", _unreadable(file, error))
    except RuntimeError as error:  # the association ended meanwhile
        raise broke_off(server) from error
    except Exception as error:  # noqa: BLE001 - pydicom raises what it likes on hostile bytes
        why = f"{name}: it cannot be encoded as the archive wants it ({one_line(error)})."
        return SentFile(file, uid, "failed", why)
    if "Status" not in status:
        raise broke_off(server)
    if status.Status == 0 or status.Status & 0xF000 == 0xB000:  # stored, perhaps with warnings
        return SentFile(file, uid, "sent")
    why, passing = refusal(status)
    return SentFile(file, uid, "failed", f"{name}: {why}", passing)


def _identifiers(file: Path) -> Identifiers:
    name = clean_name(file.name)
    with file.open("rb") as opened:
        if not opened.read(1):
            raise PhotographError(f"{name}: the file is empty. Export it again.")
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return read_identifiers(data, name)


def _unreadable(file: Path, error: OSError) -> str:
    return f"{clean_name(file.name)}: it cannot be read ({error.strerror or one_line(error)})."
