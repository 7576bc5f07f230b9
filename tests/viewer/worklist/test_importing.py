"""Files as they arrive: what goes on the list, and the sentence for the rest."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from drcore.photographs.dicom_frames import DicomFrame
from viewer.worklist.background_grading import do_next, grade
from viewer.worklist.importing import import_files
from viewer.worklist.storage import Limits, WorklistStore
from viewer.worklist.worklist import Worklist

pydicom = pytest.importorskip("pydicom")


def picture(value: int, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), value, np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def dicom(frames: list[np.ndarray], **attributes) -> bytes:
    """An uncompressed ophthalmic photograph."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.77.1.5.1", generate_uid()
    made.PatientID, made.PatientName, made.ImageLaterality = "P-7", "Doe^Jane", "R"
    made.Rows, made.Columns = frames[0].shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.NumberOfFrames = len(frames)
    made.PixelData = b"".join(frame.tobytes() for frame in frames)
    made["PixelData"].VR = "OB"
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def names(worklist) -> list[str]:
    return [entry.file_name for entry in worklist.everything]


def test_many_files_at_once_each_get_a_row_or_a_sentence():
    worklist = Worklist()
    arrival = import_files(
        worklist,
        [
            ("clinic/a_OD.jpg", picture(1)),
            ("clinic/notes.txt", b"text"),
            ("clinic/more.txt", b"text"),
            ("clinic/without ending", picture(2, "PNG")),
            ("clinic/cut.jpg", b"\xff\xd8\xff\xe0 cut"),
            ("clinic/empty.jpg", b""),
            ("clinic/nothing", b""),
            ("clinic/copy.jpg", picture(1)),
            ("clinic/a_OD.jpg", picture(1)),
            ("other/a_OD.jpg", picture(1)),
            ("clinic/.DS_Store", b"x"),
            ("clinic/.git/a.jpg", picture(4)),
            ("clinic/Thumbs.db", b"x"),
        ],
    )
    listed = ["a_OD.jpg", "without ending", "cut.jpg", "empty.jpg", "copy.jpg", "a_OD.jpg"]
    assert names(worklist) == listed
    assert (arrival.added, arrival.first) == (6, worklist.everything[0])
    assert sorted(arrival.sentences) == [
        "3 hidden files skipped.",
        "Already in the list: a_OD.jpg.",
        "Empty files: empty.jpg, nothing. Please re-export them.",
        "Skipped (not images): notes.txt, more.txt.",
    ]


def test_a_full_list_names_the_first_that_is_missing(monkeypatch):
    monkeypatch.setattr("viewer.worklist.worklist.MAX_ENTRIES", 2)
    worklist = Worklist()
    arrival = import_files(worklist, [(f"{n}.jpg", picture(n)) for n in range(5)])
    (sentence,) = arrival.sentences
    assert sentence.startswith("3 images not added (2.jpg onwards). The list is full (2 images)")
    assert names(worklist) == ["0.jpg", "1.jpg"]


def test_no_room_on_the_server_is_told_and_what_came_before_stays(tmp_path):
    size = len(picture(1))
    worklist = Worklist(WorklistStore(tmp_path, Limits(size=2 * size + 10, reserve=0)))
    arrival = import_files(worklist, [(f"{n}.jpg", picture(n)) for n in range(4)])
    (sentence,) = arrival.sentences
    assert "2 images not added (2.jpg onwards). The server has reached its limit" in sentence
    assert names(worklist) == ["0.jpg", "1.jpg"]


def test_a_file_too_large_is_left_out(monkeypatch):
    monkeypatch.setattr("drcore.photographs.photograph.MAX_BYTES", 1 << 20)
    arrival = import_files(
        worklist := Worklist(), [("a.jpg", bytes(2 << 20)), ("b.jpg", picture(1))]
    )
    assert arrival.sentences[0].startswith("Too large (limit 1 MB per file): a.jpg.")
    assert names(worklist) == ["b.jpg"]


def test_long_lists_of_names_are_cut_and_names_are_cleaned():
    files = [(f"\u202e{n}.txt", b"text") for n in range(10)]
    (sentence,) = import_files(Worklist(), files).sentences
    assert sentence.endswith("(not images): 0.txt, 1.txt, 2.txt and 7 more.")


