"""Names in ZIP and TAR files as they were written."""

from __future__ import annotations

import struct
import tarfile
import unicodedata
import zipfile
import zlib
from pathlib import Path

import pytest

from drcore.grading.statements import source_words
from drcore.photographs.identity import NameRules
from drcore.sources.find import find_inputs, find_photographs
from drcore.sources.member_names import decode_names

NAMES = [
    ("cp932", "検査表.jpg"),  # ends in the byte of a backslash
    ("cp932", "ソ.jpg"),
    ("cp932", "患者A_アイ_左.jpg"),
    ("cp932", "山田太郎/右眼.jpg"),
    ("big5", "王小明_右眼.jpg"),
    ("big5", "功能.jpg"),
    ("gbk", "张伟_右眼.jpg"),
    ("cp949", "홍길동_오른쪽.jpg"),
    ("cp437", "Müller_OD.jpg"),
    ("cp437", "Frédéric à Zürich.jpg"),
    ("cp437", "Ñandú.jpg"),
    ("cp866", "Иванов_OD.jpg"),
    ("cp1251", "Петрова Мария_OD.jpg"),
    ("cp1251", "правый глаз.jpg"),
    ("cp737", "Παπαδόπουλος_OD.jpg"),
    ("cp737", "μάτι δεξί.jpg"),
    ("cp850", "João_OD.jpg"),
    ("cp852", "Dvořák.jpg"),
    ("cp874", "สมชาย_OD.jpg"),
    ("utf-8", unicodedata.normalize("NFD", "Müller_OD.jpg")),
    ("ascii", "10_left.jpg"),
]


@pytest.mark.parametrize(("encoding", "name"), NAMES)
def test_names_are_decoded_as_they_were_written(encoding: str, name: str) -> None:
    assert decode_names([name.encode(encoding)]) == [unicodedata.normalize("NFC", name)]


def test_names_of_one_archive_help_each_other() -> None:
    names = [
        "陳.jpg",
        "王小明_右眼.jpg",
        "病人.jpg",
    ]
    assert decode_names([name.encode("big5") for name in names]) == names


def test_bytes_without_meaning_stay_apart() -> None:
    assert len(set(decode_names([b"\xff\xfe.jpg", b"\xff\xff.jpg"]))) == 2


@pytest.mark.parametrize(("encoding", "name"), NAMES)
def test_no_member_vanishes(tmp_path: Path, encoding: str, name: str) -> None:
    raw = name.encode(encoding)
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("x" * len(raw)), b"content")
    data = (tmp_path / "s.zip").read_bytes().replace(b"x" * len(raw), raw)
    (tmp_path / "s.zip").write_bytes(data)
    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.GNU_FORMAT) as tape:
        entry = tarfile.TarInfo(raw.decode("utf-8", "surrogateescape"))
        tape.addfile(entry)
    for packed in ("s.zip", "s.tar"):
        (found,) = find_photographs([tmp_path / packed])
        assert found.image == f"{packed}/{unicodedata.normalize('NFC', name)}"
        assert not found.problem


@pytest.mark.parametrize(
    ("encoding", "name", "patient"),
    [
        ("cp862", "כהן_OD", None), ("cp1255", "כהן_OD", None), ("cp720", "محمد_OD", None),
        ("cp1256", "محمد_OD", None), ("cp1250", "Dvořák_OD", None), ("cp852", "Łukasz_OD", None),
        ("cp1254", "Şahin_OD", None), ("cp866", "И_OD", None), ("cp1251", "ИВАНОВ_OD", None),
        ("big5", "陳_OD", None), ("cp949", "김_OD", None), ("cp1252", "Søren_OD", None),
        ("cp932", "佐藤花子_OD", "佐藤花子"), ("cp437", "Müller_OD", "Müller"),
        ("utf-8", "כהן_OD", "כהן"),
    ],
)  # fmt: skip
def test_no_patient_is_read_from_letters_that_are_guessed(
    tmp_path: Path, encoding: str, name: str, patient: str | None
) -> None:
    raw = f"{name}_2024-03-01.jpg".encode(encoding)
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("x" * len(raw)), b"content")
    data = (tmp_path / "s.zip").read_bytes().replace(b"x" * len(raw), raw)
    (tmp_path / "s.zip").write_bytes(data)
    identity = find_inputs([tmp_path / "s.zip"]).photographs[0].identity
    assert (identity.laterality, identity.patient) == ("OD", patient)
    origin = "name" if patient else "unsure"
    assert identity.source == f"eye=name patient={origin} date=name"
    asked = find_inputs([tmp_path / "s.zip"], NameRules("(?P<patient>.+)_OD")).photographs[0]
    assert asked.identity.patient_from == "pattern"


def test_an_eye_in_letters_that_are_guessed_is_none() -> None:
    read = NameRules().read("P7右眼.jpg", is_sure=False)
    assert (read.laterality, read.source) == (None, "eye=unsure patient=unsure")
    assert "encoding of the file name is uncertain" in source_words(read.source)


def test_the_name_beside_the_name(tmp_path: Path) -> None:
    """Info-ZIP writes the name in UTF-8 into an extra field."""
    raw, name = b"M?ller.jpg", "M\u00fcller.jpg".encode()
    field = b"\1" + zlib.crc32(raw).to_bytes(4, "little") + name
    entry = zipfile.ZipInfo(raw.decode())
    entry.extra = struct.pack("<HH", 0x7075, len(field)) + field
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr(entry, b"content")
    assert [item.image for item in find_photographs([tmp_path / "s.zip"])] == [
        "s.zip/M\u00fcller.jpg"
    ]
