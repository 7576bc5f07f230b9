"""Random damage to real photographs: how much of what changes a score is refused."""

from __future__ import annotations

import argparse
import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drcore.errors import PhotographError
from drcore.grading.grader import Grader
from drcore.photographs.formats import EXTENSIONS
from drcore.photographs.photograph import MAX_PIXELS
from drcore.photographs.reader import read_photograph
from tests.benchmarks.photographs import photographs_in

__all__ = ["CODECS", "DAMAGES", "Case", "cases"]

RGB = NDArray[np.uint8]
CHANGED = 0.2
"""Difference of scores, in grades, from which on a damage does harm."""


VERDICTS = ("by stream", "by pixels", "unfit", "graded")
"""Refused because the stream does not add up, or silent damage by a look at the pixels; read but
not fit for a grade; graded."""


@dataclass(frozen=True, slots=True)
class Case:
    """A photograph as it was encoded, and as it was damaged."""

    photograph: str
    codec: str
    damage: str
    side: int
    whole: bytes
    damaged: bytes


# --- codecs -------------------------------------------------------------------------------------


def _pillow(rgb: RGB, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, kind, **options)
    return file.getvalue()


def _jpeg(rgb: RGB, rng: np.random.Generator, **options: Any) -> bytes:
    return _pillow(
        rgb, "JPEG", quality=int(rng.integers(60, 96)), subsampling=int(rng.choice([0, 1, 2, 2])),
        **options,
    )  # fmt: skip


def _dicom(rgb: RGB, pixels: bytes, syntax: str, photometric: str) -> bytes:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate

    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.77.1.5.1", "1.2.3.4"
    made.Rows, made.Columns, made.SamplesPerPixel, made.PlanarConfiguration = *rgb.shape[:2], 3, 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.PhotometricInterpretation = photometric
    made.PixelData = pixels if syntax.endswith("1.2.1") else encapsulate([pixels])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = not syntax.endswith("1.2.1")
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


CODECS: dict[str, tuple[float, int, Callable[[RGB, np.random.Generator], bytes]]] = {
    "jpeg baseline": (6, 4288, _jpeg),
    "jpeg optimised": (2, 4288, lambda a, rng: _jpeg(a, rng, optimize=True)),
    "jpeg restart": (2, 4288, lambda a, rng: _jpeg(
        a, rng, restart_marker_rows=int(rng.integers(1, 4)))),
    "jpeg progressive": (3, 4288, lambda a, rng: _jpeg(a, rng, progressive=True)),
    "dicom jpeg": (2, 4288, lambda a, rng: _dicom(
        a, _jpeg(a, rng), "1.2.840.10008.1.2.4.50", "YBR_FULL_422")),
    "tiff jpeg": (1, 2000, lambda a, rng: _pillow(
        a, "TIFF", compression="jpeg", quality=int(rng.integers(75, 96)))),
    "png": (1, 1400, lambda a, _: _pillow(a, "PNG", compress_level=1)),
    "tiff raw": (1, 2000, lambda a, _: _pillow(a, "TIFF")),
    "tiff lzw": (1, 1400, lambda a, _: _pillow(a, "TIFF", compression="tiff_lzw")),
    "tiff deflate": (0.5, 1400, lambda a, _: _pillow(a, "TIFF", compression="tiff_adobe_deflate")),
    "webp": (2, 1400, lambda a, rng: _pillow(a, "WEBP", quality=int(rng.integers(60, 96)))),
    "webp lossless": (0.5, 1000, lambda a, _: _pillow(a, "WEBP", lossless=True, method=1)),
    "bmp": (0.5, 2000, lambda a, _: _pillow(a, "BMP")),
    "dicom native": (0.5, 2000, lambda a, _: _dicom(
        a, a.tobytes() + b"\0" * (a.size % 2), "1.2.840.10008.1.2.1", "RGB")),
    "dicom jpeg 2000": (0.5, 1400, lambda a, _: _dicom(
        a, _pillow(a, "JPEG2000", no_jp2=True, mct=1, irreversible=True, quality_mode="rates",
                   quality_layers=[12]), "1.2.840.10008.1.2.4.91", "YBR_ICT")),
    "jpeg 2000": (0.5, 1400, lambda a, rng: _pillow(
        a, "JPEG2000", mct=1, irreversible=bool(rng.integers(2)), quality_mode="rates",
        quality_layers=[int(rng.choice([6, 12, 24]))])),
}  # fmt: skip
"""By name: how often it is drawn, longest side in pixels, and the encoder."""


