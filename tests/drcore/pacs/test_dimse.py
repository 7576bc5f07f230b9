"""DICOM messages, with archives in this process that fail in every way."""

from __future__ import annotations

import ssl

import pytest

from drcore.errors import PacsError
from drcore.pacs.connection import FoundStudy, Patience, Query, connect
from drcore.pacs.servers import Tls
from tests.support.archives import (
    SERIES,
    STUDY,
    Archive,
    certificates,
    photograph,
    photographs,
    running,
    silent,
)  # fmt: skip
from tests.support.orthanc import free_port

ONCE, AGAIN = Patience(tries=1), Patience(tries=2, pause=0.0)
FOUND = FoundStudy(STUDY)


@pytest.fixture
def archive():
    with running(Archive()) as archive:
        yield archive


def outcomes(results):
    return [sent.outcome for sent in results]


# --- associations -------------------------------------------------------------------------------


def test_echo_answers(archive):
    connect(archive.server(), ONCE).echo()


def test_a_wrong_title_is_told_from_an_unknown_caller(archive):
    with pytest.raises(PacsError, match="is not called OTHER") as wrong:
        connect(archive.server(ae_title="OTHER"), ONCE).echo()
    assert not wrong.value.is_outage
    with (
        running(Archive(), require_calling_aet=["SOMEBODY"]) as strict,
        pytest.raises(PacsError, match="does not know our AE title DRCORE") as unknown,
    ):
        connect(strict.server(), ONCE).echo()
    assert not unknown.value.is_outage


def test_a_busy_archive_is_an_outage():
    with running(Archive(), maximum_associations=1) as archive:
        from drcore.pacs.association import associated

        with (
            associated(archive.server(), [("1.2.840.10008.1.1", ["1.2.840.10008.1.2"])]),
            pytest.raises(PacsError, match="as many associations as it allows") as error,
        ):
            connect(archive.server(), ONCE).echo()
    assert error.value.is_outage


def test_what_cannot_be_reached_is_said_with_the_reason(archive):
    with pytest.raises(PacsError, match="cannot be reached") as refused:
        connect(archive.server(port=free_port()), ONCE).echo()
    assert refused.value.is_outage
    with pytest.raises(PacsError, match="no such host"):
        connect(archive.server(host="no-host.invalid"), ONCE).echo()


def test_a_silent_server_is_an_outage_within_its_time(archive):
    with silent() as port, pytest.raises(PacsError, match="gives no answer") as error:
        connect(archive.server(port=port, timeout=0.2), ONCE).echo()
    assert error.value.is_outage


def test_an_archive_that_offers_nothing_asked_for_is_told():
    with (
        running(Archive(finds=False)) as archive,
        pytest.raises(PacsError, match="offers nothing of what was asked for"),
    ):
        connect(archive.server(), ONCE).find(Query(patient_id="P-7"))


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture
def encrypted(tmp_path):
    """An archive that speaks TLS alone and asks callers for a certificate."""
    certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    with running(Archive(), tls=context) as archive:
        yield archive


def tls(folder, **other):
    files = {"ca": "ca.pem", "certificate": "client.pem", "key": "client.key", **other}
    return Tls(**{name: str(folder / file) for name, file in files.items()})


def test_tls_with_certificates_of_both_sides(encrypted, tmp_path):
    connection = connect(encrypted.server(tls=tls(tmp_path)), ONCE)
    connection.echo()
    assert outcomes(connection.send(photographs(tmp_path, 2))) == ["sent", "sent"]
    assert len(encrypted.objects) == 2


def test_a_server_of_another_authority_is_refused(encrypted, tmp_path):
    (tmp_path / "other").mkdir()
    certificates(tmp_path / "other")
    server = encrypted.server(tls=tls(tmp_path, ca="other/ca.pem"))
    with pytest.raises(PacsError, match="certificate is not trusted") as error:
        connect(server, ONCE).echo()
    assert not error.value.is_outage


