"""Exports as a whole: what is in them, what is told of the rest, and that identity stays home."""

from __future__ import annotations

import io
import json
import threading
import zipfile
import zlib
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pydicom
import pypdf
import pytest
from fhir.resources.R4B.bundle import Bundle
from PIL import Image

from drcore.errors import SourceError
from drcore.export.archive import ExportArchive, photograph_stem, safe_stem
from drcore.export.case import Case, by_visit
from drcore.export.deidentification import Disclosure, retina_only
from drcore.export.export import KINDS, write_export
from drcore.export.result_json import result_json
from drcore.photographs.dicom_reader import photographs_in
from drcore.reviews.decision import Decision
from drcore.reviews.mark import Mark

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pytest lifts drcore's filter

MADE_AT = datetime(2026, 3, 4, 5, 6, 8, tzinfo=UTC)
SECRETS = ("Zebulon", "Quarterm", "ZQ-4711", "ZQ\u20114711", "Rosebud", "Leicatron", "19600102")
"""Patient's name and number, file name, EXIF, birth date: none of it may leave de-identified."""


@pytest.fixture(scope="module")
def jpeg_with_exif(phantom) -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x010E], exif[0x9286] = "Leicatron", "Rosebud", "Zebulon"
    file = io.BytesIO()
    Image.fromarray(np.array(phantom(seed=1).rgb)).save(file, "JPEG", exif=exif, comment=b"Rosebud")
    return file.getvalue()


@pytest.fixture(scope="module")
def cases(grader, phantom, jpeg_with_exif, dicom_of) -> list[Case]:
    """A JPEG with EXIF, two frames of a DICOM file, a file that could not be read."""
    data = dicom_of(
        np.array(phantom(seed=2).rgb), frames=2, PatientName="Quartermain^Zebulon",
        PatientID="ZQ-4711", StudyDescription="Rosebud", InstitutionName="Rosebud",
    )  # fmt: skip
    made = []
    sources = [("Zebulon_Quartermain_OS.jpg", jpeg_with_exif)]
    sources += photographs_in(data, "Zebulon Rosebud.dcm")
    for name, source in sources:
        report = grader.grade(source, name=name)
        note = "Mr Quartermain, ZQ-4711"
        decision = Decision(
            sha256=report.sha256, image=name, model_version=report.model_version,
            machine_status=report.status, machine_grade=report.grade, machine_score=report.score,
            action="ungradable", grade=None, note=note, reader="AB", decided_at=MADE_AT,
            laterality=report.laterality, patient=report.patient,
        )  # fmt: skip
        mark = Mark(report.sha256, "point", "other", 9, 9, 9, 9, "AB", MADE_AT, note)
        number = len(made) + 1
        made.append(Case(report, source, ((number, decision),), ((number, mark),)))
    broken = grader.failed("Zebulon_bad.jpg", "Zebulon_bad.jpg: the file is empty.")
    return [*made, Case(broken, b"")]


def exported(cases, tmp_path, kinds=KINDS, **options):
    file = tmp_path / "export"
    done = write_export(cases, kinds, file, made_at=MADE_AT, **options)
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        return done, {name: archive.read(name) for name in archive.namelist()}


def everything_said(name: str, data: bytes) -> str:
    """All text that anybody could find in a document, however it is stored."""
    found = [name, data.decode("latin-1"), data.decode("utf-8", "replace")]
    found.append(data.decode("utf-16-le", "replace"))
    if name.endswith(".pdf"):
        reader = pypdf.PdfReader(io.BytesIO(data))
        found += [page.extract_text() for page in reader.pages]
        found += [str(reader.metadata), str(reader.xmp_metadata)]
        for item in data.split(b"stream\n")[1:]:
            try:
                found.append(zlib.decompressobj().decompress(item).decode("latin-1"))
            except zlib.error:
                continue
        for page in reader.pages:
            found += [str(image.image.getexif()) for image in page.images if image.image]
    if name.endswith(".dcm"):
        found.append(str(pydicom.dcmread(io.BytesIO(data))))
    if name.endswith(".jpg"):
        with Image.open(io.BytesIO(data)) as image:
            assert not image.getexif()
            found.append(str(image.info))
    return "\n".join(found)


def test_no_trace_of_the_patient_leaves_deidentified(cases, tmp_path):
    done, documents = exported(cases, tmp_path, privacy=Disclosure(deidentified=True))
    kinds = {name.rpartition(".")[2] for name in documents}
    assert kinds == {"pdf", "jpg", "json", "csv", "dcm", "txt"}
    for name, data in documents.items():
        said = everything_said(name, data)
        for secret in (*SECRETS, *(case.report.name for case in cases)):
            assert secret not in said, (name, secret)
    assert not any(secret in problem for secret in SECRETS for problem in done.problems)


