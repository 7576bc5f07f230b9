"""Many photographs: finding them, grading them as a stream, and the CSV that holds their rows."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import re
import stat
import threading
import unicodedata
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from PIL import Image

from drcore.errors import DrcoreError, PhotographError, SourceError
from drcore.overlay import overlay
from drcore.photograph import EXTENSIONS, clean_name, read_photograph

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from drcore.grader import Grader, GradeReport, Prepared

__all__ = [
    "BATCH",
    "COLUMNS",
    "CsvFile",
    "Found",
    "Row",
    "csv_safe",
    "csv_text",
    "find_photographs",
    "grade_batch",
    "inside_root",
    "map_files",
    "row_of",
    "save_map",
]

Row = dict[str, str]
"""A row of the CSV by column, every value as it is written there."""

COLUMNS = (
    "image", "status", "reason", "gradable", "grade", "score", "referable",
    "score_128", "score_256", "score_512",
    "laterality", "patient",
    "width", "height", "fov_x", "fov_y", "fov_radius", "fov_found", "fov_cut",
    "model_version", "sha256",
    "p0", "p1", "p2", "p3", "p4", "grade_set", "margin",
)  # fmt: skip
"""Columns of the CSV. The order of the first seven is a promise to scripts.

image: path below the folder given, or the file's name; unique in the table.
status: graded, ungradable (read, but not fit for a grade) or failed (not read).
reason: a sentence where there is no grade.
gradable, referable, fov_found: true or false; referable is empty without a grade.
grade: ICDR grade 0-4, empty unless graded.
score, score_128, score_256, score_512: severity in grades, their mean and by input size in pixels;
    also of an ungradable photograph, empty for a failed one.
laterality, patient: OD or OS, and what else the file name says; empty where it does not tell.
width, height: of the original, upright, in pixels.
fov_x, fov_y, fov_radius: circle of the field of view, in pixels of the original.
fov_cut: sides on which it is cut off, parted by blanks.
model_version: name and version of the weights.
sha256: of the file, hex.
p0, p1, p2, p3, p4: probability of each grade; empty without a grade or without calibration.
grade_set: lowest and highest grade that cannot be ruled out, "2-3", or "2" alone; empty likewise.
margin: distance of the score to the nearest threshold, in grades; empty without a grade.
"""

BATCH = 8
"""Photographs that go through the networks together."""

_OVERLAY_ENDING = ".drcore-map.jpg"
_CELLS_ENDING = ".drcore-map.npz"

# --- cells --------------------------------------------------------------------------------------

# What a spreadsheet takes for the start of a formula, with the full-width, small and mathematical
# forms that some of them fold to ASCII first.
_TRIGGERS = "=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"
_FORMULA = re.compile(rf"[\t\r\n]|\s*[{_TRIGGERS}]")
# Where semicolons part the columns (German, French, ... settings), a cell may begin inside ours.
_INNER_FORMULA = re.compile(rf"([;\t\r\n]\s*)(?=[{_TRIGGERS}])")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def csv_safe(text: str) -> str:
    """Make a cell that no spreadsheet reads as a formula and that UTF-8 can hold.

    Args:
        text: any text.

    Returns:
        The text, with an apostrophe before what would start a formula; plain numbers stay as they
        are. Lone surrogates become escapes. Doing it twice changes nothing.
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if _NUMBER.fullmatch(text):
        return text
    text = _INNER_FORMULA.sub(r"\1'", text)
    return f"'{text}" if _FORMULA.match(text) else text