def test_without_tls_or_with_a_key_that_does_not_fit_nothing_is_sent(encrypted, tmp_path):
    with pytest.raises(PacsError, match="Check port and tls"):
        connect(encrypted.server(timeout=2.0), ONCE).echo()
    with pytest.raises(PacsError, match=r"cannot be used.*server\.key"):
        connect(encrypted.server(tls=tls(tmp_path, key="server.key")), ONCE).echo()


# --- sending ------------------------------------------------------------------------------------


def test_an_archive_that_dies_half_way_gets_each_file_once(archive, tmp_path):
    files = photographs(tmp_path, 5)
    archive.dies_after = 3  # it has the third, and its answer is lost
    first = connect(archive.server(), ONCE).send(files)
    assert outcomes(first) == ["sent", "sent", "failed", "failed", "failed"]
    assert all(sent.is_outage and "Try again" in sent.why for sent in first[2:])
    second = connect(archive.server(), ONCE).send(files)
    assert outcomes(second) == ["already there"] * 3 + ["sent"] * 2
    assert archive.stored == [f"{SERIES}.{number}" for number in (1, 2, 3, 4, 5)]
    assert [archive.objects[f"{SERIES}.{n}"][-768:] for n in (1, 5)] == [
        file.read_bytes()[-768:] for file in (files[0], files[4])
    ]


def test_what_arrived_before_the_answer_was_lost_counts_as_sent(archive, tmp_path):
    archive.dies_after = 2
    settled = []
    results = connect(archive.server(), AGAIN).send(
        photographs(tmp_path, 3), progress=settled.append
    )
    assert outcomes(results) == ["sent"] * 3
    assert len(archive.stored) == 3
    assert settled == [1, 2, 3]


def test_an_archive_without_queries_takes_files_all_the_same(tmp_path):
    with running(Archive(finds=False)) as archive:
        assert outcomes(connect(archive.server(), ONCE).send(photographs(tmp_path, 2))) == [
            "sent", "sent",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "told", "is_outage"),
    [(0xA700, "no room", True), (0xC001, "refuses it", False), (0x0124, "not allow", False)],
)
def test_a_refused_file_says_why(archive, tmp_path, status, told, is_outage):
    archive.status = status
    (sent,) = connect(archive.server(), AGAIN).send(photographs(tmp_path, 1))
    assert (sent.outcome, sent.is_outage) == ("failed", is_outage)
    assert told in sent.why
    assert f"status {status:04X}" in sent.why


def test_a_kind_or_encoding_that_the_archive_does_not_take_fails_alone(archive, tmp_path):
    files = photographs(tmp_path, 2)
    files[0].write_bytes(photograph(1, SOPClassUID="1.2.840.10008.5.1.4.1.1.2"))
    results = connect(archive.server(), ONCE).send(files)
    assert outcomes(results) == ["failed", "sent"]
    assert "takes no SOP class" in results[0].why


def test_bad_files_fail_with_a_sentence_and_the_others_leave(archive, tmp_path):
    good = photographs(tmp_path, 1)[0]
    copy, other, text, empty, cut, forged = (
        tmp_path / name for name in ("copy", "other", "text", "empty", "cut", "forged")
    )
    copy.write_bytes(good.read_bytes())
    other.write_bytes(photograph(9, SOPInstanceUID=f"{SERIES}.1"))
    text.write_text("no DICOM " * 40)
    empty.touch()
    cut.write_bytes(photograph(3)[:200])
    forged.write_bytes(photograph(4).replace(f"{SERIES}.4".encode(), b"../../../etc/x" + b"1" * 16))
    gone = tmp_path / "gone"
    given = [good, copy, other, text, empty, cut, forged, gone]
    results = connect(archive.server(), ONCE).send(given)
    assert [sent.file for sent in results] == given
    assert outcomes(results) == ["sent", "sent", *["failed"] * 6]
    assert "same SOP Instance UID and other content" in results[2].why
    assert all(sent.why.startswith(sent.file.name) for sent in results[2:])
    assert archive.stored == [f"{SERIES}.1"]


# --- finding ------------------------------------------------------------------------------------