def test_the_search_for_traces_would_find_them(cases, tmp_path):
    _, documents = exported(cases, tmp_path, privacy=Disclosure(patient_names=True))
    for ending, secret in (
        (".pdf", "Quartermain, Zebulon"), (".dcm", "Quartermain"), ("results.csv", "ZQ-4711"),
        ("manifest.json", "Zebulon"), ("decisions.json", "Mr Quartermain"), (".json", "ZQ-4711"),
    ):  # fmt: skip
        hits = [
            n
            for n, d in documents.items()
            if n.endswith(ending) and secret in everything_said(n, d)
        ]
        assert hits, (ending, secret)


def test_eye_and_hash_stay_in_deidentified_documents(cases, tmp_path):
    _, documents = exported(cases, tmp_path, privacy=Disclosure(deidentified=True))
    results = json.loads(documents["results.json"])
    assert [r["laterality"] for r in results] == ["OS", "OD", "OD", None]
    assert results[0]["image"] == results[0]["sha256"][:16]
    notes = [d["note"] for d in json.loads(documents["decisions.json"])]
    assert notes == ["", "", ""]
    report = next(d for n, d in documents.items() if n.endswith("-report.dcm"))
    document = pydicom.dcmread(io.BytesIO(report))
    assert (document.PatientID, document.StudyDate) == ("", "")
    assert document.PatientIdentityRemoved == "YES"
    overlay = next(d for n, d in documents.items() if n.endswith("-overlay.dcm"))
    assert pydicom.dcmread(io.BytesIO(overlay)).StudyInstanceUID == document.StudyInstanceUID


def test_notes_go_along_when_asked_for(cases, tmp_path):
    privacy = Disclosure(deidentified=True, notes=True)
    _, documents = exported(cases, tmp_path, ("json",), privacy=privacy)
    assert "Mr Quartermain" in documents["decisions.json"].decode()
    assert "Mr Quartermain" in documents["marks.json"].decode()


def test_names_do_not_leave_unless_asked_for_but_numbers_do(cases, tmp_path):
    unread = [replace(case, decisions=(), marks=()) for case in cases[1:3]]
    _, documents = exported(unread, tmp_path, ("pdf", "dicom", "fhir"))
    said = {name: everything_said(name, data) for name, data in documents.items()}
    assert not [name for name, text in said.items() if "Quartermain" in text]
    for start in ("reports/ZQ-4711", "fhir/ZQ-4711"):
        (text,) = (text for name, text in said.items() if name.startswith(start))
        assert "ZQ-4711" in text


def test_documents_are_what_they_say(cases, tmp_path):
    done, documents = exported(cases, tmp_path)
    assert done.documents == len(documents) - 1  # about.txt is none
    assert len([name for name in documents if name.startswith("dicom/")]) == 4
    for name, data in documents.items():
        if name.startswith("fhir/"):
            Bundle.model_validate_json(data)
    study = pydicom.dcmread(io.BytesIO(cases[1].source.file)).StudyInstanceUID
    bundle = next(data for name, data in documents.items() if name.startswith("fhir/ZQ-4711"))
    assert f"urn:oid:{study}" in bundle.decode()
    about = documents["about.txt"].decode()
    assert "Research use only" in about
    for problem in done.problems:
        assert problem in about
    assert any("Zebulon_bad.jpg: the file is empty." in problem for problem in done.problems)
    assert any(p.startswith("1 photograph did not come as DICOM") for p in done.problems)


def test_manifest_tells_of_each_overlay(cases, tmp_path):
    done, documents = exported(cases, tmp_path, ("overlays",))
    assert len(done.problems) == 1
    assert done.problems[0].endswith("the file is empty.")
    manifest = json.loads(documents["overlays/manifest.json"])
    rows = documents["overlays/photographs.csv"].decode().splitlines()
    for entry, case in zip(manifest["photographs"], cases, strict=False):
        with Image.open(io.BytesIO(documents[f"overlays/{entry['file']}"])) as image:
            assert image.width == case.report.width
            assert image.height > case.report.height  # legend and notice stand below
        assert entry["sha256"] == case.report.sha256
        assert entry["model_version"] == "random 1"
        assert (entry["scale"], entry["grade"]) == ("fused", case.report.grade)
        assert entry["score"] == pytest.approx(case.report.score, abs=1e-4)
    assert manifest["colour_range"] == {
        "from": 0.05, "to": 5.0, "scale": "logarithmic", "unit": "score added per disc area",
    }  # fmt: skip
    assert manifest["outlines"]["at"] == [0.1, 0.4]
    assert all(entry["operating_point"] and entry["heat_map"] for entry in manifest["photographs"])
    assert len(rows) == 4
    assert rows[0].startswith("overlay,image,status")


