"""The command `drcore record`: keep the record of decisions for years."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

# What the commands do is imported where it is used: `drcore --help` answers at once.
if TYPE_CHECKING:
    from drcore.record.checks import Verification
    from drcore.record.erasure import Erasure

__all__ = ["add_commands"]

_HELP = """\
Keep the record of readers' decisions, marks and corrections: an SQLite file or a PostgreSQL
database. Each command works while readers save.

The record is the one of the viewer: DRCORE_REVIEWS_URL, or .drcore/reviews.sqlite3 in the current
folder; --record names another. Photographs and worklists are no part of it.
"""
_BACKUP = """\
Copy the record to FILE, an SQLite file, as it is at one moment: SQLite by its online backup,
PostgreSQL from one snapshot. FILE.sha256 beside it holds its checksum (sha256sum -c FILE.sha256).
The backup is verified after it is written.
"""
_RESTORE = """\
Put the rows of a backup into a record that is not there yet or holds no row, in SQLite or
PostgreSQL, whichever the backup came from. All rows or none; afterwards each row is compared with
the backup. The copy that an upgrade kept (reviews.schema-0003.sqlite3) can be restored, too.
"""
_VERIFY = """\
Check the record, or the backup FILE; nothing is changed.

Found: a row in which anything was changed (each has a SHA-256 over its content and number), a row
that was deleted (its number is missing; PostgreSQL leaves numbers out where saving failed, too), a
row that another program added, missing triggers, damage to an SQLite file; in a backup with its
.sha256 beside it, any changed byte.
Not found: a row that was changed together with its digest by someone who can compute one. Keep the
printed content digest elsewhere: it changes with any row. Nor are unused bytes of the file of a
running record covered, or its photographs.
"""
_ERASE = """\
Erase PATIENT (- reads it from the standard input). Without --yes only counts are printed.

In the record: patient, name and SHA-256 of the photographs, notes, scores, and places of marks are
overwritten; who graded what, when, and how many marks of which kind stay, so that Agreement counts
as before. An entry says when and by whom how many rows were erased. Stored worklists: the entries
with their photographs, thumbnails, reports and maps are deleted. Copies that upgrades kept are
deleted if they hold the patient. Free pages of the database are overwritten. With --backup FILE,
which can be repeated, a backup is replaced by one without the patient.

Not reached: other backups, exports, tables and maps that `drcore grade` wrote, files that lie in
the clinic's own folders, write-ahead logs that a PostgreSQL server archives, and photographs that a
page has open now. Let readers reload their pages, then run it again.
"""
_NOT_REACHED = (
    "Not reached: other backups (give each with --backup FILE), and exports and tables of results "
    "that were made before. A backup that is restored brings the patient back."
)
_EXPORT = """\
Write all tables to FILE, a ZIP of CSV and JSON Lines with a description: to be read without drcore.
It names patients; for a de-identified export use the viewer.
"""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `record` and its commands to a parser."""
    raw = argparse.RawDescriptionHelpFormatter
    record = commands.add_parser(
        "record", help="back up, restore, verify, erase from, export the record of decisions",
        description=_HELP, formatter_class=raw,
    )  # fmt: skip
    parts = record.add_subparsers(title="commands", metavar="COMMAND", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--record", metavar="LOCATION", default="",
        help="path of an SQLite file or URL of a PostgreSQL database",
    )  # fmt: skip
    for name, run, text, description in (
        ("backup", _back_up, "copy the record to a file", _BACKUP),
        ("restore", _restore, "put a backup into an empty record", _RESTORE),
        ("verify", _verify, "find changed and deleted rows", _VERIFY),
        ("erase-patient", _erase, "erase a patient, keep counts", _ERASE),
        ("export", _export, "write all rows as CSV and JSON Lines", _EXPORT),
    ):
        part = parts.add_parser(
            name, parents=[common], help=text, description=description, formatter_class=raw
        )
        part.set_defaults(run=run)
        _add_arguments(name, part)


