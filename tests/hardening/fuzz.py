"""Bad input by the thousand: `python -m tests.hardening.fuzz --cases 5000`.

Every case is made from the seed and its number, so that one that failed can be run again alone
(`--only NUMBER`). Cases run in processes of their own, under a limit of memory and of time; one
that dies is a finding like one that raises what is not an error of drcore.

With `--guided FOLDER` the cases are led by coverage: what reaches a line of drcore or of the
readers in Python that nothing reached before is kept and damaged further. An input that fails stays
in FOLDER.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import queue
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Finding", "fuzz", "main"]

SECONDS = 10.0
"""Processor time that a case may take."""

PATIENCE = 120.0
"""Time on the clock after which a case hangs, however busy the machine is."""

START = 280.0
"""Time on the clock that a process may take to start."""

MEMORY = 1600 << 20
"""Bytes that a case may take above what the process had before: 150 megapixels, and copies."""

REPOSITORY = Path(__file__).resolve().parents[2]
RNG = np.random.Generator


@dataclass(frozen=True, slots=True)
class Finding:
    """A case that did what must not happen."""

    number: int
    what: str


# --- cases --------------------------------------------------------------------------------------


class Workshop:
    """What the cases share: a grader with a tiny network, its files, and a folder to write in."""

    def __init__(self, folder: Path) -> None:
        import torch

        from drcore.grading.grader import Grader
        from drcore.model.bundle import Bundle, load_bundle, save_bundle
        from drcore.model.calibration import GradeCalibration
        from drcore.model.network import PRESETS, RamNetwork
        from drcore.preprocessing.network_input import Preprocessing

        torch.set_num_threads(1)
        torch.manual_seed(0)
        network = RamNetwork(PRESETS["tiny-128"]).eval()
        self.folder = folder
        self.bundle = folder / "bundle"
        cuts = (0.5, 1.5, 2.5, 3.5)
        certainty = GradeCalibration(cuts, 0.3, 0.1, 0.9, 0.9, 1.2)
        save_bundle(
            Bundle("tiny", "1", {128: network}, Preprocessing(), cuts, certainty), self.bundle
        )
        self.files = {file.name: file.read_bytes() for file in self.bundle.iterdir()}
        self.grader = Grader(load_bundle(self.bundle))


def case(number: int, seed: int, shop: Workshop) -> str:
    """Run one case; returns what came of it, raises what must not come of it."""
    rng = np.random.default_rng([seed, number])
    kind = rng.choice(len(_CASES), p=[share for share, _ in _CASES])
    return _CASES[kind][1](rng, shop)


def _sentence(error: Exception) -> None:
    told = str(error)
    assert told.endswith("."), told
    assert len(told) < 600, told
    assert "\n" not in told, told


def _grade(data: bytes, shop: Workshop, rng: RNG, name: str = "case.jpg") -> str:
    """Bytes become a row, or one for each of several pictures, or an error of drcore."""
    from drcore.sources.find import find_uploads

    if rng.random() < 0.5:
        return _grade_one(data, shop, rng)
    found = find_uploads([(name, data)])
    assert found.photographs or found.left_out
    outcomes = Counter(left.reason for left in found.left_out)
    if len(found.photographs) > 1:
        outcomes["several"] = 1
    for item in found.photographs[:3]:
        assert not item.problem, item.problem
        source, shown = item.source()
        frame = getattr(source, "number", None)
        outcomes[_grade_one(source, shop, rng)] += 1
        assert shown.isprintable()
        assert (frame is None) == (len(found.photographs) == 1)
    return ", ".join(sorted(outcomes))


def _grade_one(data: Any, shop: Workshop, rng: RNG) -> str:
    """A picture becomes a row or an error of drcore."""
    from drcore.errors import DrcoreError
    from drcore.photographs.dicom_reader import read_frames
    from drcore.photographs.reader import read_photograph
    from drcore.results.columns import COLUMNS, row_of

    try:
        if rng.random() < 0.2:
            photograph = read_photograph(data)
            assert photograph.rgb.shape == (photograph.height, photograph.width, 3)
            assert photograph.rgb.dtype == np.uint8
            return "read"
        if isinstance(data, bytes) and data[128:132] == b"DICM" and rng.random() < 0.5:
            return f"read {bool(read_frames(data))}"
        prepared = shop.grader._prepare(data, "case.jpg")
    except DrcoreError as error:
        _sentence(error)
        return "refused"
    (report,) = shop.grader.finish([prepared])
    row = row_of(report)
    assert tuple(row) == COLUMNS
    assert row["status"] in {"graded", "ungradable"}
    assert all(cell.isprintable() for cell in row.values()), row
    assert np.isfinite(report.score)
    assert (row["status"] == "graded") == (row["grade"] != "") == (row["reason"] == "")
    if report.width * report.height < 4e6:
        cells = report.ram()
        assert cells.shape == (report.height, report.width)
    return row["status"]


def _damaged(rng: RNG, shop: Workshop) -> str:
    from tests.hardening.mutate import damaged
    from tests.hardening.pictures import KINDS, whole

    kind = KINDS[rng.integers(len(KINDS))]
    return f"damaged {kind.split()[0]}: {_grade(damaged(whole(kind), rng), shop, rng)}"


def _oversized(rng: RNG, shop: Workshop) -> str:
    from tests.hardening.mutate import oversized
    from tests.hardening.pictures import KINDS, whole

    kind = KINDS[rng.integers(len(KINDS))]
    return (
        f"declared size, {kind.split()[0]}: {_grade(oversized(kind, whole(kind), rng), shop, rng)}"
    )


def _swapped(rng: RNG, shop: Workshop) -> str:
    """The head of one file on the body of another."""
    from tests.hardening.pictures import KINDS, whole

    head, body = (whole(KINDS[i]) for i in rng.integers(0, len(KINDS), 2))
    cut = int(rng.choice([4, 8, 12, 26, 132, 200, len(head) // 2]))
    return f"wrong header: {_grade(head[:cut] + body[cut:], shop, rng)}"


def _whole(rng: RNG, shop: Workshop) -> str:
    from tests.hardening.pictures import KINDS, SEVERAL, whole

    kind = KINDS[rng.integers(len(KINDS))]
    outcome = _grade(whole(kind), shop, rng)
    if kind in SEVERAL:  # each by itself, or none
        told = ("several" in outcome) + ("refused" in outcome) + (outcome == "read True")
        assert told == 1, (kind, outcome)
    else:
        assert (kind in {"text", "pdf", "svg", "zip"}) == (outcome == "refused"), (kind, outcome)
    return f"whole {kind}: {outcome}"


_ENDS = (1, 2, 31, 32, 33, 64, 511, 512, 641, 1281)


def _odd_shape(rng: RNG, shop: Workshop) -> str:
    """True pictures of odd shapes, up to 30,000 pixels long, and bombs that are small on disk."""
    from PIL import Image

    kind, options = (("JPEG", {}), ("PNG", {"compress_level": 1}), ("BMP", {}), ("WEBP", {}),
                     ("TIFF", {"compression": "tiff_lzw"}))[rng.integers(5)]  # fmt: skip
    short = int(_ENDS[rng.integers(len(_ENDS))])
    long = int(rng.choice([1, 40, 3000, 16_000 if kind == "WEBP" else 30_000]))
    mode = "RGB"
    if kind in {"PNG", "TIFF"} and rng.random() < 0.1:
        short, long = int(rng.choice([5000, 12_000, 30_000])), 30_000
        mode = "1" if rng.random() < 0.7 else "L"
    width, height = (short, long) if rng.random() < 0.5 else (long, short)
    noise = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    image = Image.new(mode, (width, height)) if mode != "RGB" else noise.resize((width, height))
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    del image
    return f"odd shape {kind}: {_grade(buffer.getvalue(), shop, rng)}"


def _pixels(rng: RNG) -> np.ndarray:
    """An array that is anything but a photograph, or a photograph spoilt."""
    from tests.hardening.pictures import picture

    h, w = (int(side) for side in rng.integers(32, 700, 2))
    if rng.random() < 0.2:
        h = 32
    rows, columns = np.mgrid[:h, :w]
    centre, radius = rng.uniform(-0.2, 1.2, 2) * (h, w), rng.uniform(0.01, 1) * max(h, w)
    disc = (np.hypot(rows - centre[0], columns - centre[1]) < radius)[..., None]
    top, left = (int(v) for v in rng.integers(0, 220, 2))
    made: tuple[Callable[[], np.ndarray], ...] = (
        lambda: np.full((h, w, 3), rng.integers(0, 256, 3)),
        lambda: rng.integers(0, 256, (h, w, 3)),
        lambda: (rng.random((h, w, 3)) < 0.001) * 255,
        lambda: np.broadcast_to(np.linspace(0, 255, w)[None, :, None], (h, w, 3)),
        lambda: np.repeat(((rows + columns) // 7 % 2 * 255)[..., None], 3, axis=2),
        lambda: disc * rng.integers(0, 256, 3),
        lambda: disc * rng.integers(0, 256, (h, w, 3)),
        lambda: picture(256)[top : top + 36 + h % 200, left : left + 36 + w % 200],
    )
    return np.ascontiguousarray(made[rng.integers(len(made))](), dtype=np.uint8)


def _arrays(rng: RNG, shop: Workshop) -> str:
    """Pixels of any content through field of view, quality and geometry."""
    pixels = _pixels(rng)
    prepared = shop.grader._prepare(pixels, None)
    fov = prepared.frame.field_of_view
    assert all(np.isfinite(v) for v in (fov.x, fov.y, fov.radius))
    assert fov.radius > 0
    (report,) = shop.grader.finish([prepared])
    assert report.ram().shape == pixels.shape[:2]
    return f"pixels: {report.status}"


def _geometry(rng: RNG, shop: Workshop) -> str:
    """Circles that lie anywhere, of any size, through every way of the frame."""
    from drcore.preprocessing.field_of_view import FieldOfView
    from drcore.preprocessing.retina_square import RetinaSquare
    from tests.support.geometry import to_photograph

    del shop
    w, h = (int(v) for v in rng.integers(1, 400, 2))
    x, y = rng.uniform(-3, 4) * w, rng.uniform(-3, 4) * h
    radius = float(10 ** rng.uniform(-2, 5))
    left, right = np.sort(rng.uniform(-100, 500, 2))
    top, bottom = np.sort(rng.uniform(-100, 500, 2))
    fov = FieldOfView(x, y, radius, left, top, right, bottom, found=True, note="")
    assert 0 <= fov.visible_fraction <= 1
    frame = RetinaSquare(fov, w, h, int(rng.choice([1, 8, 128, 512])))
    points = rng.uniform(-500, 500, (5, 2))
    assert np.allclose(
        to_photograph(frame, frame.to_square(points)), points, atol=1e-6 * (1 + radius)
    )
    image = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
    assert frame.warp(image).shape == (frame.size, frame.size, 3)
    assert frame.warp(image[..., 0], nearest=True).shape == (frame.size, frame.size)
    back = frame.warp_back(rng.random((16, 16), dtype=np.float32))
    assert back.shape == (h, w)
    assert np.isfinite(back).all()
    cover = frame.coverage(int(rng.choice([1, 16, 64])), 0.02)
    assert np.isfinite(cover).all()
    assert 0 <= cover.min() <= cover.max() <= 1.0001
    assert fov.mask(h, w, 0.02).shape == (h, w)
    return "geometry: finite"


def _checkpoint(rng: RNG, shop: Workshop) -> str:
    """Damaged manifests and weights; half of them with the checksum put right."""
    from tests.hardening.mutate import damaged, damaged_json

    files = dict(shop.files)
    manifest = json.loads(files["manifest.json"])
    (weights,) = (name for name in files if name.endswith(".safetensors"))
    what = rng.integers(5)
    if what == 0:
        files["manifest.json"] = damaged(files["manifest.json"], rng)
    elif what == 1:
        files["manifest.json"] = json.dumps(damaged_json(manifest, rng)).encode()
    else:
        if what == 2:
            files[weights] = damaged(files[weights], rng)
        elif what == 3:
            size = int.from_bytes(files[weights][:8], "little")
            header = damaged_json(json.loads(files[weights][8 : 8 + size]), rng)
            text = json.dumps(header).encode()
            files[weights] = len(text).to_bytes(8, "little") + text + files[weights][8 + size :]
        else:
            length = (0, 2**63, 2**64 - 1, 10**8, 9)[rng.integers(5)]
            files[weights] = length.to_bytes(8, "little") + files[weights][8:]
        if rng.random() < 0.8:
            manifest["networks"][0]["sha256"] = hashlib.sha256(files[weights]).hexdigest()
            files["manifest.json"] = json.dumps(manifest).encode()
    return f"checkpoint: {_loaded(files, shop)}"


def _loaded(files: dict[str, bytes], shop: Workshop) -> str:
    """A bundle is read and runs, or is refused with an error of drcore."""
    import torch

    from drcore.errors import CheckpointError
    from drcore.model.bundle import load_bundle

    for name, data in files.items():
        (shop.bundle / name).write_bytes(data)
    try:
        bundle = load_bundle(shop.bundle)
    except CheckpointError as error:
        _sentence(error)
        return "refused"
    with torch.inference_mode():
        for network in bundle.networks.values():
            scores, _ = network(torch.zeros(1, 3, 128, 128))
            assert torch.isfinite(scores).all()
    return "read"


def _tables(rng: RNG, shop: Workshop) -> str:
    """A damaged table is continued to a valid one, or refused and left as it is."""
    from drcore.errors import SourceError
    from drcore.results.columns import COLUMNS
    from drcore.results.csv_file import CsvFile
    from tests.hardening.mutate import damaged

    file = shop.folder / "table.csv"
    lines = [",".join(COLUMNS)] + [
        f"{number}.jpg,failed,no picture" + "," * (len(COLUMNS) - 3) for number in range(8)
    ]
    before = damaged(("\n".join(lines) + "\n").encode(), rng)
    file.write_bytes(before)
    try:
        with CsvFile(file, resume=True) as table:
            assert file.read_bytes() == before
            table.append(dict.fromkeys(COLUMNS, "") | {"image": "new.jpg", "status": "failed"})
    except SourceError as error:
        _sentence(error)
        assert file.read_bytes() == before
        return "table: refused"
    CsvFile(file, resume=True).close()
    return "table: continued"


_CASES: tuple[tuple[float, Callable[[RNG, Workshop], str]], ...] = (
    (0.42, _damaged),
    (0.14, _oversized),
    (0.05, _swapped),
    (0.04, _whole),
    (0.05, _odd_shape),
    (0.08, _arrays),
    (0.07, _geometry),
    (0.10, _checkpoint),
    (0.05, _tables),
)


# --- led by coverage ----------------------------------------------------------------------------


class Guide:
    """Inputs that reached something new, which grow out of each other.

    Args:
        shop: what the cases share.
        folder: an input lies here as long as its case runs, and stays if that fails.
    """

    LARGEST = 1 << 18
    """Bytes of an input that is kept: larger ones only cost time."""

    def __init__(self, shop: Workshop, folder: Path) -> None:
        from tests.hardening.pictures import KINDS, whole

        self._shop = shop
        self._folder = folder
        self._seen: set[tuple[str, int]] = set()
        self.corpus = [(kind, whole(kind)) for kind in KINDS]
        self.corpus += [(name, data) for name, data in shop.files.items()]

    def case(self, number: int, seed: int) -> str:
        """Run a case; returns what came of it, raises what must not come of it."""
        from tests.hardening.mutate import damaged, oversized

        rng = np.random.default_rng([seed, number])
        last = len(self.corpus)
        # What was found late lies deeper: half of the time one of the last.
        place = int(rng.integers(max(0, last - 40) if rng.random() < 0.5 else 0, last))
        kind, data = self.corpus[place]
        is_picture = kind not in self._shop.files
        if is_picture and rng.random() < 0.15:
            data = oversized(kind, data, rng)
        else:
            data = damaged(data, rng)
        file = self._folder / f"{number}-{seed}-{kind.replace(' ', '-')}"
        file.write_bytes(data)
        reached: set[tuple[str, int]] = set()
        with _lines(reached):
            outcome = _grade(data, self._shop, rng) if is_picture else self._load(kind, data)
        file.unlink()
        new = not reached <= self._seen
        self._seen |= reached
        if new and len(data) <= self.LARGEST:
            self.corpus.append((kind, data))
        return f"guided {kind.split()[0]}: {outcome}{', new lines' if new else ''}"

    def _load(self, name: str, data: bytes) -> str:
        files = self._shop.files | {name: data}
        if name != "manifest.json":
            manifest = json.loads(files["manifest.json"])
            manifest["networks"][0]["sha256"] = hashlib.sha256(data).hexdigest()
            files["manifest.json"] = json.dumps(manifest).encode()
        return _loaded(files, self._shop)


@contextlib.contextmanager
def _lines(reached: set[tuple[str, int]]) -> Iterator[None]:
    """Note the lines of drcore, and of the readers that are written in Python."""
    watched = ("/drcore/", "/PIL/", "/tifffile/", "/pydicom/")

    def line(frame: Any, event: str, _: object) -> Any:
        if event == "line":
            reached.add((frame.f_code.co_filename, frame.f_lineno))
        return line

    def call(frame: Any, _event: str, _: object) -> Any:
        return line if any(part in frame.f_code.co_filename for part in watched) else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        yield
    finally:
        sys.settrace(before)


# --- a process that runs cases ------------------------------------------------------------------


def _work(seed: int, numbers: range, guided: Path | None = None) -> None:
    """Run cases; a line of JSON before and after each."""
    with tempfile.TemporaryDirectory() as name:
        shop = Workshop(Path(name))
        guide = None if guided is None else Guide(shop, guided)
        whole = Path("/proc/self/statm")
        taken = int(whole.read_text().split()[0]) * resource.getpagesize()
        # Twice the limit, as address space: what is asked for is not yet what is used.
        resource.setrlimit(resource.RLIMIT_AS, (taken + 2 * MEMORY,) * 2)
        for number in numbers:
            print(json.dumps({"begin": number}), flush=True)
            before, started = _peak(), time.process_time()
            try:
                outcome = guide.case(number, seed) if guide else case(number, seed, shop)
                bad = ""
            except Exception as error:  # noqa: BLE001 - the finding itself
                outcome, bad = "finding", f"{type(error).__name__}: {error}"[:500]
            seconds, grown = time.process_time() - started, _peak() - before
            if seconds > SECONDS:
                bad = bad or f"took {seconds:.1f} s ({outcome})"
            if grown > MEMORY:
                bad = bad or f"took {grown >> 20} MiB ({outcome})"
            print(json.dumps({"end": number, "outcome": outcome, "bad": bad}), flush=True)


def _peak() -> int:
    """Largest resident size in bytes since the last call, which starts the count anew."""
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return int(peak.split()[1]) << 10


# --- the watch over it --------------------------------------------------------------------------


def _events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any] | None]:
    """Lines of the process as they come; None when it says nothing for too long."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    patience = START
    while True:
        try:
            line = lines.get(timeout=patience)
        except queue.Empty:
            yield None
            return
        if not line:
            return
        yield json.loads(line)
        patience = PATIENCE