def test_names_in_the_archive_are_safe_and_unique(cases, tmp_path):
    odd = [
        "../../etc/passwd",
        "CON",
        "a/b\\c:d*.jpg",
        "",
        "\u202e.exe",
        "Eye.JPG",
        "eye.jpg",
        "x" * 900,
    ]
    named = [replace(cases[0], report=replace(cases[0].report, name=name)) for name in odd]
    done, documents = exported(named, tmp_path, ("overlays",))
    assert done.problems == ()
    names = [name.removeprefix("overlays/") for name in documents if name.endswith(".jpg")]
    assert len({name.lower() for name in names}) == len(odd)
    for name in names:
        assert name.isascii()
        assert not set(name) & set('/\\:*?"<>|')
        assert len(name) < 100


def test_stems():
    assert safe_stem("CON") == "_CON"
    assert safe_stem("...") == "unnamed"
    assert photograph_stem("a b.jpg", "0123456789") == "a_b-01234567"
    assert photograph_stem("01234567", "0123456789") == "01234567"


def test_only_document_is_the_download_itself(cases, tmp_path):
    file = tmp_path / "export"
    done = write_export(cases[:1], ("pdf",), file, made_at=MADE_AT)
    assert (done.ending, done.documents, done.problems) == (".pdf", 1, ())
    assert file.read_bytes().startswith(b"%PDF")
    assert [item.name for item in tmp_path.iterdir()] == ["export"]


def test_progress_and_stop(cases, tmp_path):
    told, stop = [], threading.Event()

    def progress(done, total):
        told.append((done, total))
        if done == 2:
            stop.set()

    done, documents = exported(
        cases, tmp_path, ("csv", "json", "fhir"), progress=progress, stop=stop
    )
    assert told == [(1, 4), (2, 4)]
    assert done.cancelled
    assert "results.csv" in documents
    assert not [name for name in documents if name.startswith("fhir/")]


def test_one_vanished_photograph_does_not_cost_the_others(cases, tmp_path):
    gone = replace(cases[0], source=tmp_path / "gone.jpg")
    done, documents = exported([gone, cases[1]], tmp_path, ("overlays", "dicom"))
    assert any("gone" in p or "no such file" in p for p in done.problems)
    assert len([name for name in documents if name.endswith("overlay.jpg")]) == 1
    assert len([name for name in documents if name.startswith("dicom/")]) == 2


def test_burnt_in_pictures_stay_unless_asked_for(cases, tmp_path):
    burnt = [replace(c, report=replace(c.report, burned_in=True)) for c in cases[:3]]
    done, documents = exported(burnt, tmp_path, ("pdf", "overlays", "dicom"))
    assert not [name for name in documents if "overlay." in name]
    assert len([name for name in documents if name.endswith("-report.dcm")]) == 2
    assert any("pictures of 3 photographs" in problem for problem in done.problems)
    _, documents = exported(burnt, tmp_path, ("overlays",), privacy=Disclosure(burned_in=True))
    assert len([name for name in documents if name.endswith("overlay.jpg")]) == 3


def test_deidentified_pictures_are_black_outside_the_retina(cases, tmp_path):
    fov = cases[0].report.field_of_view
    white = np.full((fov_height := cases[0].report.height, cases[0].report.width, 3), 255, np.uint8)
    masked = retina_only(white, fov)
    assert fov.found
    assert masked[0, 0].max() == 0
    assert masked[fov_height // 2, cases[0].report.width // 2].min() == 255
    assert not retina_only(white, replace(fov, found=False)).any()


def test_full_disk_is_a_sentence(cases, tmp_path):
    with pytest.raises(SourceError, match="cannot be written"):
        write_export(cases, ("csv",), tmp_path / "no" / "export", made_at=MADE_AT)
    with pytest.raises(SourceError, match="choose photographs"):
        write_export([], KINDS, tmp_path / "export", made_at=MADE_AT)
    with pytest.raises(SourceError, match="choose photographs"):
        write_export(cases, (), tmp_path / "export", made_at=MADE_AT)


def test_archive_gives_the_same_bytes_for_the_same_content(tmp_path):
    for number in (1, 2):
        with ExportArchive(tmp_path / f"{number}.zip", MADE_AT) as archive:
            archive.add("a", "b.csv", "x")
            assert archive.add("a", "B.csv", "y") == "a/B-2.csv"
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


def test_patients_are_grouped_right_eye_first(cases):
    first, second, third, broken = (
        replace(case, report=replace(case.report, exam_date=None)) for case in cases
    )
    other = replace(first, report=replace(first.report, patient="zq-4711"))
    groups = by_visit([third, other, broken, second])
    assert [visit.members for visit in groups] == [(third, second, other), (broken,)]


def test_result_of_a_photograph_is_json_whatever_happened(cases):
    read = json.loads(result_json(cases[0]))
    assert read["score"] == pytest.approx(cases[0].report.score)
    assert read["decisions"][0]["note"] == "Mr Quartermain, ZQ-4711"
    assert read["marks"][0]["lesion"] == "other"
    failed = json.loads(result_json(cases[3]))
    assert (failed["status"], failed["score"], failed["sha256"]) == ("failed", None, None)
    hidden = result_json(cases[0], Disclosure(deidentified=True))
    assert not [secret for secret in SECRETS if secret in hidden]
