"""Archives that run in the tests' own process, and fail as they are told; a small authority."""

from __future__ import annotations

import contextlib
import datetime
import io
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, evt

from drcore.pacs.object_kinds import FETCHED, NATIVE, SYNTAXES
from drcore.pacs.servers import DicomServer
from tests.support.photographs import dicom_file

FIND, GET = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3"
STUDY, SERIES = "1.2.826.0.1.3680043.8.498.7", "1.2.826.0.1.3680043.8.498.8"


def photograph(number: int, **attributes: Any) -> bytes:
    """A small photograph of one series; its SOP Instance UID ends in the number."""
    values = {
        "StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES,
        "SOPInstanceUID": f"{SERIES}.{number}", **attributes,
    }  # fmt: skip
    return dicom_file(np.full((16, 16, 3), number, np.uint8), **values)


def photographs(folder: Path, count: int) -> list[Path]:
    """Files with such photographs, numbered from 1."""
    files = [folder / f"{number}.dcm" for number in range(1, count + 1)]
    for number, file in enumerate(files, start=1):
        file.write_bytes(photograph(number))
    return files


@dataclass
class Archive:
    """What an archive holds, and how it fails.

    Attributes:
        objects: files by SOP Instance UID.
        stored: SOP Instance UIDs in the order in which they came, each time.
        dies_after: stores after which it breaks off once; None for never.
        answers_before_dying: whether it confirms the last one.
        status: of each store.
        gives: how many objects a C-GET sends; None for all.
        disguise: what it sends instead of an object, by SOP Instance UID.
        finds: whether it answers queries.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    stored: list[str] = field(default_factory=list)
    dies_after: int | None = None
    status: int = 0
    gives: int | None = None
    disguise: dict[str, bytes] = field(default_factory=dict)
    finds: bool = True
    port: int = 0

    def server(self, **other: Any) -> DicomServer:
        """How it is reached."""
        values = {
            "name": "clinic", "kind": "dicom", "host": "127.0.0.1", "port": self.port,
            "ae_title": "ARCHIVE", "timeout": 5.0,
        }  # fmt: skip
        return DicomServer(**{**values, **other})

    def hold(self, *files: bytes) -> None:
        """Let it have some files."""
        for data in files:
            self.objects[str(dcmread(io.BytesIO(data)).SOPInstanceUID)] = data

    def store(self, event: evt.Event) -> Dataset:
        """Take an object; or break off, with the object but without an answer."""
        uid = str(event.request.AffectedSOPInstanceUID)
        answer = Dataset()
        answer.Status = self.status
        if self.status == 0:
            self.stored.append(uid)
            self.objects[uid] = event.encoded_dataset()
        if self.dies_after is not None and len(self.stored) >= self.dies_after:
            self.dies_after = None
            event.assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        return answer

    def find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        """Answer a query at any level."""
        asked = event.identifier
        level = asked.QueryRetrieveLevel
        key = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID"}.get(
            level, "SOPInstanceUID"
        )
        seen = set()
        for data in self.objects.values():
            found = dcmread(io.BytesIO(data), stop_before_pixels=True)
            if str(found[key].value) in seen:
                continue
            seen.add(str(found[key].value))
            answer = Dataset()
            for element in asked:
                setattr(answer, element.keyword, found.get(element.keyword, ""))
            answer.QueryRetrieveLevel = level
            yield 0xFF00, answer

    def get(self, event: evt.Event) -> Iterator[Any]:
        """Send objects of the study, as many as it is told."""
        asked = event.identifier
        uids = [
            uid
            for uid, data in self.objects.items()
            if asked.get("SOPInstanceUID", uid) == uid
            and asked.get("SeriesInstanceUID", SERIES).encode() in data
        ][: self.gives]
        yield len(uids)
        for uid in uids:
            found = dcmread(io.BytesIO(self.disguise.get(uid, self.objects[uid])))
            yield 0xFF00, found


@contextlib.contextmanager
def running(
    archive: Archive, tls: ssl.SSLContext | None = None, **settings: Any
) -> Iterator[Archive]:
    """Run an archive on loopback.

    Args:
        archive: whose port is set, unless it has one.
        tls: for encrypted associations alone.
        settings: attributes of pynetdicom's application entity.
    """
    ae = AE("ARCHIVE")
    ae.require_called_aet = True
    for name, value in settings.items():
        setattr(ae, name, value)
    ae.add_supported_context("1.2.840.10008.1.1")
    for kind in FETCHED:
        ae.add_supported_context(kind, list(SYNTAXES), scu_role=True, scp_role=True)
    if archive.finds:
        ae.add_supported_context(FIND, list(NATIVE))
    ae.add_supported_context(GET, [ImplicitVRLittleEndian])
    handlers = [
        (evt.EVT_C_STORE, archive.store), (evt.EVT_C_FIND, archive.find),
        (evt.EVT_C_GET, archive.get),
    ]  # fmt: skip
    server = ae.start_server(
        ("127.0.0.1", archive.port), block=False, evt_handlers=handlers, ssl_context=tls
    )
    archive.port = server.socket.getsockname()[1]
    try:
        yield archive
    finally:
        server.shutdown()


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A server that takes connections and never says a word; yields its port."""
    kept = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(listening.accept()[0])

        threading.Thread(target=take, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    for connection in kept:
        connection.close()


def certificates(folder: Path) -> None:
    """Write ca.pem, and name.pem with name.key for "server" (127.0.0.1) and "client"."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    authority: tuple[Any, Any] | None = None
    for name in ("ca", "server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{name} of the tests")])
        signer, issuer = authority or (key, subject)
        made = (
            x509.CertificateBuilder(issuer, subject, key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
            .add_extension(address, critical=False)
            .sign(signer, hashes.SHA256())
        )
        authority = authority or (key, subject)
        (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )  # fmt: skip
