"""DICOM messages with a real archive."""

from __future__ import annotations

import io
import json
import urllib.error

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from drcore.errors import PacsError
from drcore.pacs.connection import Patience, Query, connect
from drcore.pacs.listen_command import Listener, ListenOptions
from drcore.pacs.receiver import Address
from drcore.pacs.servers import DicomServer, Tls
from tests.support.archives import SERIES, STUDY, certificates, photograph, photographs
from tests.support.orthanc import AE_TITLE, Orthanc, orthanc_server
from tests.support.photographs import dicom_file

ONCE = Patience(tries=1)
FOUND = Query(study_uid=STUDY)


def server(orthanc: Orthanc, **other) -> DicomServer:
    values = {
        "name": "clinic", "kind": "dicom", "host": "127.0.0.1", "port": orthanc.dicom_port,
        "ae_title": AE_TITLE, "timeout": 20.0,
    }  # fmt: skip
    return DicomServer(**{**values, **other})


def encoded_as(syntax: str, number: int) -> bytes:
    """A photograph in a transfer syntax."""
    rgb = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3) // 2 + number
    made = dcmread(io.BytesIO(photograph(number)))
    made.Rows, made.Columns, made.PixelData = 64, 64, rgb.tobytes()
    if syntax in {JPEGBaseline8Bit, JPEG2000, JPEG2000Lossless}:
        stream = io.BytesIO()
        kind = {"format": "JPEG"} if syntax == JPEGBaseline8Bit else {"format": "JPEG2000"}
        Image.fromarray(rgb).save(
            stream, **kind, **({"no_jp2": True} if "2000" in kind["format"] else {})
        )
        made.PixelData = encapsulate([stream.getvalue()])
        made["PixelData"].is_undefined_length = True
        made.file_meta.TransferSyntaxUID = syntax
    elif syntax == RLELossless:
        made.compress(RLELossless, generate_instance_uid=False)
    else:
        made.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    made.save_as(file, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return file.getvalue()


def encapsulated_pdf() -> bytes:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    made.SOPInstanceUID, made.SeriesInstanceUID = f"{SERIES}.99", f"{SERIES}.0"
    made.StudyInstanceUID, made.PatientID, made.Modality = STUDY, "P-7", "DOC"
    made.MIMETypeOfEncapsulatedDocument, made.EncapsulatedDocument = "application/pdf", b"%PDF-1"
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def test_every_kind_and_encoding_comes_back_as_it_was(orthanc, tmp_path):
    syntaxes = (
        ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit, JPEG2000Lossless,
        JPEG2000, RLELossless,
    )  # fmt: skip
    kinds = ("77.1.5.2", "7", "7.4", "77.1.4")
    objects = [encoded_as(syntax, number) for number, syntax in enumerate(syntaxes, start=1)]
    objects += [
        photograph(number, SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{kind}")
        for number, kind in enumerate(kinds, start=20)
    ]
    objects.append(encapsulated_pdf())
    files = [tmp_path / f"{number}.dcm" for number in range(len(objects))]
    for file, data in zip(files, objects, strict=True):
        file.write_bytes(data)
    connection = connect(server(orthanc), ONCE)
    connection.echo()
    assert {sent.outcome for sent in connection.send(files)} == {"sent"}
    (study,) = connection.find(FOUND)
    assert study.instances == len(objects)
    assert set(study.modalities) == {"OP", "DOC"}
    fetched = connection.fetch(study, tmp_path / "fetched")
    assert (fetched.new, fetched.problems) == (len(objects), ())
    for data in objects:
        before = dcmread(io.BytesIO(data))
        after = dcmread(tmp_path / "fetched" / f"{before.SOPInstanceUID}.dcm")
        assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID
        assert after == before


def test_titles_that_it_does_not_know_are_refused(orthanc):
    with pytest.raises(PacsError, match="is not called OTHER"):
        connect(server(orthanc, ae_title="OTHER"), ONCE).echo()
    with pytest.raises(PacsError, match="does not know our AE title NOBODY"):
        connect(server(orthanc, calling_ae_title="NOBODY"), ONCE).echo()


def test_an_archive_that_is_killed_half_way_gets_each_file_once(tmp_path):
    (tmp_path / "archive").mkdir()
    with orthanc_server(tmp_path / "archive") as orthanc:
        files = photographs(tmp_path, 6)

        def kill(settled: int) -> None:
            if settled == 2:
                orthanc.kill()

        connection = connect(server(orthanc), ONCE)
        first = [sent.outcome for sent in connection.send(files, progress=kill)]
        assert first == ["sent", "sent", "failed", "failed", "failed", "failed"]
        orthanc.start()
        second = [sent.outcome for sent in connection.send(files)]
        assert second == ["already there", "already there", "sent", "sent", "sent", "sent"]
        assert orthanc.sop_instances() == [f"{SERIES}.{number}" for number in range(1, 7)]
        fetched = connection.fetch(connection.find(FOUND)[0], tmp_path / "fetched")
        assert fetched.new == 6


def test_tls(tmp_path):
    certificates(tmp_path)
    (tmp_path / "archive").mkdir()
    settings = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(tmp_path / "server.pem"),
        "DicomTlsPrivateKey": str(tmp_path / "server.key"),
        "DicomTlsTrustedCertificates": str(tmp_path / "ca.pem"),
    }
    with orthanc_server(tmp_path / "archive", **settings) as orthanc:
        tls = Tls(
            ca=str(tmp_path / "ca.pem"), certificate=str(tmp_path / "client.pem"),
            key=str(tmp_path / "client.key"),
        )  # fmt: skip
        connection = connect(server(orthanc, tls=tls), ONCE)
        assert [sent.outcome for sent in connection.send(photographs(tmp_path, 2))] == ["sent"] * 2
        assert len(orthanc.sop_instances()) == 2
        with pytest.raises(PacsError, match="Check port and tls"):
            connect(server(orthanc, timeout=2.0), ONCE).echo()


def test_what_it_routes_to_the_listener_comes_back_as_report_and_overlay(
    orthanc, tmp_path, phantom, grader
):
    file = tmp_path / "1.dcm"
    file.write_bytes(dicom_file(phantom(seed=1).rgb, StudyInstanceUID=STUDY))
    connection = connect(server(orthanc), ONCE)
    connection.send([file])
    servers = tmp_path / "servers.toml"
    servers.write_text(
        f'[servers.clinic]\nkind = "dicom"\nhost = "127.0.0.1"\nport = {orthanc.dicom_port}\n'
        f'ae_title = "{AE_TITLE}"\ntimeout = 20\n'
    )
    listener = Listener(
        ListenOptions(
            Address("127.0.0.1", 0, "GRADER", (AE_TITLE,)), tmp_path / "out", send_to="clinic",
            servers=str(servers),
        ),
        grader,
    )  # fmt: skip
    try:
        there = {"AET": "GRADER", "Host": "127.0.0.1", "Port": listener.receiver.port}
        orthanc.rest("/modalities/grader", "PUT", json.dumps(there).encode())
        routed = orthanc.rest("/instances")
        orthanc.rest("/modalities/grader/store", "POST", json.dumps(routed).encode())
        assert listener.work() == 1
        assert listener.outbox.send_once() == ""
        (study,) = connection.find(FOUND)
        assert set(study.modalities) == {"OP", "SR", "OT"}
        with pytest.raises(urllib.error.HTTPError):  # routed on once more, it ends here
            orthanc.rest(
                "/modalities/grader/store", "POST", json.dumps(orthanc.rest("/instances")).encode()
            )
        assert listener.work(patience=0) == 0
    finally:
        listener.close()
