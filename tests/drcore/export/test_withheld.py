"""Nothing burnt in leaves de-identified: pictures that are left out, held back, and let go."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pydicom
import pypdf
import pytest
from PIL import Image, ImageDraw, ImageFont

from drcore.export import withheld
from drcore.export.case import Case
from drcore.export.deidentification import Disclosure
from drcore.export.export import KINDS, write_export
from drcore.export.pictures import illustrate
from drcore.export.withheld import PictureWithheldError, known_writing
from drcore.photographs.dicom_reader import photographs_in

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pytest lifts drcore's filter

MADE_AT = datetime(2026, 3, 4, 5, 6, 8, tzinfo=UTC)
HIDDEN = Disclosure(deidentified=True)


def inscribed(rgb, text="Quartermain 02.01.60", at=None):
    """A photograph with a name burnt in: on the retina, or where `at` says."""
    image = Image.fromarray(np.array(rgb))
    height, width = rgb.shape[:2]
    font = ImageFont.load_default(16)
    place, anchor = (at, "lt") if at else ((width // 2, height // 2), "mm")
    ImageDraw.Draw(image).text(place, text, fill=(255, 255, 255), font=font, anchor=anchor)
    return np.array(image)


@pytest.fixture(scope="module")
def make(grader, encoded):
    def made(rgb, name="Zebulon_OD.png"):
        data = encoded(rgb, "PNG")
        return Case(grader.grade(data, name=name), data)

    return made


@pytest.fixture(scope="module")
def cases(make, phantom):
    """A clean photograph, one with a name on the retina, one without a rim."""
    clean, named, close = (phantom(seed=seed, size=512).rgb for seed in (1, 2, 3))
    return [
        make(clean),
        make(inscribed(named), "Albert_OS.png"),
        make(np.array(close)[150:362, 150:362], "Carla_OD.png"),
    ]


def exported(cases, tmp_path, kinds=KINDS, **options):
    file = tmp_path / "export"
    done = write_export(cases, kinds, file, made_at=MADE_AT, **options)
    if done.ending != ".zip":
        return done, {f"only{done.ending}": file.read_bytes()}
    with zipfile.ZipFile(file) as archive:
        return done, {name: archive.read(name) for name in archive.namelist()}


def pictures(pdf: bytes) -> int:
    return sum(len(page.images) for page in pypdf.PdfReader(io.BytesIO(pdf)).pages)


def test_pictures_without_a_rim_and_with_writing_stay_behind(cases, tmp_path):
    assert not cases[2].report.field_of_view.found
    done, documents = exported(cases, tmp_path, ("pdf", "overlays"), privacy=HIDDEN)
    hashes = [case.report.sha256 for case in cases]
    assert done.held_back == (hashes[1],)
    overlays = [name for name in documents if name.endswith("overlay.jpg")]
    assert [hashes[0][:16] in name for name in overlays] == [True]
    shown = {h: pictures(documents[f"reports/{h[:16]}-report.pdf"]) for h in hashes}
    assert list(shown.values()) == [2, 0, 0]
    about = documents["about.txt"].decode()
    for sentence in done.problems:
        assert sentence in about
    assert any(p.startswith(hashes[1][:16]) and "writing on the retina" in p for p in done.problems)
    assert any(p.startswith(hashes[2][:16]) and "no rim" in p for p in done.problems)
    assert len(done.problems) == 2  # each once, whatever was made of them
    reports = [documents[f"reports/{h[:16]}-report.pdf"] for h in hashes[1:]]
    texts = [" ".join(pypdf.PdfReader(io.BytesIO(r)).pages[0].extract_text().split())
             for r in reports]  # fmt: skip
    assert "held back" in texts[0]
    assert "left out" in texts[1]


def test_a_person_lets_a_picture_go(cases, tmp_path):
    confirmed = frozenset(case.report.sha256 for case in cases)
    privacy = Disclosure(deidentified=True, confirmed=confirmed)
    done, documents = exported(cases, tmp_path, ("overlays",), privacy=privacy)
    assert done.held_back == ()
    # Nobody can confirm what the picture around the retina shows.
    assert len([name for name in documents if name.endswith("overlay.jpg")]) == 2
    assert ["no rim" in problem for problem in done.problems] == [True]


def test_plain_exports_are_not_held_back(cases, tmp_path):
    done, documents = exported(cases, tmp_path, ("overlays",))
    assert done.held_back == done.problems == ()
    assert len([name for name in documents if name.endswith("overlay.jpg")]) == 3


def test_writing_beside_the_retina_is_blackened_and_holds_nothing_back(make, phantom):
    rgb = np.array(phantom(seed=4, size=512).rgb)
    wide = np.zeros((512, 800, 3), np.uint8)
    wide[:, 144:656] = rgb
    case = make(inscribed(wide, at=(4, 6)))
    report = case.report
    assert report.field_of_view.found
    picture = illustrate(HIDDEN.apply(case), HIDDEN).photograph
    assert not picture[~report.field_of_view.mask(*picture.shape[:2])].any()
    assert not known_writing(report).found


def test_small_writing_on_a_large_photograph_is_found_before_it_is_made_smaller(make, phantom):
    large = np.asarray(
        Image.fromarray(np.array(phantom(seed=5, size=512).rgb)).resize((2400, 2400))
    )
    case = make(inscribed(large))
    with pytest.raises(PictureWithheldError, match="held back") as raised:
        illustrate(HIDDEN.apply(case), HIDDEN)
    assert raised.value.sha256 == case.report.sha256
    assert raised.value.why == "writing"


def test_dicom_overlays_are_held_back_too(grader, phantom, dicom_of, tmp_path):
    rgb = inscribed(phantom(seed=2, size=512).rgb)
    [(name, source)] = photographs_in(dicom_of(rgb), "eye.dcm")
    case = Case(grader.grade(source, name=name), source)
    done, documents = exported([case], tmp_path, ("dicom",), privacy=HIDDEN)
    kinds = [pydicom.dcmread(io.BytesIO(data)).Modality for name, data in documents.items()
             if name.endswith(".dcm")]  # fmt: skip
    assert kinds == ["SR"]
    assert done.held_back == (case.report.sha256,)


def test_tables_alone_look_at_no_picture(cases, tmp_path, monkeypatch):
    monkeypatch.setattr(withheld, "read_photograph", lambda *_, **__: pytest.fail("read"))
    done, _ = exported(cases, tmp_path, ("csv", "json", "dicom", "fhir"), privacy=HIDDEN)
    assert done.held_back == ()


def test_each_photograph_is_searched_once(cases, tmp_path, monkeypatch):
    searched = []
    find = withheld.find_writing
    monkeypatch.setattr(withheld, "find_writing", lambda rgb: searched.append(1) or find(rgb))
    withheld._found.clear()
    exported(cases, tmp_path, ("pdf", "overlays"), privacy=HIDDEN)
    assert len(searched) == 2  # the one without a rim is not searched


def test_a_photograph_without_a_field_of_view_stays_behind(cases):
    report = replace(cases[0].report, field_of_view=None)
    with pytest.raises(PictureWithheldError, match="no rim"):
        withheld.released(np.zeros((9, 9, 3), np.uint8), report, HIDDEN)
    assert known_writing(report) is None


def test_archive_of_overlays_says_what_it_left_out(cases, tmp_path):
    done, _ = exported(cases, tmp_path, ("overlays",), privacy=HIDDEN)
    assert ["held back" in p or "left out" in p for p in done.problems] == [True, True]


def test_a_photograph_that_changed_is_not_looked_at(cases, encoded, phantom, tmp_path):
    changed = replace(cases[0], source=encoded(inscribed(phantom(seed=9, size=512).rgb), "PNG"))
    withheld._found.clear()
    done, documents = exported([changed], tmp_path, ("overlays",), privacy=HIDDEN)
    assert any("changed since it was graded" in problem for problem in done.problems)
    assert not [name for name in documents if name.endswith("overlay.jpg")]
    assert known_writing(changed.report) is None