def _add_arguments(name: str, part: argparse.ArgumentParser) -> None:
    if name == "erase-patient":
        part.add_argument("patient", metavar="PATIENT", help="as the viewer shows it")
        part.add_argument("--by", default="", metavar="NAME", help="who erases; kept in the record")
        part.add_argument("--yes", action="store_true", help="erase, do not only count")
        part.add_argument(
            "--backup", type=Path, action="append", default=[], metavar="FILE",
            help="erase in this SQLite backup, too; can be repeated",
        )  # fmt: skip
        part.add_argument(
            "--worklists", type=Path, metavar="FOLDER",
            help="of the stored worklists (default: DRCORE_WORKLISTS, else .drcore/worklists)",
        )  # fmt: skip
        return
    part.add_argument("file", metavar="FILE", type=Path, nargs="?" if name == "verify" else None)
    if name in {"backup", "export"}:
        part.add_argument("--overwrite", action="store_true", help="replace FILE")
    if name == "restore":
        part.add_argument("--force", action="store_true", help="even if FILE is damaged")


def _location(options: argparse.Namespace) -> str:
    from drcore.record.places import record_location

    return str(options.record or record_location())


def _back_up(options: argparse.Namespace) -> int:
    from drcore.record.backup import back_up

    found = back_up(_location(options), options.file, overwrite=options.overwrite)
    print(f"Backup written: {options.file}")
    if found is None:
        print("It is of an older version, without digests; restoring upgrades it.")
        return 0
    return _told(found)


def _restore(options: argparse.Namespace) -> int:
    from drcore.record.backup import restore

    found = restore(options.file, _location(options), force=options.force)
    print("Restored; every row equals that of the backup.")
    return _told(found)


def _verify(options: argparse.Namespace) -> int:
    from drcore.errors import MissingInputError
    from drcore.record.checks import verify
    from drcore.record.places import existing_record

    if options.file is None:
        existing_record(_location(options))
        return _told(verify(_location(options)))
    if not options.file.is_file():
        raise MissingInputError(f"There is no backup {options.file}. Check its path.")
    return _told(verify(str(options.file)))


def _told(found: Verification) -> int:
    print(", ".join(f"{rows} {table.replace('_', ' ')}" for table, rows in found.rows.items()))
    print(f"Content digest: {found.digest}")
    for note in found.notes:
        print(f"Note: {note}")
    for problem in found.told:
        print(f"drcore: {problem}", file=sys.stderr)
    if not found.problems:
        print("No problem found.")
    return 1 if found.problems else 0


def _erase(options: argparse.Namespace) -> int:
    from drcore.record.erasure import erase_patient
    from drcore.record.places import worklists_folder

    patient = sys.stdin.readline() if options.patient == "-" else options.patient
    erasure = erase_patient(
        _location(options), options.worklists or worklists_folder(), patient.strip(),
        by=options.by, confirmed=options.yes, backups=options.backup,
    )  # fmt: skip
    print("Erased:" if options.yes else "Would be erased:")
    _counts(erasure)
    print(_NOT_REACHED)
    if not options.yes:
        print("Nothing was erased. Repeat with --yes --by NAME to erase it for good.")
    for problem in erasure.problems:
        print(f"drcore: {problem}", file=sys.stderr)
    return 1 if erasure.problems else 0


def _counts(erasure: Erasure) -> None:
    entries = erasure.entries
    print(
        f"  record: {erasure.photographs} photographs, {erasure.decisions} decisions, "
        f"{erasure.marks} marks, {erasure.corrections} corrections"
    )
    print(f"  worklists: {entries.entries} entries of {entries.lists} lists, {entries.files} files")
    for backup in erasure.backups:
        print(f"  backup: {backup}")
    for copy in erasure.copies:
        print(f"  copy kept by an upgrade: {copy}")
    for original in entries.originals:
        print(f"  not touched, delete it yourself if it must go: {original}")


def _export(options: argparse.Namespace) -> int:
    from drcore.record.open_format import export_record

    counts = export_record(_location(options), options.file, overwrite=options.overwrite)
    print(f"Written: {options.file}")
    print(", ".join(f"{rows} {table.replace('_', ' ')}" for table, rows in counts.items()))
    return 0
