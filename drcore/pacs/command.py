"""The commands `drcore pacs` and `drcore listen`."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

# What the commands do is imported where it is used: `drcore --help` answers at once.

__all__ = ["add_commands"]

_AE_TITLE = re.compile(r"(?! )[\x20-\x5b\x5d-\x7e]{1,16}(?<! )")

_HELP = """\
Find and fetch photographs in picture archives (PACS), and send documents there. Needs the extra
'pacs': python -m pip install "drcore[pacs]"

The archives are described in a TOML file, named by --servers or DRCORE_PACS:
  [servers.archive]                       # through DICOM messages
  kind = "dicom"
  host = "pacs.example.org"
  port = 11112
  ae_title = "ARCHIVE"                    # of the archive
  calling_ae_title = "DRCORE"             # ours, as the archive knows it (default: DRCORE)
  timeout = 30                            # seconds for each answer
  tls = { ca = "ca.pem", certificate = "drcore.pem", key = "drcore.key" }

  [servers.web]                           # through DICOMweb
  kind = "web"
  url = "https://pacs.example.org/dicom-web"
  token_env = "PACS_TOKEN"                # or user_env and password_env: names of variables
  ca = "ca.pem"
Paths are relative to the file. Passwords and tokens stand in environment variables alone.

What a server may be able to do later is tried four times with growing pauses. Exit code: 0 when all
was done; 1 when something was refused; 2 for what is not there; 3 when a server failed: run the
same command again, which fetches and sends only what is missing.
"""
_ECHO = "Check that archives answer and let drcore in (C-ECHO, or a query of DICOMweb)."
_FIND = """\
Print the studies that match as CSV. Conditions are combined; patient and accession number may hold
the wildcards * and ?. Names of patients are not printed.
"""
_FETCH = """\
Fetch the studies that match to FOLDER/STUDY-UID/SOP-INSTANCE-UID.dcm (C-GET or WADO-RS). What is
there already is not fetched again. Then: drcore grade FOLDER --csv grades.csv
"""
_SEND = """\
Store DICOM files in an archive (C-STORE or STOW-RS): files, folders, and ZIP files such as an
export of the viewer. What the archive has already is not sent again, and each file is reported as
sent, already there, or failed with the reason. Files leave as they are: whether they name a patient
was decided when they were exported.
"""
_REPORT = """\
Grade DICOM photographs and write structured report and overlay of each to FOLDER, to be sent:
  drcore pacs report photos/ --out documents/ && drcore pacs send archive documents/
They belong to the study of the photograph and name its patient. Photographs whose documents are
there already are left out.
"""
_LISTEN = """\
Receive photographs (DICOM C-STORE), grade them, and add a row for each to FOLDER/grades.csv.

Each file is on the disk (FOLDER/received/SOP-INSTANCE-UID.dcm) before its sender is told so.
Whatever ends the listener, the next start goes on with what was stored but not graded. The same
object sent twice is one row; another object of the same UID is refused. Accepted: ophthalmic
photographs (8 and 16 bit), secondary capture, multi-frame true colour, VL photographs; as
uncompressed, JPEG baseline, JPEG 2000 or RLE. Objects that drcore made are refused.

With --send-to, structured report and overlay go to that archive, with the patient's name as in the
photograph. They wait in FOLDER/outbox until the archive confirms them; what it refuses for good is
kept in FOLDER/refused.

