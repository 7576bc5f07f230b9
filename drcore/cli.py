"""The command line: `drcore grade`, `drcore model`, `drcore pacs`, `drcore view` and others."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from drcore import __version__
from drcore.batch.signals import CODE, interruptible
from drcore.errors import DrcoreError, MissingInputError
from drcore.evaluation.arguments import add_commands as add_evaluation
from drcore.eye import FIELD_DEGREES, degrees_of
from drcore.monitoring.arguments import add_commands as add_monitoring
from drcore.pacs.command import add_commands as add_pacs
from drcore.record.command import add_commands

# Everything else is imported where it is used: `drcore --help` answers at once.
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_GRADE_HELP = """\
Grade fundus images; write one row per image.

PATH is an image, a folder, a ZIP or TAR archive, or a URL:
  folder/                read recursively (skips hidden files and symlinks that leave the folder)
  shard.zip, shard.tar   each image in it; .tar.gz too, which is slower: it is unpacked into a
                         temporary file. Archives inside archives are not read
  s3://bucket/folder     with the credentials of the AWS tools (AWS_PROFILE, AWS_ENDPOINT_URL_S3 for
                         another server); FSSPEC_S3_ANON=true for a public bucket
  gs://bucket/folder     with those of gcloud; FSSPEC_GS_TOKEN=anon for a public bucket
  https://host/folder/   a page of links, followed into folders below; without the slash, one file
What a file is, its content decides, not its name. Each picture of a file with several (DICOM
frames, pages, animations) has its own row. Unreadable files get status "failed" and a reason.
Ungradable images get a score but no grade. Other files, and what drcore itself exported, are left
out and counted in the last line.

Eye, patient and date are read from the DICOM header, from --name-pattern, or from names that can be
read in one way only (10_left.jpeg, A-7_OD_2024-03-01.jpg); else they stay empty. A folder is a
patient only with --patient-from folder. The column identity_source says where each was read.

Rows are appended whole, so an interrupted CSV stays valid. --resume keeps the row of each image
whose content is the same at the same place, and grades the others: new ones, changed ones, and
failed ones unless --keep-failed is given. Rows of images that are gone from PATH are moved to
OUT.removed.csv unless --keep-missing is given; rows of inputs that are not given again stay. The
hidden file .OUT.inputs beside a table says by hashes which input each row came from. Parquet rows
are buffered in OUT.parquet.unfinished.csv, which --resume continues from. A table at s3:// or gs://
is uploaded whole: at the start, every minute or more, and at the end; two runs must not write one
such table.

--maps DIR writes two files for each image that could be read, NAME-HASH.drcore-map.jpg (the fused
heat map over the image) and NAME-HASH.drcore-map.npz: ram (float32, grades above a healthy retina,
NaN outside the retina), x0, y0, step (centre of its first cell and distance of the cells, in pixels
of the image), width, height, score. NAME and HASH come from the image column.

--engine ray grades on a Ray cluster (extra 'cluster'), one worker per accelerator or group of
cores; the rows are the same. Each machine needs this version of drcore and must reach images and
weights by the same paths or URLs. Work of a failed node is reassigned.
"""
_GRADE_EPILOG = """\
Exit code: 0 when every image has its row, failed ones included; 1 when the table or the maps
cannot be written or the weights cannot be used; 2 for a wrong command line or an input that is not
there; 3 when images could not be fetched because a server failed or refused (their rows say so;
--resume tries them again); 130 when interrupted (Ctrl-C, SIGTERM, a closed terminal: the rows so
far are saved; a second signal aborts immediately; continue with --resume).

Research use only: decision support, not a medical device.
"""


_VIEW_HELP = """\
Start the viewer as a process of its own, from any folder, and open it in the browser. It listens on
this computer alone, with the settings that belong to it (.streamlit/config.toml of the project).

Arguments are passed on to `streamlit run`, and win over those settings:
  drcore view --server.port 8600 --server.headless true
