"""DICOM files with several photographs: found, named and graded frame by frame."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drcore.batch.pipeline import grade_batch
from drcore.grading.grader import Grader
from drcore.photographs.frame_count import HEAD_BYTES, frames_in
from drcore.results.map_files import save_map
from drcore.sources.find import find_photographs
from drcore.sources.prefetch import read_ahead
from training.synthetic.phantom import make_phantom
from training.synthetic.recipe import PhantomRecipe

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed (extra 'dicom')")

# pytest lifts drcore's filter.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def _dicom(frames: list[np.ndarray], **attributes: Any) -> bytes:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, OphthalmicPhotography8BitImageStorage

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = (
        OphthalmicPhotography8BitImageStorage
    )
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    made.PatientID = "P7"
    made.Rows, made.Columns = frames[0].shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    if len(frames) > 1:
        made.NumberOfFrames = len(frames)
    made.PixelData = b"".join(frame.tobytes() for frame in frames)
    for name, value in attributes.items():
        setattr(made, name, value)
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [make_phantom(PhantomRecipe(size=256, seed=seed)).rgb for seed in range(3)]


@pytest.fixture
def study(tmp_path: Path, pictures: list[np.ndarray]) -> Path:
    """One file of three frames, one of one frame, one of two without an ending, and a stranger."""
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "three.dcm").write_bytes(_dicom(pictures))
    (folder / "one.DCM").write_bytes(_dicom(pictures[:1]))
    (folder / "1.2.840.10008").write_bytes(_dicom(pictures[:2]))
    (folder / "1.2.840.10009").write_bytes(b"no DICOM")
    (folder / "README").write_bytes(b"")
    return folder


NAMES = ["1.2.840.10008#frame1", "1.2.840.10008#frame2", "one.DCM",
         "three.dcm#frame1", "three.dcm#frame2", "three.dcm#frame3"]  # fmt: skip


def test_each_frame_has_its_row_and_map(
    tiny_grader: Grader, study: Path, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    found = find_photographs([study])
    assert [item.image for item in found] == NAMES
    results = list(grade_batch(tiny_grader, found))
    assert {row["status"] for row, _ in results} == {"graded"}
    assert {row["patient"] for row, _ in results} == {"P7"}
    assert len({row["sha256"] for row, _ in results}) == 6
    scores = [report.score for _, report in results]
    expected = [tiny_grader.grade(picture).score for picture in pictures]
    assert scores == pytest.approx([*expected[:2], expected[0], *expected], abs=1e-4)
    for item, (_, report) in zip(found, results, strict=True):
        save_map(report, item, tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 6


def test_frames_in_archives_and_buckets(
    s3: Any, tiny_grader: Grader, study: Path, tmp_path: Path
) -> None:
    def rows(found: Any) -> list[dict[str, str]]:
        return [{**row, "image": ""} for row, _ in grade_batch(tiny_grader, read_ahead(found))]

    with zipfile.ZipFile(tmp_path / "s.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for file in sorted(study.iterdir()):
            zipped.write(file, file.name)
            s3.upload_file(str(file), "clinic", f"study/{file.name}")
    with tarfile.open(tmp_path / "s.tar.gz", "w:gz") as tape:
        for file in sorted(study.iterdir()):
            tape.add(file, file.name)
    plain = rows(find_photographs([study]))
    for where, before in (
        ("s.zip", "s.zip/"),
        ("s.tar.gz", "s.tar.gz/"),
        ("s3://clinic/study", ""),
    ):
        found = find_photographs([where if "://" in where else tmp_path / where])
        assert [item.image for item in found] == [before + name for name in NAMES]
        assert rows(found) == plain


@pytest.mark.parametrize("declared", ["0", "-1", "5", "1001", "99999999999"])
def test_a_number_of_frames_that_lies_is_told_and_loses_no_file(
    tiny_grader: Grader, pictures: list[np.ndarray], tmp_path: Path, declared: str
) -> None:
    (tmp_path / "eye.dcm").write_bytes(_dicom(pictures, NumberOfFrames=declared))
    found = find_photographs([tmp_path])
    rows = [row for row, _ in grade_batch(tiny_grader, found)]
    assert rows
    assert {row["status"] for row in rows} == {"failed"}
    assert all(row["reason"].startswith("eye") for row in rows)


def test_frames_of_any_bytes(pictures: list[np.ndarray]) -> None:
    whole = _dicom(pictures)
    assert frames_in(whole) == frames_in(whole[:HEAD_BYTES]) == 3
    assert frames_in(b"") == frames_in(b"\xff\xd8\xff" * 99) == 1
    chance = random.Random(0)  # noqa: S311 - no secret
    head = whole[:2000]
    for _ in range(300):
        damaged = bytearray(head[: chance.randrange(len(head))])
        for _ in range(chance.randrange(9)):
            if damaged:
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        assert 1 <= frames_in(bytes(damaged)) <= 1000