def fuzz(
    cases: int,
    seed: int = 0,
    first: int = 0,
    tell: Callable[[int], None] | None = None,
    guided: Path | None = None,
) -> tuple[Counter[str], list[Finding]]:
    """Run cases in processes that are started anew after a death.

    Args:
        cases: how many.
        seed: of all of them.
        first: number of the first.
        tell: called with the number of each case that is done.
        guided: folder for inputs that fail, where the cases are led by coverage.

    Returns:
        How often each outcome came, and what must not happen.
    """
    outcomes: Counter[str] = Counter()
    findings: list[Finding] = []
    number, end = first, first + cases
    while number < end:
        begun = number
        command = [sys.executable, "-m", "tests.hardening.fuzz", "--seed", str(seed),
                   *(["--guided", str(guided)] if guided else []),
                   "--work", str(number), str(end)]  # fmt: skip
        with subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            running, silent = None, False
            for event in _events(process):
                if event is None:
                    silent = True
                elif "begin" in event:
                    running = event["begin"]
                else:
                    outcomes[event["outcome"]] += 1
                    if event["bad"]:
                        findings.append(Finding(event["end"], event["bad"]))
                    running, number = None, event["end"] + 1
                    if tell:
                        tell(number)
            process.kill()
            said = (process.stderr.read() if process.stderr else "").strip()[-300:]
            process.wait()
        if number < end:
            if running is None and number == begun:
                raise RuntimeError(f"no case could be begun ({process.returncode}): {said}")
            if running is None:
                continue  # ended from outside, between two cases
            what = "hangs" if silent else f"died with {process.returncode}: {said}"
            findings.append(Finding(running, what))
            outcomes["finding"] += 1
            number = running + 1
    return outcomes, findings


def main(arguments: list[str] | None = None) -> int:
    """Run cases from the command line; exit code 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.hardening.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="run one case here, and raise")
    parser.add_argument("--guided", type=Path, metavar="FOLDER", help="led by coverage; see above")
    parser.add_argument("--work", type=int, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.work:
        _work(given.seed, range(*given.work), given.guided)
        return 0
    if given.only is not None:
        with tempfile.TemporaryDirectory() as name:
            print(case(given.only, given.seed, Workshop(Path(name))))
        return 0

    def tell(done: int) -> None:
        if done % 500 == 0:
            print(f"{done} cases", file=sys.stderr, flush=True)

    if given.guided:
        given.guided.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    outcomes, findings = fuzz(given.cases, given.seed, given.first, tell, given.guided)
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:6} {outcome}")
    for finding in findings:
        print(f"case {finding.number} (seed {given.seed}): {finding.what}")
    print(
        f"{sum(outcomes.values())} cases in {time.monotonic() - started:.0f} s, "
        f"{len(findings)} findings."
    )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
