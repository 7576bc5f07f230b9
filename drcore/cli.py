"""The command line: `drcore grade` for folders of photographs, `drcore model` for the weights."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from drcore import __version__
from drcore.batch.signals import CODE, interruptible
from drcore.errors import DrcoreError

# Everything else is imported where it is used: `drcore --help` answers at once.
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_GRADE_HELP = """\
Grade photographs and write one row for each.

PATH is a photograph, a folder, a ZIP or TAR archive, or an address:
  folder/                walked recursively (hidden files, links to folders and links out of the
                         folder are skipped); files without an ending are read where they are DICOM
  shard.zip, shard.tar   each photograph in it; also .tar.gz, which is slower: it is unpacked into
                         a temporary file. Nothing else is unpacked
  s3://bucket/folder     with the credentials of the AWS tools (AWS_PROFILE, AWS_ENDPOINT_URL_S3 for
                         another server); FSSPEC_S3_ANON=true for a public bucket
  gs://bucket/folder     with those of gcloud; FSSPEC_GS_TOKEN=anon for a public bucket
  https://host/folder/   a page of links, followed into folders below; without the slash, one file
Each frame of a DICOM file is a photograph. What cannot be read becomes a row with the status
"failed" and the reason. An ungradable photograph has a score, but no grade.

A local CSV grows by whole lines, so it is valid whenever the run ends. With --resume the rows that
it has are kept and only the missing ones are added. Of a Parquet file, the rows grow in a CSV
beside it (OUT.parquet.unfinished.csv), which --resume goes on with after a kill. A table at s3://
or gs:// is uploaded whole: at the start, every minute or more, and at the end. There --resume goes
on with what was uploaded last; two runs must not write one such table.

--maps DIR writes two files for each photograph that could be read, NAME-HASH.drcore-map.jpg (the
fused map over the photograph) and NAME-HASH.drcore-map.npz: ram (float32, grades above a healthy
retina, NaN where there is no retina), x0, y0, step (centre of its first cell and distance of the
cells, in pixels of the photograph), width, height, score. NAME and HASH come from the image
column. Folder walks skip these overlays.

--engine ray grades on a Ray cluster (extra 'cluster'), a worker for each accelerator or group of
cores; the rows are the same. Each machine needs this version of drcore and must reach photographs
and weights by the same paths or addresses. What a dead machine had begun goes to another.
"""
_GRADE_EPILOG = """\
Exit code: 0 when every photograph has its row, failed ones included; 1 when the table or the maps
cannot be written or the weights cannot be used; 2 for a wrong command line; 130 when interrupted
(Ctrl-C, SIGTERM, a closed terminal: the table is finished with the rows so far; a second one ends
the run at once, and --resume goes on).

Research use only: decision support, not a medical device.
"""


_NO_MEMORY = re.compile("start new thread|bad_alloc|allocate memory|failed to map segment")
"""How threads, networks and libraries that are loaded late put it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; from the process where left out.

    Returns:
        Exit code: 0 done, 1 failed with a sentence on stderr, 130 interrupted.

    Raises:
        SystemExit: with 2 for a wrong command line, with 0 after --help and --version.
    """
    _open_streams()
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still held goes nowhere, silently
        return 1


def _open_streams() -> None:
    """Give a process that was started without a terminal's streams somewhere to write to.

    Else the table is opened under the number of the standard error, and libraries write into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def _run(argv: Sequence[str] | None) -> int:
    options = _parser().parse_args(argv)
    as_json = getattr(options, "log_json", False)
    try:
        with interruptible():
            return int(options.run(options))
    except DrcoreError as error:
        return _ended(f"error: {error}", 1, as_json=as_json)
    except (MemoryError, RuntimeError, ImportError) as error:
        if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
            raise
        sentence = "error: there is not enough memory. Close other programs; rows are kept."
        return _ended(sentence, 1, as_json=as_json)
    except KeyboardInterrupt:
        return _ended("interrupted.", CODE, as_json=as_json)


