"""Identifiers of DICOM files, read without trusting them."""

from __future__ import annotations

import numpy as np
import pytest

from drcore.errors import PhotographError
from drcore.photographs.dicom_elements import MAX_ELEMENTS, is_uid, read_identifiers
from tests.support.photographs import dicom_file

UIDS = {"SOPInstanceUID": "1.2.3.4", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.33"}


@pytest.fixture
def file() -> bytes:
    return dicom_file(np.zeros((8, 8, 3), np.uint8), **UIDS)


def test_all_five_are_read(file):
    found = read_identifiers(file, "a.dcm")
    assert (found.sop_instance, found.study, found.series) == tuple(UIDS.values())
    assert found.sop_class == "1.2.840.10008.5.1.4.1.1.77.1.5.1"
    assert found.transfer_syntax == "1.2.840.10008.1.2.1"


def test_what_is_forged_cut_or_endless_is_a_sentence(file):
    place = file.rindex(b"1.2.3.4")
    bomb = b"\x08\x00\x05\x10SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * MAX_ELEMENTS
    for data, told in (
        (b"", "does not begin"),
        (file[:140], "no UID"),
        (file[:place], "no UID"),
        (file[:place] + b"1.2.3.5" + file[place + 7 :], "two different objects"),
        (file.replace(b"1.2.33", b"1/2.33"), "no UID"),
        (file[:132] + bomb, "more than"),
    ):
        with pytest.raises(PhotographError, match=told):
            read_identifiers(data, "a.dcm")


@pytest.mark.parametrize(
    ("text", "valid"),
    [("1.2.840.01", True), ("1", True), ("", False), ("1..2", False), ("1.2\n", False),
     ("../1", False), ("1." * 32 + "1", False), ("\u0661.2", False)],
)  # fmt: skip
def test_only_digits_and_dots_are_a_uid(text, valid):
    assert is_uid(text) == valid
