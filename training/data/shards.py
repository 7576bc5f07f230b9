"""Prepared photographs in files small enough to be carried to a machine with a GPU."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from drcore.files import replacing
from training.data.labels import Labelled, LabelsError

__all__ = ["QUALITY", "Packed", "pack", "unpack"]

SHARD_BYTES = 60 * 2**20
"""Largest size of a shard."""

QUALITY = 92
"""Of WebP, 1-100."""

_TABLE = "photographs.csv"
_COLUMNS = ("image", "grade", "dataset", "split", "patient", "known", "width")
_ROOM = 2 * 2**20  # for the table and the directory of a shard
_PLANES = ("mask", "flags")


@dataclass(frozen=True, slots=True)
class Packed:
    """Prepared photographs and what belongs to them, N of them.

    Attributes:
        rows: the labelled photographs; of the paths, the names alone mean something.
        pixels: uint8 (N, S, S, 3), RGB.
        mask: uint8 (N, s, s), 255 on the retina, or None.
        flags: uint8 (N, S, S), bits of lesion types, or None.
        known: bool (N, 4), which lesion types were looked for, or None.
        widths: int64 (N,), diameter of the field of view in the photograph's pixels, or None.
    """

    rows: list[Labelled]
    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None = None
    flags: NDArray[np.uint8] | None = None
    known: NDArray[np.bool_] | None = None
    widths: NDArray[np.int64] | None = None


def pack(
    packed: Packed, out: Path, name: str, *, quality: int = QUALITY, limit: int = SHARD_BYTES
) -> list[Path]:
    """Write photographs as shards: zip files of WebP pictures, PNG masks and a table.

    Args:
        packed: may be memory-mapped.
        out: folder; shards of the same name are replaced.
        name: of the shards, before their number.
        quality: of WebP, 1-100.
        limit: largest size of a shard in bytes.

    Returns:
        The files, in order.
    """
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob(f"{name}-[0-9]*.zip"):
        old.unlink()
    files: list[Path] = []
    group: list[tuple[list[str], dict[str, bytes]]] = []
    size = 0
    for line, entries in _encoded(packed, quality):
        bytes_here = sum(len(content) + 200 for content in entries.values())
        if group and size + bytes_here > limit - _ROOM:
            files.append(_write(out / f"{name}-{len(files):03d}.zip", group))
            group, size = [], 0
        group.append((line, entries))
        size += bytes_here
    if group:
        files.append(_write(out / f"{name}-{len(files):03d}.zip", group))
    return files


def unpack(folder: Path, name: str, *, workers: int = 8) -> Packed:
    """Decode the shards of a name into memory.

    Args:
        folder: that holds them.
        name: of the shards, before their number.
        workers: threads that decode.

    Returns:
        The photographs, in the order in which they were packed.

    Raises:
        LabelsError: there are no shards, or one is damaged.
    """
    files = sorted(folder.glob(f"{name}-[0-9]*.zip"))
    if not files:
        raise LabelsError(
            f"{folder.name} holds no shards {name!r}: write some with python -m training.pack."
        )
    lines: list[dict[str, str]] = []
    contents: list[dict[str, bytes]] = []
    for file in files:
        try:
            with zipfile.ZipFile(file) as opened:
                table = io.StringIO(opened.read(_TABLE).decode("utf-8"))
                names = set(opened.namelist())
                for line in csv.DictReader(table):
                    wanted = {"pixels": f"{line['image']}.webp"}
                    wanted |= {plane: f"{line['image']}.{plane}.png" for plane in _PLANES}
                    contents.append(
                        {key: opened.read(entry) for key, entry in wanted.items() if entry in names}
                    )
                    lines.append(line)
        except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile) as error:
            raise LabelsError(f"{file.name} is damaged ({error}); pack it again.") from error
    rows = [
        Labelled(Path(r["image"]), int(r["grade"]), r["dataset"], r["split"], r["patient"])
        for r in lines
    ]
    pixels = _all_decoded([content["pixels"] for content in contents], workers)[..., ::-1]
    planes = {
        plane: _all_decoded([content[plane] for content in contents], workers)
        for plane in _PLANES
        if all(plane in content for content in contents)
    }
    known = None
    if all(line["known"] for line in lines):
        known = np.array([[flag == "1" for flag in line["known"]] for line in lines])
    widths = None
    if all(line.get("width") for line in lines):
        widths = np.array([int(line["width"]) for line in lines], np.int64)
    return Packed(rows, pixels, planes.get("mask"), planes.get("flags"), known, widths)


def _encoded(packed: Packed, quality: int) -> Iterator[tuple[list[str], dict[str, bytes]]]:
    """Each photograph's line of the table and its files."""
    for i, row in enumerate(packed.rows):
        name = row.path.name
        picture = np.ascontiguousarray(packed.pixels[i][..., ::-1])
        _, webp = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, quality])
        entries = {f"{name}.webp": webp.tobytes()}
        for plane in _PLANES:
            values = getattr(packed, plane)
            if values is not None:
                entries[f"{name}.{plane}.png"] = cv2.imencode(".png", values[i])[1].tobytes()
        known = "" if packed.known is None else "".join(str(int(flag)) for flag in packed.known[i])
        width = "" if packed.widths is None else str(packed.widths[i])
        yield [name, str(row.grade), row.dataset, row.split, row.patient, known, width], entries


def _write(file: Path, group: Sequence[tuple[list[str], dict[str, bytes]]]) -> Path:
    # Stored: pictures cannot be compressed further.
    with replacing(file) as part, zipfile.ZipFile(part, "w") as shard:
        table = io.StringIO(newline="")
        writer = csv.writer(table)
        writer.writerow(_COLUMNS)
        for line, entries in group:
            writer.writerow(line)
            for name, content in entries.items():
                shard.writestr(name, content)
        shard.writestr(_TABLE, table.getvalue())
    return file


def _all_decoded(contents: Sequence[bytes], workers: int) -> NDArray[np.uint8]:
    """Decode pictures of one size into one array."""
    first = _decoded(contents[0])
    result = np.empty((len(contents), *first.shape), np.uint8)

    def put(index: int) -> None:
        result[index] = _decoded(contents[index])

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(put, range(len(contents))))
    return result


def _decoded(content: bytes) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise LabelsError("A picture in a shard is damaged; pack it again.")
    return np.asarray(picture, np.uint8)