def _ended(sentence: str, code: int, *, as_json: bool) -> int:
    if as_json:
        from drcore import logs

        logs.event("ended", "error", says=sentence, code=code)
    else:
        print(f"drcore: {sentence}", file=sys.stderr, flush=True)
    return code


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="drcore",
        description="Grade diabetic retinopathy in fundus photographs. Research use only.",
    )
    parser.add_argument("--version", action="version", version=f"drcore {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    grade = commands.add_parser(
        "grade",
        help="grade photographs into a CSV",
        description=_GRADE_HELP,
        epilog=_GRADE_EPILOG,
        formatter_class=raw,
    )
    grade.add_argument(
        "paths", nargs="+", type=_given, metavar="PATH", help="photographs, see above"
    )
    grade.add_argument(
        "--csv",
        "--out",
        type=_given,
        required=True,
        metavar="OUT.csv",
        help="where to: a path or an s3:// or gs:// address; Parquet if it ends in .parquet",
    )
    grade.add_argument("--maps", type=_folder, metavar="DIR", help="write the fused maps there")
    grade.add_argument(
        "--workers",
        type=_count,
        default=min(8, os.cpu_count() or 1),
        metavar="N",
        help="threads that read photographs (default: one a core, at most 8)",
    )
    grade.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="default: this machine"
    )
    grade.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="of the cluster (default: RAY_ADDRESS, or else one that ends with the run)",
    )
    existing = grade.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="continue an existing CSV")
    existing.add_argument("--overwrite", action="store_true", help="replace an existing CSV")
    grade.add_argument(
        "--weights", type=Path, metavar="FOLDER", help="use these weights, not the bundled ones"
    )
    grade.add_argument("--device", choices=("cpu", "cuda"), help="default: CUDA where there is one")
    verbosity = grade.add_mutually_exclusive_group()
    verbosity.add_argument("--quiet", action="store_true", help="no progress bar and no summary")
    verbosity.add_argument(
        "--verbose", action="store_true", help="tell of each photograph (by its hash, no names)"
    )
    grade.add_argument("--log-json", action="store_true", help="one JSON object a line on stderr")
    grade.set_defaults(run=_grade)

    model = commands.add_parser("model", help="tell what the weights are and how good they are")
    model.add_argument(
        "--weights", type=Path, metavar="FOLDER", help="of these weights, not the bundled ones"
    )
    model.set_defaults(run=_model)
    return parser


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 256")
    return number


def _given(text: str) -> str:
    if not text.strip():  # Python would take it for the folder that the shell is in
        raise argparse.ArgumentTypeError("it is empty; is a variable of the shell not set?")
    return text


def _folder(text: str) -> Path:
    if "://" in text:
        raise argparse.ArgumentTypeError("maps are written to a folder of this computer")
    return Path(_given(text))


def _grade(options: argparse.Namespace) -> int:
    from drcore.batch.command import grade

    return grade(options)


def _model(options: argparse.Namespace) -> int:
    from drcore.model.bundle import bundled_folder
    from drcore.model.manifest import read_manifest

    manifest = read_manifest(options.weights or bundled_folder()).model_dump()
    lines = [f"{manifest['name']} {manifest['version']}"]
    for key in ("created", "intended_use", "licence", "thresholds", "certainty", "metrics"):
        lines += _outline(key, manifest[key], "")
    print("\n".join(lines))
    return 0


def _outline(key: str, value: object, indent: str) -> list[str]:
    """Lines of a manifest entry, nested ones indented."""
    label = f"{indent}{key.replace('_', ' ')}:"
    if isinstance(value, dict) and value:
        inner = [_outline(str(k), v, f"{indent}  ") for k, v in value.items()]
        return [label, *(line for lines in inner for line in lines)]
    if isinstance(value, list):
        value = ", ".join(str(part) for part in value)
    return [f"{label} {'not given' if value in ('', None, {}) else value}"]