def test_keys_that_the_archive_ignores_are_checked_here(archive):
    archive.hold(photograph(1, StationName="CAMERA-1"))
    connection = connect(archive.server(), ONCE)
    (study,) = connection.find(Query(modalities=("OP",)))
    assert (study.study_uid, study.patient_id, study.modalities) == (STUDY, "P-7", ("OP",))
    assert study.patient_name == "Müller^Jane"
    assert connection.find(Query(modalities=("CT", "MR"))) == []
    assert len(connection.find(Query(station="CAMERA-1"))) == 1
    assert connection.find(Query(station="CAMERA-2")) == []


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (Query(), "whole archive is not listed"),
        (Query(patient_id="*"), "whole archive is not listed"),
        (Query(first_date="2026-1-1"), "is no date"),
    ],
)
def test_a_query_for_everything_is_refused(archive, query, told):
    with pytest.raises(PacsError, match=told):
        connect(archive.server(), ONCE).find(query)


def test_hostile_answers_are_one_printable_line(archive):
    archive.hold(photograph(1, PatientID="a\nb\x1b[31m", StudyDescription="x" * 60))
    (study,) = connect(archive.server(), ONCE).find(Query(accession="A-1"))
    assert study.patient_id.isprintable()
    archive.hold(photograph(1, StudyInstanceUID="../../etc"))
    assert connect(archive.server(), ONCE).find(Query(accession="A-1")) == []


# --- fetching -----------------------------------------------------------------------------------


def test_three_of_five_come_and_the_rest_with_the_next_call(archive, tmp_path):
    archive.hold(*(photograph(number) for number in range(1, 6)))
    archive.gives = 3
    connection = connect(archive.server(), ONCE)
    first = connection.fetch(FOUND, tmp_path)
    assert (first.new, first.missing, len(first.files)) == (3, 2, 3)
    assert "did not send 2 of 5" in first.problems[0]
    archive.gives = None
    counted = []
    second = connection.fetch(FOUND, tmp_path, progress=counted.append)
    assert (second.new, second.missing, second.problems) == (2, 0, ())
    assert [file.name for file in second.files] == [f"{SERIES}.{n}.dcm" for n in range(1, 6)]
    assert counted == [1, 2]
    assert connection.fetch(FOUND, tmp_path).new == 0


def test_an_object_of_another_study_or_name_is_not_stored(archive, tmp_path):
    archive.hold(photograph(1), photograph(2), photograph(3))
    archive.disguise = {
        f"{SERIES}.1": photograph(1, StudyInstanceUID="1.2.3"),
        f"{SERIES}.2": photograph(2, SOPInstanceUID="../../2"),
    }
    fetched = connect(archive.server(), ONCE).fetch(FOUND, tmp_path / "a" / "b")
    assert [file.name for file in fetched.files] == [f"{SERIES}.3.dcm"]
    assert (fetched.new, fetched.missing) == (1, 2)
    assert any("another study" in problem for problem in fetched.problems)
    assert any("not asked for" in problem for problem in fetched.problems)
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == [f"{SERIES}.3.dcm"]


def test_what_was_not_asked_for_is_not_stored(archive, tmp_path):
    archive.hold(photograph(1))
    archive.disguise = {f"{SERIES}.1": photograph(7)}
    fetched = connect(archive.server(), ONCE).fetch(FOUND, tmp_path)
    assert (fetched.files, fetched.missing) == ((), 1)
    assert "not asked for" in fetched.problems[0]
    assert list(tmp_path.iterdir()) == []


def test_only_series_of_a_modality_are_fetched(archive, tmp_path):
    archive.hold(photograph(1), photograph(2, SeriesInstanceUID=f"{SERIES}.0", Modality="OPT"))
    fetched = connect(archive.server(), ONCE).fetch(FOUND, tmp_path, modalities=["OPT"])
    assert [file.name for file in fetched.files] == [f"{SERIES}.2.dcm"]


def test_an_archive_that_is_down_raises_and_one_without_queries_still_sends(tmp_path):
    with running(Archive(finds=False)) as archive:
        archive.hold(photograph(1))
        assert connect(archive.server(), ONCE).fetch(FOUND, tmp_path).new == 1
    with pytest.raises(PacsError, match="cannot be reached") as error:
        connect(archive.server(), AGAIN).fetch(FOUND, tmp_path)
    assert error.value.is_outage