It listens on this computer alone unless --bind names another address, to callers of --accept-from
alone, who must call it by --ae-title. SIGTERM or Ctrl-C ends it with exit code 0.
"""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `pacs` with its commands, and `listen`, to a parser."""
    raw = argparse.RawDescriptionHelpFormatter
    pacs = commands.add_parser(
        "pacs", help="find, fetch and send through a picture archive", description=_HELP,
        formatter_class=raw,
    )  # fmt: skip
    parts = pacs.add_subparsers(title="commands", metavar="COMMAND", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--servers", metavar="FILE", help="TOML file (default: $DRCORE_PACS)")

    def part(name: str, text: str, description: str) -> argparse.ArgumentParser:
        return parts.add_parser(
            name, parents=[] if name == "report" else [common], help=text, description=description,
            formatter_class=raw,
        )  # fmt: skip

    echo = part("echo", "check that archives answer", _ECHO)
    echo.add_argument("names", nargs="*", metavar="SERVER", help="all of the file if left out")
    find = part("find", "list studies", _FIND)
    fetch = part("fetch", "fetch studies", _FETCH)
    for one in (find, fetch):
        one.add_argument("name", metavar="SERVER")
        _add_query(one)
    fetch.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    send = part("send", "store files in an archive", _SEND)
    send.add_argument("name", metavar="SERVER")
    send.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    send.add_argument("--quiet", action="store_true", help="print failed files alone")
    report = part("report", "grade, and write documents to be sent", _REPORT)
    report.add_argument("paths", nargs="+", metavar="PATH", help="as for drcore grade")
    report.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    _add_grading(report)
    for one, run in ((echo, _echo), (find, _find), (fetch, _fetch), (send, _send),
                     (report, _report)):  # fmt: skip
        one.set_defaults(run=run)
    _add_listen(commands)


def _add_query(part: argparse.ArgumentParser) -> None:
    part.add_argument("--patient", default="", metavar="ID", help="PatientID")
    part.add_argument("--accession", default="", metavar="NUMBER")
    part.add_argument("--study", default="", metavar="UID", help="Study Instance UID")
    part.add_argument("--from", dest="first", type=_day, metavar="DATE",
                      help="first day of the study, 2026-01-31")  # fmt: skip
    part.add_argument("--to", dest="last", type=_day, metavar="DATE", help="last day")
    part.add_argument(
        "--modality", action="append", default=[], type=_modality,
        help="OP, OPT, ...; fetch takes only series of these. May be repeated",
    )  # fmt: skip
    part.add_argument("--station", default="", metavar="NAME", help="name of the camera's station")
    part.add_argument("--limit", default=1000, type=int, metavar="N", help="studies at most (1000)")


def _add_grading(part: argparse.ArgumentParser) -> None:
    part.add_argument(
        "--weights", type=Path, metavar="FOLDER", default=os.environ.get("DRCORE_WEIGHTS") or None,
        help="use weights in FOLDER (default: $DRCORE_WEIGHTS, else the bundled ones)",
    )  # fmt: skip
    part.add_argument("--device", choices=("cpu", "cuda"), help="default: CUDA where there is one")


def _add_listen(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    listen = commands.add_parser(
        "listen", help="receive photographs from cameras and archives, and grade them",
        description=_LISTEN, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = listen.add_argument
    add("--port", type=_port, default=11112, metavar="N", help="default: 11112")
    add("--bind", default="127.0.0.1", metavar="ADDRESS",
        help="of this computer to listen on (default: 127.0.0.1, this computer alone)")  # fmt: skip
    add("--ae-title", type=_title, default="DRCORE", metavar="AE", help="ours (default: DRCORE)")
    add("--accept-from", type=_title, nargs="+", required=True, metavar="AE",
        help="AE titles that may send")  # fmt: skip
    add("--out", required=True, type=Path, metavar="FOLDER", help="of files, table and documents")
    _add_grading(listen)
    add("--send-to", default="", metavar="SERVER", help="send structured report and overlay there")
    add("--servers", metavar="FILE", help="TOML file with that server (default: $DRCORE_PACS)")
    add("--tls-certificate", metavar="FILE", help="PEM file; with --tls-key: encrypted only")
    add("--tls-key", metavar="FILE", help="PEM file without a password")
    add("--tls-ca", metavar="FILE", help="callers must show a certificate of this authority")
    add("--largest", type=_mebibytes, default=512 << 20, metavar="MIB",
        help="size of a file at most (default: 512)")  # fmt: skip
    add("--quiet", action="store_true", help="say nothing")
    listen.set_defaults(run=_listen, parser=listen)


def _day(text: str) -> str:
    digits = text.replace("-", "")
    if not re.fullmatch("[0-9]{8}", digits, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no date: write it as 2026-01-31")
    return digits


def _modality(text: str) -> str:
    if not re.fullmatch("[A-Z0-9_]{2,16}", text.upper(), re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no modality: write OP, OPT or another code")
    return text.upper()


def _title(text: str) -> str:
    if _AE_TITLE.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no AE title: 1 to 16 letters and digits")
    return text


def _number(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text[:12]) <= most):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
    return int(text)


def _port(text: str) -> int:
    return _number(text, 0, 65535)


def _mebibytes(text: str) -> int:
    return _number(text, 1, 2048) << 20


def _echo(options: argparse.Namespace) -> int:
    from drcore.pacs.exchange import echo

    return echo(options.names, options.servers)


def _find(options: argparse.Namespace) -> int:
    from drcore.pacs.exchange import find

    return find(options)


def _fetch(options: argparse.Namespace) -> int:
    from drcore.pacs.exchange import fetch

    return fetch(options)


def _send(options: argparse.Namespace) -> int:
    from drcore.pacs.exchange import send

    return send(options.name, options.servers, options.paths, quiet=options.quiet)


def _report(options: argparse.Namespace) -> int:
    from drcore.pacs.reporting import report

    return report(options.paths, options.out, options.weights, options.device)


def _listen(options: argparse.Namespace) -> int:
    if (options.tls_certificate is None) != (options.tls_key is None):
        options.parser.error("--tls-certificate and --tls-key belong together")
    if options.tls_ca is not None and options.tls_key is None:
        options.parser.error("--tls-ca needs --tls-certificate and --tls-key")
    from drcore.pacs.listen_command import ListenOptions, listen
    from drcore.pacs.receiver import Address

    address = Address(
        options.bind, options.port, options.ae_title, tuple(options.accept_from),
        options.tls_certificate, options.tls_key, options.tls_ca,
    )  # fmt: skip
    return listen(
        ListenOptions(
            address, options.out, options.weights, options.device,
            min(8, os.cpu_count() or 1), options.send_to, options.servers, options.largest,
            options.quiet,
        )
    )  # fmt: skip
