"""What `drcore pacs echo`, `find`, `fetch` and `send` do."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from drcore.errors import DrcoreError, MissingInputError, PacsError
from drcore.pacs.connection import Connection, FoundStudy, Query, SentFile, connect
from drcore.pacs.servers import load_servers, server_named
from drcore.photographs.formats import is_dicom
from drcore.sources.archives import list_members
from drcore.sources.folders import walk
from drcore.sources.listing import Listed
from drcore.sources.sniff import is_archive
from drcore.text import cell, csv_text

__all__ = ["OUTAGE", "dicom_files", "echo", "fetch", "find", "send"]

OUTAGE = 3
"""Exit code where a server failed and trying again may help."""

_COLUMNS = (
    "study", "patient", "accession", "date", "modalities", "instances", "description",
)  # fmt: skip


def echo(names: Sequence[str], file: str | None) -> int:
    """Check servers; returns the exit code."""
    servers = load_servers(file)
    chosen = [server_named(name, file) for name in names or servers]
    if not chosen:
        server_named("", file)  # says that there is none
    code = 0
    for server in chosen:
        try:
            connect(server).echo()
            print(f"{server.name}: answers")
        except PacsError as error:
            print(f"drcore: error: {error}", file=sys.stderr)
            code = max(code, OUTAGE if error.is_outage else 1)
    return code


def find(options: argparse.Namespace) -> int:
    """Print studies; returns the exit code."""
    _, studies = _found(options)
    rows = [
        {
            "study": study.study_uid, "patient": cell(study.patient_id),
            "accession": cell(study.accession), "date": cell(study.date),
            "modalities": cell(" ".join(study.modalities)),
            "instances": "" if study.instances is None else str(study.instances),
            "description": cell(study.description),
        }
        for study in studies
    ]  # fmt: skip
    print(csv_text(rows, _COLUMNS), end="")
    return 0


def fetch(options: argparse.Namespace) -> int:
    """Fetch studies; returns the exit code."""
    connection, studies = _found(options)
    if not studies:
        raise MissingInputError("No study matches. Check the conditions with drcore pacs find.")
    files = new = missing = 0
    code = 0
    for study in studies:
        try:
            came = connection.fetch(
                study, options.out / study.study_uid, modalities=options.modality
            )
        except PacsError as error:
            print(f"drcore: error: {study.study_uid}: {error}", file=sys.stderr)
            code = max(code, OUTAGE if error.is_outage else 1)
            continue
        files, new, missing = files + len(came.files), new + came.new, missing + came.missing
        for problem in came.problems:
            print(f"drcore: error: {study.study_uid}: {problem}", file=sys.stderr)
        if came.problems or came.missing:
            code = max(code, OUTAGE if came.is_outage else 1)
    print(
        f"{_counted(len(studies), 'study', 'studies')}: {_counted(new, 'file', 'files')} fetched, "
        f"{files - new} there before, {missing} missing"
    )
    return code


def send(name: str, servers: str | None, paths: Sequence[Path], *, quiet: bool = False) -> int:
    """Send files; returns the exit code."""
    connection = connect(server_named(name, servers))
    with tempfile.TemporaryDirectory(prefix="drcore-send-") as place:
        files = dicom_files(paths, Path(place))
        if not files:
            raise DrcoreError("There is no DICOM file in what was given. Export some, or fetch.")
        results = connection.send([file for file, _ in files])
    labels = [label for _, label in files]
    for label, sent in zip(labels, results, strict=True):
        if sent.outcome == "failed":
            print(f"drcore: error: {label}: {sent.why}", file=sys.stderr)
        elif not quiet:
            print(f"{label}: {sent.outcome}")
    counts = Counter(sent.outcome for sent in results)
    print(
        f"{counts['sent']} sent, {counts['already there']} already there, {counts['failed']} failed"
    )
    return _code(results)


def _code(results: Sequence[SentFile]) -> int:
    failed = [sent for sent in results if sent.outcome == "failed"]
    if any(sent.is_outage for sent in failed):
        return OUTAGE
    return 1 if failed else 0


def _found(options: argparse.Namespace) -> tuple[Connection, list[FoundStudy]]:
    query = Query(
        patient_id=options.patient, accession=options.accession, study_uid=options.study,
        first_date=options.first or "", last_date=options.last or "",
        modalities=tuple(options.modality), station=options.station,
    )  # fmt: skip
    connection = connect(server_named(options.name, options.servers))
    studies = connection.find(query, max(1, options.limit))
    if len(studies) >= options.limit:
        print(
            f"drcore: the first {len(studies)} studies; there may be more. Raise --limit, or "
            "narrow the search.", file=sys.stderr,
        )  # fmt: skip
    return connection, studies


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def dicom_files(paths: Sequence[Path], place: Path) -> list[tuple[Path, str]]:
    """Find the DICOM files in files, folders, ZIP and TAR files.

    Args:
        paths: that were given.
        place: folder for what is taken out of archives.

    Returns:
        Files with their display names, in order.

    Raises:
        MissingInputError: a path is not there.
        DrcoreError: a path cannot be read, or is no DICOM file.
    """
    found: list[tuple[Path, str]] = []
    for path in paths:
        if path.is_dir():
            listed = walk(path)
        elif not path.is_file():
            raise MissingInputError(f"{cell(str(path))}: there is no such file or folder.")
        elif is_archive(path.name):
            listed = list_members(path)
        else:
            found.append((path, cell(path.name)))  # whatever it is: the report says so
            continue
        for number, entry in enumerate(listed):
            found += _dicom_of(entry, place / f"{len(found)}-{number}.dcm")
    return found


def _dicom_of(entry: Listed, target: Path) -> list[tuple[Path, str]]:
    """The DICOM file of an entry: itself in a folder, a copy of it out of an archive."""
    if entry.problem:
        raise DrcoreError(entry.problem)
    if entry.left_out is not None:
        return []
    source = entry.place
    try:
        if isinstance(source, Path):
            with source.open("rb") as opened:
                return [(source, cell(entry.path))] if is_dicom(opened.read(140)) else []
        data = source.read()
        if not is_dicom(data[:140]):
            return []
        target.write_bytes(data)
    except OSError as error:
        raise DrcoreError(
            f"{cell(entry.path)} cannot be read ({error.strerror or error}). Check the file."
        ) from error
    return [(target, cell(entry.path))]
