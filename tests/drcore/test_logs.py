"""What the log says, and what it never says."""

from __future__ import annotations

import io
import json
import logging
import re
from datetime import datetime

import numpy as np
import pytest
from PIL import Image

from drcore import logs
from drcore.errors import DrcoreError, PhotographError
from drcore.photographs.reader import read_photograph

NAME = "Smithereens"
"""A patient whom nobody else is called."""


@pytest.fixture(autouse=True)
def restored():
    """The log of the process as it was before."""
    logger = logging.getLogger("drcore")
    before = logger.handlers[:], logger.level, logger.propagate, logs._names
    yield
    logger.handlers[:], logger.level, logger.propagate, logs._names = before


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def exif_jpeg(rgb: np.ndarray) -> bytes:
    """A JPEG whose EXIF block names the patient in several fields."""
    exif = Image.Exif()
    for tag in (270, 315, 33432):  # description, artist, copyright
        exif[tag] = NAME
    exif.get_ifd(0x8769)[37510] = NAME.encode()  # user comment
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", exif=exif, comment=NAME.encode())
    return buffer.getvalue()


def exif_tiff(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "TIFF", tiffinfo={270: NAME, 315: NAME})
    return buffer.getvalue()


def dicom(rgb: np.ndarray) -> bytes:
    """A DICOM file whose header names the patient, with a value that pydicom complains of."""
    pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
    from pydicom.uid import ExplicitVRLittleEndian, OphthalmicPhotography8BitImageStorage

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = OphthalmicPhotography8BitImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    data = pydicom.Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = meta[0x00020002].value, meta[0x00020003].value
    data.PatientName, data.PatientID, data.PatientComments = f"{NAME}^Ann", NAME, NAME
    data.StudyDescription = data.InstitutionName = NAME
    data.Rows, data.Columns = rgb.shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 3, "RGB"
    data.PlanarConfiguration = data.PixelRepresentation = 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit = 7
    data.PixelData = rgb.tobytes() + b"\0" * (rgb.size % 2)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_no_line_names_a_patient(level, as_json, grader, phantom, capfd, caplog, tmp_path):
    rgb = phantom(seed=1).rgb
    whole = {"jpg": exif_jpeg(rgb), "tif": exif_tiff(rgb), "dcm": dicom(rgb)}
    cut = {f"cut.{ending}": data[: len(data) // 3] for ending, data in whole.items()}
    sources = [(f"{NAME}_left.{ending}", data) for ending, data in (whole | cut).items()]
    missing = tmp_path / NAME / f"{NAME}_right.jpg"
    stream = io.StringIO()
    # Whatever else logs, of any library, is caught here as well.
    other = logging.StreamHandler(stream)
    root = logging.getLogger()
    root.addHandler(other)
    root_level = root.level
    root.setLevel(logging.DEBUG)
    try:
        logs.configure(level, as_json=as_json, stream=stream)
        reports = list(grader.grade_many([*sources, missing]))
        error = OSError(2, "No such file or directory", str(missing))
        logs.accident("a test", error)
        logs.event("a test", "error", image=NAME, path=str(missing), patient=NAME, message=NAME)
    finally:
        root.removeHandler(other)
        root.setLevel(root_level)
    assert {report.status for report in reports} >= {"failed"}
    assert sum(report.sha256 != "" for report in reports) >= 3
    assert any(NAME in (report.patient or "") for report in reports)
    out, err = capfd.readouterr()
    written = stream.getvalue() + out + err + caplog.text
    assert NAME.lower() not in written.lower()
    assert "a test" in written
    assert written.count("photograph ") == (len(reports) if level == "debug" else 0) or as_json


def test_one_line_a_photograph_with_hash_state_times_and_size(grader, phantom, encoded):
    stream = io.StringIO()
    logs.configure("debug", as_json=True, stream=stream)
    good = encoded(phantom(seed=1).rgb, "JPEG")
    (report, bad) = grader.grade_many([("10_left.jpg", good), ("11_left.jpg", b"text")])
    told = {line["sha256"]: line for line in lines(stream) if line["event"] == "photograph"}
    assert set(told) == {report.sha256[:12], ""}
    line = told[report.sha256[:12]]
    assert set(line) == {
        "time", "level", "event", "sha256", "status", "reading_ms", "network_ms", "width", "height",
    }  # fmt: skip
    assert (line["status"], line["width"], line["height"]) == (report.status, 320, 320)
    assert line["reading_ms"] > 0
    assert line["network_ms"] > 0
    assert datetime.fromisoformat(line["time"]).tzinfo is not None
    assert (told[""]["status"], told[""]["width"], bad.status) == ("failed", 0, "failed")


def test_names_are_written_where_they_were_asked_for(grader):
    stream = io.StringIO()
    logs.configure("debug", names=True, stream=stream)
    list(grader.grade_many([(f"{NAME}_left.jpg", b"text")]))
    assert f"image={NAME}_left.jpg" in stream.getvalue()


def test_no_value_forges_a_line():
    for as_json in (False, True):
        stream = io.StringIO()
        logs.configure("debug", names=True, as_json=as_json, stream=stream)
        logs.event("photograph", image='a\n2026-01-01T00:00:00.000Z error x="\x1b[2J\u2028')
        (line,) = stream.getvalue().splitlines()
        assert "\x1b" not in line
        assert re.match(r'2\S+Z debug photograph image="|\{"time": "2', line)


@pytest.mark.parametrize(
    ("environment", "written"),
    [
        ({}, []),
        ({"DRCORE_LOG": "debug"}, ["words"]),
        ({"DRCORE_LOG": " DEBUG ", "DRCORE_LOG_JSON": "1"}, ["json"]),
        ({"DRCORE_LOG": "debug", "DRCORE_LOG_JSON": "0"}, ["words"]),
    ],
)
def test_the_environment_chooses(environment, written, capsys):
    logs.configure_from_environment(environment)
    logs.event("a test")
    kinds = ["json" if line[0] == "{" else "words" for line in capsys.readouterr().err.splitlines()]
    assert kinds == written


def test_a_level_that_is_none_is_told():
    with pytest.raises(DrcoreError, match=r"DRCORE_LOG is 'loud'.*Choose debug, info"):
        logs.configure_from_environment({"DRCORE_LOG": "loud"})


def test_configuring_twice_writes_once(capsys):
    for _ in range(3):
        logs.configure("info")
    logs.event("a test", "info")
    assert capsys.readouterr().err.count("a test") == 1


def test_an_accident_tells_its_kind_and_its_place_only(tmp_path):
    stream = io.StringIO()
    logs.configure("error", as_json=True, stream=stream)
    try:
        (tmp_path / NAME).read_bytes()
    except OSError as error:
        logs.accident("reading", error)
        logs.accident("reading", PhotographError("harmless"), says=True)
    first, second = lines(stream)
    assert (first["error"], first["doing"]) == ("FileNotFoundError", "reading")
    assert "test_logs.py:" in first["where"]
    assert NAME not in stream.getvalue()
    assert second["says"] == "harmless"


def test_a_reader_that_breaks_unexpectedly_says_nothing_of_the_server(grader, monkeypatch):
    def broken(*_args, **_options):
        raise KeyError("/srv/secret/folder")

    monkeypatch.setattr("drcore.grading.grader.read_photograph", broken)
    (report,) = grader.grade_many([("10_left.jpg", b"x")])
    assert report.reason == "10_left.jpg: it cannot be read (KeyError). Export it again."


def test_the_readers_used_here_do_name_patients(phantom):
    """Else the test above would prove nothing."""
    assert NAME.encode() in exif_jpeg(phantom(seed=1).rgb)
    photograph = read_photograph(dicom(phantom(seed=1).rgb))
    assert NAME in (photograph.patient or "")