def test_a_folder_is_a_patient_only_where_the_server_is_told_so(monkeypatch):
    files = [("clinic/7/left.jpg", picture(1)), ("clinic/7/8_right.jpg", picture(2))]
    worklist = Worklist()
    import_files(worklist, files)
    assert [(e.laterality, e.patient) for e in worklist.everything] == [("OS", None), ("OD", "8")]
    monkeypatch.setenv("DRCORE_PATIENT_FROM", "folder")
    worklist = Worklist()
    import_files(worklist, files)
    assert [e.patient for e in worklist.everything] == ["clinic/7", "clinic/7"]
    monkeypatch.setenv("DRCORE_PATIENT_FROM", "")
    monkeypatch.setenv("DRCORE_NAME_PATTERN", r"clinic/(?P<patient>\d)/")
    worklist = Worklist()
    import_files(worklist, files)
    assert [(e.laterality, e.patient) for e in worklist.everything] == [("OS", "7"), ("OD", "7")]


def test_files_are_taken_one_by_one():
    taken = []

    def files():
        for n in range(3):
            taken.append(len(worklist.everything))
            yield f"{n}.jpg", picture(n)

    worklist = Worklist()
    import_files(worklist, files())
    assert taken == [0, 1, 2]


def test_each_frame_of_a_dicom_file_is_an_entry_of_its_own(grader, phantom, tmp_path):
    from drcore.photographs.dicom_header import read_header

    frames = [phantom(seed=seed).rgb for seed in (1, 2, 3)]
    data = dicom(frames)
    worklist = Worklist(WorklistStore(tmp_path, Limits(reserve=0)))
    import_files(worklist, [("12_left.dcm", data)])
    assert names(worklist) == [f"12_left.dcm (frame {n} of 3)" for n in (1, 2, 3)]
    assert all(isinstance(entry.source, DicomFrame) for entry in worklist.everything)
    assert len(list(tmp_path.glob("*/" + "?" * 64))) == 1  # one file for all frames
    while do_next(worklist, grader):
        pass
    reports = [entry.report for entry in worklist.everything]
    assert [r.sha256 for r in reports] == list(read_header(data).sha256)
    assert {(r.status, r.laterality, r.patient) for r in reports} == {("graded", "OD", "P-7")}
    assert import_files(worklist, [("12_left.dcm", data)]).sentences == [
        "Already in the list: 12_left.dcm."
    ]
    back = Worklist.reopened(WorklistStore(tmp_path, Limits(reserve=0)), worklist.token)
    assert [e.sha256 for e in back.everything] == [r.sha256 for r in reports]
    assert back.everything[1].renditions().sha256 == reports[1].sha256


def test_what_a_header_says_of_the_patient_is_shown_only_when_asked_for(grader, phantom):
    worklist = Worklist()
    import_files(worklist, [("scan.dcm", dicom([phantom(seed=1).rgb])), ("9_OD.jpg", picture(9))])
    scan, named = worklist.everything
    grade(worklist, scan, grader)
    assert (scan.patient, scan.report.patient) == ("P-7", "P-7")  # for pairing and the record
    assert (scan.patient_shown, scan.report_shown.patient) == (None, None)
    assert named.patient_shown == "9"  # the name is on the page anyway
    worklist.show_identity = True
    assert (scan.patient_shown, scan.report_shown.patient) == ("P-7", "P-7")
    worklist.correct(scan.key, "OS", "typed")
    worklist.show_identity = False
    assert scan.patient_shown == "typed"


def test_burnt_in_identity_is_covered_until_asked_for(grader, phantom):
    from drcore.photographs.reader import read_photograph

    rgb = phantom(seed=1).rgb.copy()
    rgb[:12, :40] = 255  # a name in the corner
    worklist = Worklist()
    import_files(worklist, [("scan.dcm", dicom([rgb], BurnedInAnnotation="YES"))])
    (scan,) = worklist.everything
    grade(worklist, scan, grader)
    assert scan.report.status == "graded"

    def corner() -> float:
        original = read_photograph(scan.renditions().original.data).rgb
        assert original.shape == rgb.shape
        assert original[150:170, 150:170].mean() > 20  # the retina is there
        return float(original[:10, :38].mean())

    assert corner() < 5
    worklist.show_identity = True
    assert corner() > 200


def test_a_damaged_dicom_file_gets_a_row_that_tells_why(grader):
    worklist = Worklist()
    import_files(worklist, [("scan.dcm", dicom([np.zeros((64, 64, 3), np.uint8)])[:-5000])])
    (scan,) = worklist.everything
    grade(worklist, scan, grader)
    assert scan.report.status == "failed"
    assert scan.report.reason.startswith("scan.dcm: ")