def csv_text(rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> str:
    r"""Write rows as CSV.

    Args:
        rows: values by column; a missing one becomes an empty cell.
        columns: which, in order.

    Returns:
        Header and rows, comma separated, lines ending in "\n", cells made safe.
    """
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(columns)
    for row in rows:
        # A lone carriage return is a line break to some readers, and is not quoted.
        cells = (csv_safe(row.get(column, "")) for column in columns)
        table.writerow([cell.replace("\r\n", "\n").replace("\r", "\n") for cell in cells])
    return file.getvalue()


def row_of(report: GradeReport, image: str | None = None) -> Row:
    """Turn a report into a row.

    Args:
        report: of one photograph.
        image: what the table calls it; the report's display name where left out.

    Returns:
        All of `COLUMNS`. Grade and referable are empty unless graded.
    """
    fov = report.field_of_view
    failed = report.status == "failed"
    cells = {
        "image": report.name if image is None else image,
        "status": report.status,
        "reason": " ".join(report.reason.split()),
        "gradable": _flag(report.gradable),
        "grade": "" if report.grade is None else str(report.grade),
        "score": _decimal(report.score),
        "referable": "" if report.referable is None else _flag(report.referable),
        **{f"score_{size}": _decimal(report.scores.get(size)) for size in (128, 256, 512)},
        "laterality": report.laterality or "",
        "patient": report.patient or "",
        "width": "" if failed else str(report.width),
        "height": "" if failed else str(report.height),
        "fov_x": "" if fov is None else f"{fov.x:.1f}",
        "fov_y": "" if fov is None else f"{fov.y:.1f}",
        "fov_radius": "" if fov is None else f"{fov.radius:.1f}",
        "fov_found": "" if fov is None else _flag(fov.found),
        "fov_cut": "" if fov is None else " ".join(fov.cut),
        "model_version": report.model_version,
        "sha256": report.sha256,
        **{f"p{grade}": _decimal(p) for grade, p in enumerate(report.probabilities or (None,) * 5)},
        "grade_set": _span(report.grade_set),
        "margin": _decimal(report.margin),
    }
    return {column: _cell(cells[column]) for column in COLUMNS}


def _flag(value: bool) -> str:  # noqa: FBT001 - the value itself, not a mode
    return "true" if value else "false"


def _decimal(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{round(value, 4) + 0.0:.4f}"  # never "-0.0000"


def _span(grades: tuple[int, ...] | None) -> str:
    if not grades:
        return ""
    return str(grades[0]) if len(grades) == 1 else f"{grades[0]}-{grades[-1]}"


def _cell(text: str) -> str:
    """One printable line that is safe in a spreadsheet; done twice, it changes nothing."""
    return csv_safe(_printable(text))


def _printable(text: str) -> str:
    """Escape control, formatting and undecodable characters, so that a name stays one line."""
    return "".join(
        c.encode("unicode_escape").decode("ascii")
        if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
        else c
        for c in text
    )


# --- finding photographs ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """A photograph to grade.

    Attributes:
        path: where it lies.
        image: what the table calls it: one printable line, unique among those found together.
        problem: a sentence where it is known beforehand that it cannot be read.
    """

    path: Path
    image: str
    problem: str = ""


def find_photographs(inputs: Sequence[Path]) -> list[Found]:
    """Find photographs in files and folders.

    Folders are walked recursively. Hidden files and folders are skipped, so are the overlays that
    `save_map` writes, links to folders, and links to files outside the folder given.

    Args:
        inputs: folders, and files of any kind: what was named is kept, picture or not.

    Returns:
        Each file once; folders and files in the order given, a folder's files sorted by path. A
        sub-folder that cannot be opened is kept too, with its problem. Names that two inputs
        share are told apart by the path that was given.
    """
    entries: list[tuple[Path, tuple[str, str, str], str]] = []
    seen: set[str] = set()
    for given in inputs:
        folder = _is_folder(given)
        for path, name, problem in _walk(given) if folder else [(given, given.name, "")]:
            absolute = os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links
            if absolute in seen:
                continue
            seen.add(absolute)
            longer = f"{given.as_posix()}/{name}" if folder else given.as_posix()
            entries.append((path, (name, longer, absolute), problem))
    names = _told_apart([names for _, names, _ in entries])
    return [
        Found(path, image, problem)
        for (path, _, problem), image in zip(entries, names, strict=True)
    ]


def inside_root(root: Path, wanted: str) -> Path:
    """Resolve a folder that a user typed, below a root that must not be left.

    Args:
        root: the configured folder.
        wanted: path below it; empty for the root itself.

    Returns:
        The folder, absolute, links resolved.

    Raises:
        SourceError: the root or the folder is missing, or the path leads out: absolute, with
            "..", or through a link.
    """
    label = _printable(wanted)
    outside = SourceError(
        f"{label}: this is not a folder below the photograph folder. "
        "Give a path inside it, without '..' and without a leading slash."
    )
    parts = re.split(r"[\\/]", wanted)
    if wanted.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", wanted):
        raise outside
    try:
        base = root.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise SourceError(
            "The photograph folder of this server cannot be opened. Correct its setting."
        ) from error
    try:
        folder = (base / wanted).resolve()
        if not folder.is_relative_to(base):
            raise outside
        exists = folder.is_dir()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, a circle of links
        raise outside from error
    if not exists:
        raise SourceError(f"{label}: there is no such folder. Check its spelling.")
    return folder


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False  # reading it as a file will tell what is wrong


def _walk(folder: Path) -> list[tuple[Path, str, str]]:
    """Path, path below the folder, and problem of each photograph in it."""
    result: list[tuple[Path, str, str]] = []
    root = folder.resolve()

    def refused(error: OSError) -> None:
        path = Path(error.filename or folder)
        name = root.name if path == folder else path.relative_to(folder).as_posix()
        why = error.strerror or "unknown error"
        result.append((path, name, f"{clean_name(name)}: this folder cannot be opened ({why})."))

    for parent, folders, files in os.walk(folder, onerror=refused):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(parent, name)
            if name.startswith(".") or path.suffix.lower() not in EXTENSIONS:
                continue
            if name.endswith(_OVERLAY_ENDING) or not _stays_inside(path, root):
                continue
            result.append((path, path.relative_to(folder).as_posix(), ""))
    return sorted(result, key=lambda entry: entry[1].split("/"))


def _stays_inside(path: Path, root: Path) -> bool:
    if not path.is_symlink():
        return True
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a circle of links
        return False


def _told_apart(candidates: list[tuple[str, str, str]]) -> list[str]:
    """Take the first of each entry's names that no other entry has."""
    cells = [tuple(_printable(name) for name in names) for names in candidates]
    images = [names[0] for names in cells]
    for level in (1, 2):
        counts = Counter(csv_safe(image) for image in images)
        images = [
            names[level] if counts[csv_safe(image)] > 1 else image
            for image, names in zip(images, cells, strict=True)
        ]
    taken: set[str] = set()
    for index, image in enumerate(images):  # two odd names may still share their escaped form
        unique, number = image, 1
        while csv_safe(unique) in taken:
            number += 1
            unique = f"{image} ({number})"
        taken.add(csv_safe(unique))
        images[index] = unique
    return images


# --- grading as a stream ------------------------------------------------------------------------


def grade_batch(
    grader: Grader,
    found: Sequence[Found],
    *,
    workers: int = 1,
    batch: int = BATCH,
    stop: threading.Event | None = None,
) -> Generator[tuple[Row, GradeReport]]:
    """Grade photographs as a stream: threads read and prepare ahead while the networks run.

    Memory stays flat: at most `2 * batch + workers` photographs are held, without their pixels.
    The networks always see the same photographs together, those with the same `index // batch`.

    Args:
        grader: shared freely with other threads.
        found: what to grade.
        workers: threads that read, at least 1.
        batch: photographs that go through the networks together, at least 1.
        stop: once set, the stream ends early, after what is in the networks.

    Yields:
        Row and report of each photograph, in order; a bad one has the status "failed".

    Raises:
        DrcoreError: the networks themselves cannot run (out of memory, a lost device).
    """
    stop = stop or threading.Event()
    workers, batch = max(1, workers), max(1, batch)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="drcore-read")
    waiting: deque[tuple[Found, Future[Prepared | GradeReport]]] = deque()
    remaining = iter(found)

    def read_ahead() -> None:
        while len(waiting) < batch + workers and (item := next(remaining, None)) is not None:
            waiting.append((item, pool.submit(_attempt, grader, item)))

    try:
        read_ahead()
        while waiting:
            group = [waiting.popleft() for _ in range(min(batch, len(waiting)))]
            read_ahead()  # the readers stay busy while the networks run
            if not _all_done([future for _, future in group], stop):
                return
            try:
                reports = grader.finish([future.result() for _, future in group])
            except RuntimeError as error:
                raise DrcoreError(
                    f"The networks cannot run ({' '.join(str(error).split())[:200]}). "
                    "Try the CPU, or close other programs."
                ) from error
            for (item, _), report in zip(group, reports, strict=True):
                yield row_of(report, item.image), report
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _attempt(grader: Grader, item: Found) -> Prepared | GradeReport:
    if item.problem:
        return grader.failed(item.image, item.problem)
    return grader.attempt(item.path)


def _all_done(futures: Sequence[Future[Prepared | GradeReport]], stop: threading.Event) -> bool:
    """Wait for the readers; False as soon as the stream is to stop."""
    while not stop.is_set():
        if not wait(futures, timeout=0.1).not_done:
            return True
    return False


# --- maps ---------------------------------------------------------------------------------------


def map_files(folder: Path, image: str) -> tuple[Path, Path]:
    """Return where the map of a photograph goes.

    Args:
        folder: of all maps.
        image: the photograph's name in the table; unique there, untrusted.

    Returns:
        Overlay (JPEG) and cells (npz), directly in the folder: the readable part of the name, then
        a hash of all of it, so that no two share a file.
    """
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", re.sub(r"\.[A-Za-z0-9]{1,5}$", "", image))
    digest = hashlib.sha256(image.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    stem = f"{readable.strip('_-')[-80:] or 'photograph'}-{digest}"
    return folder / f"{stem}{_OVERLAY_ENDING}", folder / f"{stem}{_CELLS_ENDING}"


def save_map(report: GradeReport, found: Found, folder: Path) -> None:
    """Write the fused map of a photograph: as an overlay to look at, and as numbers.

    The npz holds `ram`, float32 (m, m), grades above a healthy retina, NaN where there is no
    retina; `x0`, `y0`, `step`, centre of its first cell and distance of the cells in pixels of
    the original; `width`, `height`, size of the original; `score`. No pickle.

    Args:
        report: graded or ungradable.
        found: the photograph; it is read again for its pixels.
        folder: exists; files of the same name are replaced.

    Raises:
        PhotographError: the photograph vanished or changed since it was graded.
        SourceError: the folder cannot be written.
    """
    photograph = read_photograph(found.path, for_grading=True)
    if photograph.sha256 != report.sha256:
        raise PhotographError(f"{photograph.name}: the file changed while it was graded.")
    overlay_file, cells_file = map_files(folder, found.image)
    picture = overlay(photograph.rgb, report.ram())
    jpeg = io.BytesIO()
    Image.fromarray(picture).save(jpeg, "JPEG", quality=90)
    cells = report.cells()
    numbers = io.BytesIO()
    np.savez_compressed(
        numbers, ram=cells.values, x0=cells.x0, y0=cells.y0, step=cells.step,
        width=report.width, height=report.height, score=report.score,
    )  # fmt: skip
    _replace_file(cells_file, numbers.getvalue())
    _replace_file(overlay_file, jpeg.getvalue())


def _replace_file(file: Path, data: bytes) -> None:
    """Write all of a file or nothing of it."""
    part = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        part.write_bytes(data)
        part.replace(file)
    except OSError as error:
        _quietly(lambda: part.unlink(missing_ok=True))
        raise SourceError(
            f"{file.name}: the map cannot be written ({error.strerror or error}). "
            "Check the folder and the free space, then go on with --resume."
        ) from error


# --- the CSV file -------------------------------------------------------------------------------


class CsvFile:
    """A CSV that grows by whole lines and can be continued after any interruption.

    What is in the file stays untouched before `start`. Each row is one line and one write; a line
    that a killed process left unfinished is dropped when the file is continued.

    Args:
        path: the file.
        resume: continue a file that has rows.
        overwrite: replace a file that has rows.

    Attributes:
        model_versions: that the rows in the file name.

    Raises:
        SourceError: the file cannot be written, has rows and neither was asked for, is in use by
            another run, or is not a table of drcore.
    """

    def __init__(self, path: Path, *, resume: bool = False, overwrite: bool = False) -> None:
        self.model_versions: set[str] = set()
        self._statuses: dict[str, str] = {}  # by image, of the rows in the file
        self._label = clean_name(path.name)
        self._started = False
        self._size = 0  # bytes of whole lines
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            self._file = os.open(path, flags, 0o666)
        except (OSError, ValueError) as error:
            raise self._unwritable(error) from error
        try:
            self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)
            self._lock()
            if resume:
                self._read_back(path)
            elif not overwrite:
                self._refuse_content()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def status(self, image: str) -> str | None:
        """Return what the row of a photograph says.

        Args:
            image: the photograph's name in the table.

        Returns:
            Its status, None where it has no row.
        """
        return self._statuses.get(_cell(image))

    def start(self) -> None:
        """Write the header, or drop the unfinished last line of the file that is continued.

        Raises:
            SourceError: the file cannot be written.
        """
        if self._started:
            return
        self._started = True
        if self._regular:
            try:
                os.ftruncate(self._file, self._size)
            except OSError as error:
                raise self._unwritable(error) from error
        if self._size == 0:
            self._write(_line(COLUMNS))

    def append(self, row: Row) -> None:
        """Add a row.

        Args:
            row: all of `COLUMNS`.

        Raises:
            SourceError: the file cannot be written; it still holds whole lines only.
        """
        self.start()
        cells = {column: _cell(row[column]) for column in COLUMNS}
        self._write(_line(cells.values()))
        self._statuses[cells["image"]] = cells["status"]
        self.model_versions.add(cells["model_version"])

    def close(self) -> None:
        """Close the file, safe on disk.

        Raises:
            SourceError: the last rows did not fit on the disk.
        """
        if self._file < 0:
            return
        try:
            if self._regular:
                os.fsync(self._file)
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            file, self._file = self._file, -1
            os.close(file)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            _quietly(lambda: os.ftruncate(self._file, self._size))  # no half line stays behind
            raise self._unwritable(error) from error
        self._size += len(data)

    def _unwritable(self, error: Exception) -> SourceError:
        why = getattr(error, "strerror", None) or str(error)
        return SourceError(
            f"{self._label}: the CSV cannot be written ({why}). Check the folder and the free "
            "space; rows that are in it already are kept, go on with --resume."
        )

    def _lock(self) -> None:
        """Keep a second run off the file; where there are no locks, trust the user."""
        try:
            import fcntl
        except ImportError:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SourceError(
                f"{self._label} is being written by another run. Wait for it to end."
            ) from error
        except OSError:
            return

    def _refuse_content(self) -> None:
        header = _line(COLUMNS)
        # A header alone is what a run leaves that never got to its first row: nothing to lose.
        if self._regular and not header.startswith(os.read(self._file, len(header) + 1)):
            raise SourceError(
                f"{self._label} exists. Continue it with --resume, replace it with --overwrite, "
                "or give another name."
            )

    def _read_back(self, path: Path) -> None:
        header = _line(COLUMNS)
        if not self._regular:
            return
        try:
            with path.open("rb") as file:
                first = file.readline()
                if header.startswith(first):  # empty, or killed while writing the header
                    self._size = len(first) if first == header else 0
                elif first.rstrip(b"\r\n") == header.rstrip(b"\n"):  # saved by a spreadsheet
                    self._size = len(first)
                else:
                    raise SourceError(
                        f"{self._label} is not a table of this version of drcore, so it cannot be "
                        "continued. Give another name."
                    )
                for number, line in enumerate(file, start=2):
                    if line.endswith(b"\n"):  # else cut off
                        self._note_row(line, number)
                        self._size += len(line)
        except OSError as error:
            raise self._unwritable(error) from error

    def _note_row(self, line: bytes, number: int) -> None:
        try:
            cells = next(csv.reader([line.decode("utf-8").rstrip("\r\n")], strict=True), [])
        except (UnicodeDecodeError, csv.Error):
            cells = []
        if len(cells) != len(COLUMNS):
            raise SourceError(
                f"{self._label}: line {number} is not a row of drcore. Repair or delete it, or "
                "give another name."
            )
        row = dict(zip(COLUMNS, cells, strict=True))
        self._statuses[row["image"]] = row["status"]
        self.model_versions.add(row["model_version"])


def _line(cells: Iterable[str]) -> bytes:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow(cells)
    return file.getvalue().encode("utf-8")


def _quietly(action: Callable[[], object]) -> None:
    """Clean up as far as it goes: an error is being reported already."""
    try:
        action()
    except OSError:
        return