# --- damage -------------------------------------------------------------------------------------


def _overwrite(data: bytearray, rng: np.random.Generator) -> None:
    place = int(rng.integers(0, len(data) - 8))
    data[place : place + 8] = rng.bytes(8)


def _scatter(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(0, len(data), 8):
        data[place] = int(rng.integers(256))


def _flip(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(0, len(data), int(rng.integers(1, 9))):
        data[place] ^= 1 << int(rng.integers(8))


def _zero(data: bytearray, rng: np.random.Generator, sector: int) -> None:
    start = int(rng.integers(0, -(-len(data) // sector))) * sector
    end = min(len(data), start + sector)
    data[start:end] = bytes(end - start)


def _truncate(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(len(data) // 20, len(data) - 1)) :]


def _lose(data: bytearray, rng: np.random.Generator) -> None:
    place = int(rng.integers(0, len(data)))
    del data[place : place + int(rng.choice([512, 1460, 4096]))]


def _repeat(data: bytearray, rng: np.random.Generator) -> None:
    place = int(rng.integers(0, len(data)))
    data[place:place] = data[place : place + int(rng.choice([512, 1460, 4096]))]


DAMAGES: dict[str, Callable[[bytearray, np.random.Generator], None]] = {
    "8 bytes in a row": _overwrite,
    "8 bytes apart": _scatter,
    "1 to 8 bits": _flip,
    "512 bytes zero": lambda data, rng: _zero(data, rng, 512),
    "4 KiB zero": lambda data, rng: _zero(data, rng, 4096),
    "cut short": _truncate,
    "a piece lost": _lose,
    "a piece twice": _repeat,
}


def cases(files: list[Path], count: int, seed: int = 0, codec: str = "") -> Iterator[Case]:
    """Encode and damage photographs.

    Args:
        files: photographs to draw from.
        count: of cases.
        seed: the same seed gives the same cases.
        codec: one of `CODECS`; all of them where empty.

    Yields:
        Cases; each is drawn by itself, so that a longer run begins with those of a shorter one.
    """
    share = np.array([often for often, _, _ in CODECS.values()])
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        file = files[int(rng.integers(len(files)))]
        chosen = codec or str(rng.choice(list(CODECS), p=share / share.sum()))
        _, longest, encode = CODECS[chosen]
        rgb = read_photograph(file).rgb
        top = min(longest, max(rgb.shape[:2]))
        side = int(np.exp(rng.uniform(np.log(min(400, top)), np.log(top))))
        if rng.random() < 0.25:
            side = top
        scale = side / max(rgb.shape[:2])
        size = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
        small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        whole = encode(small, rng)
        damage = list(DAMAGES)[int(rng.integers(len(DAMAGES)))]
        data = bytearray(whole)
        DAMAGES[damage](data, rng)
        yield Case(file.name, chosen, damage, side, whole, bytes(data))


# --- measuring ----------------------------------------------------------------------------------


def decoded_leniently(data: bytes, codec: str) -> RGB:
    """Decode as a program does that takes no notice of warnings.

    Args:
        data: encoded photograph.
        codec: one of `CODECS`.

    Returns:
        uint8 (h, w, 3).

    Raises:
        Exception: whatever the decoder raises that cannot go on.
    """
    if codec.startswith("tiff"):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise ValueError("the decoder refused it")
        return np.asarray(pixels[..., ::-1], np.uint8)
    if codec.startswith("dicom"):
        from pydicom import dcmread
        from pydicom.encaps import generate_frames

        found = dcmread(io.BytesIO(data), force=True)
        if codec == "dicom native":
            return np.frombuffer(found.PixelData, np.uint8)[
                : found.Rows * found.Columns * 3
            ].reshape(found.Rows, found.Columns, 3)
        data = next(generate_frames(found.PixelData, number_of_frames=1))
    with Image.open(io.BytesIO(data)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError("too large")
        return np.asarray(image.convert("RGB"), np.uint8)


def outcome(case: Case, grader: Grader) -> tuple[str, float]:
    """Say what became of a damaged photograph.

    Args:
        case: to be read.
        grader: whose scores are compared.

    Returns:
        One of `VERDICTS`, and the difference of the
        scores with and without the damage; NaN where no decoder gives pixels.
    """
    try:
        read_photograph(case.damaged, for_grading=True)
        verdict = "graded"
    except PhotographError as error:
        verdict = "by pixels" if "of the height on" in str(error) else "by stream"
    try:
        found = decoded_leniently(case.damaged, case.codec)
        whole = decoded_leniently(case.whole, case.codec)
        if found.shape == whole.shape and np.array_equal(found, whole):
            return verdict, 0.0
        before, after = (grader.grade(_smaller(rgb)) for rgb in (whole, found))
    except Exception:  # noqa: BLE001 - damaged bytes: decoders raise whatever they like
        return verdict, float("nan")
    if verdict == "graded" and not after.gradable:
        verdict = "unfit"
    return verdict, abs(after.score - before.score)


def _smaller(rgb: RGB) -> RGB:
    """At most the size at which large photographs are decoded for grading."""
    step = max(1, min(rgb.shape[:2]) // 640)
    return np.ascontiguousarray(
        cv2.resize(rgb, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
        if step > 1 else rgb
    )  # fmt: skip


def undamaged(folders: list[Path]) -> tuple[int, list[str]]:
    """Read all photographs of folders.

    Args:
        folders: searched with their sub-folders.

    Returns:
        How many there are, and what was said of those that were refused.
    """
    files = [f for folder in folders for f in folder.rglob("*") if f.suffix.lower() in EXTENSIONS]
    refused = []
    for file in files:
        try:
            read_photograph(file, for_grading=True)
        except PhotographError as error:
            refused.append(f"{file.name}: {error}")
    return len(files), refused


def main() -> None:
    """Print how much damage is refused, by codec and by damage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="+", help="photographs to damage")
    parser.add_argument("--count", type=int, default=1000, help="random damages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--codec", choices=list(CODECS), default="")
    parser.add_argument("--undamaged", type=Path, nargs="*", default=[], help="folders: none of "
                        "their photographs may be refused")  # fmt: skip
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    files = [f for folder in args.folder for f in photographs_in(folder)]
    grader, start = Grader.bundled("cpu"), time.monotonic()
    table: dict[str, Counter[str]] = {}
    for case in cases(files, args.count, args.seed, args.codec):
        verdict, change = outcome(case, grader)
        size = "no pixels" if np.isnan(change) else "changed" if change > CHANGED else "little"
        for row in ("all", case.codec, case.damage):
            table.setdefault(row, Counter())[f"{size} {verdict}"] += 1
    count, refused = undamaged(args.undamaged)
    result = {
        "cases": args.count, "seconds": round(time.monotonic() - start),
        "undamaged": count, "undamaged refused": refused,
        "rows": {name: dict(row) for name, row in table.items()},
    }  # fmt: skip
    if args.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{args.count} damages; of {count} undamaged photographs {len(refused)} refused")
    print("\n".join(refused))
    print("of those whose score changes by more than", CHANGED)
    print(f"{'':20}" + "".join(f"{name:>11}" for name in ("all", *VERDICTS)))
    for name, row in table.items():
        kinds = [row[f"changed {verdict}"] for verdict in VERDICTS]
        print(f"{name:20}" + "".join(f"{number:11}" for number in (sum(kinds), *kinds)))


if __name__ == "__main__":
    main()