Decisions and worklists go to the folder .drcore where the command is started, unless
DRCORE_REVIEWS_URL and DRCORE_WORKLISTS name other places.
"""


_NO_MEMORY = re.compile("start new thread|bad_alloc|allocate memory|failed to map segment")
"""In the errors of threads, networks and libraries that are loaded late."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; from the process where left out.

    Returns:
        Exit code: 0 done, 1 failed with a sentence on stderr, 2 an input is not there, 3 images
        could not be fetched, 130 interrupted.

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
    parser = _parser()
    options, rest = parser.parse_known_args(argv)
    if options.run is _view:
        options.rest = rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    as_json = getattr(options, "log_json", False)
    try:
        with interruptible():
            return int(options.run(options))
    except MissingInputError as error:
        return _ended(f"error: {error}", 2, as_json=as_json)
    except DrcoreError as error:
        return _ended(f"error: {error}", 3 if error.is_outage else 1, as_json=as_json)
    except (MemoryError, RuntimeError, ImportError) as error:
        if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
            raise
        sentence = "error: out of memory. Rows so far are saved. Close other programs."
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
    parser = argparse.ArgumentParser(
        prog="drcore",
        description="Grade diabetic retinopathy in fundus photographs. Research use only.",
    )
    parser.add_argument("--version", action="version", version=f"drcore {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    grade = commands.add_parser(
        "grade",
        help="grade images and write a CSV",
        description=_GRADE_HELP,
        epilog=_GRADE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    grade.add_argument("paths", nargs="+", type=_given, metavar="PATH", help="images, see above")
    _add_output(grade)
    _add_identity(grade)
    _add_running(grade)
    grade.set_defaults(run=_grade, parser=grade)

    add_evaluation(commands)
    add_monitoring(commands)

    model = commands.add_parser("model", help="show model version and performance")
    model.add_argument(
        "--weights", type=Path, metavar="FOLDER", default=os.environ.get("DRCORE_WEIGHTS") or None,
        help="of the weights in FOLDER (default: $DRCORE_WEIGHTS, else the bundled ones)",
    )  # fmt: skip
    model.set_defaults(run=_model)
    add_commands(commands)
    add_pacs(commands)

    view = commands.add_parser(
        "view", help="start the viewer in the browser", description=_VIEW_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    view.set_defaults(run=_view)
    return parser


def _add_output(grade: argparse.ArgumentParser) -> None:
    add = grade.add_argument
    add(
        "--csv",
        "--out",
        type=_given,
        metavar="OUT.csv",
        help="output file or s3://, gs:// URL; .parquet for Parquet (required without --list)",
    )
    add(
        "--list",
        action="store_true",
        dest="list_only",
        help="print the images that would be graded, and those left out, without reading them",
    )
    add("--maps", type=_folder, metavar="DIR", help="write heat maps (JPEG + NPZ) to DIR")
    existing = grade.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="continue an existing table")
    existing.add_argument("--overwrite", action="store_true", help="replace an existing table")
    add("--keep-failed", action="store_true", help="with --resume: do not retry failed images")
    add("--keep-missing", action="store_true",
        help="with --resume: keep the rows of images that are no longer in PATH")  # fmt: skip
    add("--spreadsheet", action="store_true",
        help="CSV for Excel and LibreOffice: byte order mark, patient 007 stays 007")  # fmt: skip


def _add_identity(grade: argparse.ArgumentParser) -> None:
    add = grade.add_argument
    add(
        "--name-pattern",
        default="",
        metavar="REGEX",
        help="regular expression with named groups patient, eye, date, searched in the path below "
        "PATH, e.g. '(?P<patient>[^/]+)/(?P<date>[0-9]{8})_(?P<eye>OD|OS)'",
    )
    add("--patient-from", choices=("name", "folder"), default="name",
        help="folder: each folder holds the images of one patient (default: name)")  # fmt: skip


def _add_running(grade: argparse.ArgumentParser) -> None:
    add = grade.add_argument
    add(
        "--workers",
        type=_count,
        default=min(8, os.cpu_count() or 1),
        metavar="N",
        help="reader threads (default: one per core, max 8)",
    )
    add("--engine", choices=("local", "ray"), default="local", help="default: this machine")
    add(
        "--ray-address",
        metavar="ADDRESS",
        help="Ray cluster address (default: $RAY_ADDRESS, else a temporary local cluster)",
    )
    add(
        "--weights",
        type=Path,
        metavar="FOLDER",
        default=os.environ.get("DRCORE_WEIGHTS") or None,
        help="use weights in FOLDER (default: $DRCORE_WEIGHTS, else the bundled ones)",
    )
    add("--device", choices=("cpu", "cuda"), help="default: CUDA where there is one")
    add(
        "--field-degrees",
        type=_degrees,
        default=FIELD_DEGREES,
        metavar="DEGREES",
        help="field of view of images whose DICOM header does not give it (default: 45)",
    )
    told = grade.add_mutually_exclusive_group()
    told.add_argument("--quiet", action="store_true", help="suppress progress bar and summary")
    told.add_argument(
        "--verbose", action="store_true", help="log each image (by hash, without file names)"
    )
    add("--log-json", action="store_true", help="one JSON object a line on stderr")  # fmt: skip


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 256")
    return number


def _degrees(text: str) -> float:
    degrees = degrees_of(text)
    if degrees is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no field of view: give 10 to 220 degrees")
    return degrees


def _given(text: str) -> str:
    if not text.strip():  # Python would take it for the folder that the shell is in
        raise argparse.ArgumentTypeError("empty argument (unset shell variable?)")
    return text


def _folder(text: str) -> Path:
    if "://" in text:
        raise argparse.ArgumentTypeError("maps are written to a local folder")
    return Path(_given(text))


def _grade(arguments: argparse.Namespace) -> int:
    if not arguments.list_only and arguments.csv is None:
        arguments.parser.error("the following arguments are required: --csv/--out")
    from drcore.batch.command import GradeOptions, grade
    from drcore.photographs.identity import NameRules

    given = vars(arguments)
    try:
        rules = NameRules(given.pop("name_pattern"), given.pop("patient_from") == "folder")
    except DrcoreError as error:
        arguments.parser.error(str(error))
    for name in ("run", "parser"):
        given.pop(name)
    given |= {"paths": tuple(arguments.paths), "csv": arguments.csv or ""}
    return grade(GradeOptions(**given, rules=rules))


def _model(options: argparse.Namespace) -> int:
    from drcore.model.bundle import bundled_folder
    from drcore.model.manifest import read_manifest

    if options.weights is not None and not options.weights.is_dir():
        from drcore.grading.installed import installed_models, version_and_certainty

        if str(options.weights) in installed_models():
            print(f"{version_and_certainty(options.weights)[0]}\n\nA model of another package.")
            return 0
    manifest = read_manifest(options.weights or bundled_folder()).model_dump()
    lines = [f"{manifest['name']} {manifest['version']}"]
    for key in ("created", "intended_use", "licence", "thresholds", "certainty", "metrics"):
        lines += _outline(key, manifest[key], "")
    if site := manifest["training"].get("site"):
        lines += _outline("calibrated for a site", site, "")
    print("\n".join(lines))
    return 0


def _view(options: argparse.Namespace) -> int:
    from importlib.util import find_spec

    found = find_spec("viewer")
    if found is None or found.origin is None:
        raise MissingInputError(
            "The viewer is not installed beside drcore. Install the whole package: "
            "python -m pip install drcore"
        )
    # -P: what lies in the current folder is data, not code. The viewer found here is the one run.
    top = str(Path(found.origin).parents[1])
    paths = [top, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-P", "-m", "viewer", *options.rest]
    if os.name == "posix":  # signals reach the viewer, and nothing is left between
        os.execve(sys.executable, command, environment)  # noqa: S606 - our own module
    return subprocess.call(command, env=environment)  # noqa: S603


def _outline(key: str, value: object, indent: str) -> list[str]:
    """Lines of a manifest entry, nested ones indented."""
    label = f"{indent}{key.replace('_', ' ')}:"
    if isinstance(value, dict) and value:
        inner = [_outline(str(k), v, f"{indent}  ") for k, v in value.items()]
        return [label, *(line for lines in inner for line in lines)]
    if isinstance(value, list):
        value = ", ".join(str(part) for part in value)
    return [f"{label} {'not given' if value in ('', None, {}) else value}"]
