"""A storage server for photographs: C-ECHO and C-STORE, stored before they are confirmed."""

from __future__ import annotations

import shutil
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from drcore.errors import DrcoreError, PacsError, SourceError
from drcore.pacs.association import MAX_PDU, bounds
from drcore.pacs.object_kinds import PHOTOGRAPHS, SYNTAXES, VERIFICATION
from drcore.pacs.received import check_received, file_of, store
from drcore.photographs.photograph import MAX_BYTES
from drcore.sources.sniff import HEAD_BYTES, sniff
from drcore.text import one_line, printable

__all__ = ["Address", "Receiver"]

MOST_ASSOCIATIONS = 10
KEPT_FREE = 512 << 20
"""Bytes of the disk that are left to others."""

_BUSY, _REFUSED = 0xA700, 0xC000
NEGOTIATION_SECONDS, IDLE_SECONDS = 10, 60
"""How long a caller may take to ask for an association, and to send the next message."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a receiver listens, and to whom.

    Attributes:
        host, port: port 0 for any that is free.
        ae_title: under which it must be called.
        accept_from: AE titles that may send.
        certificate, key: PEM files for TLS; both or neither.
        ca: PEM file of the authority whose certificates a peer must show; None to ask for none.
    """

    host: str
    port: int
    ae_title: str
    accept_from: tuple[str, ...]
    certificate: str | None = None
    key: str | None = None
    ca: str | None = None


class Receiver:
    """Takes photographs from those who may send, in threads of its own.

    Args:
        address: where it listens.
        folder: of the files, SOP-INSTANCE-UID.dcm each.
        received: called with each new file, after it is stored and before it is confirmed.
        tell: takes a sentence on what was refused; it names no patient.
        limit: bytes of a file at most.

    Raises:
        PacsError: the address cannot be listened on, or a certificate cannot be used.
    """

    def __init__(
        self,
        address: Address,
        folder: Path,
        received: Callable[[Path], None],
        tell: Callable[[str], None],
        limit: int = MAX_BYTES,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._folder, self._received, self._tell = folder, received, tell
        self._limit = limit
        self._lock = threading.Lock()
        self._ae = AE(address.ae_title)
        self._ae.require_called_aet = True
        self._ae.require_calling_aet = list(address.accept_from)
        self._ae.maximum_associations = MOST_ASSOCIATIONS
        self._ae.maximum_pdu_size = MAX_PDU
        self._ae.acse_timeout = NEGOTIATION_SECONDS
        self._ae.network_timeout = self._ae.dimse_timeout = IDLE_SECONDS
        self._ae.add_supported_context(VERIFICATION)
        for sop_class in PHOTOGRAPHS:
            self._ae.add_supported_context(sop_class, list(SYNTAXES))
        self._server = self._listen(address)

    def _listen(self, address: Address) -> Any:
        handlers = [
            *bounds(self._limit),
            (evt.EVT_C_STORE, self._store), (evt.EVT_REJECTED, self._rejected),
        ]  # fmt: skip
        try:
            return self._ae.start_server(
                (address.host, address.port), block=False, evt_handlers=[*handlers],
                ssl_context=_tls(address),
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise PacsError(
                f"{address.host}:{address.port} cannot be listened on ({one_line(error)}). Choose "
                "another port or address."
            ) from error

    @property
    def port(self) -> int:
        """On which it listens."""
        port: int = self._server.socket.getsockname()[1]
        return port

    def stop(self) -> None:
        """Take no more, and end what is under way."""
        self._server.shutdown()
        for association in self._ae.active_associations:
            association.abort()

    def _rejected(self, event: evt.Event) -> None:
        caller: Any = event.assoc.requestor
        name = printable(one_line(caller.ae_title or "", 20))
        self._tell(f"refused an association with AE title {name!r} from {caller.address}.")

    def _store(self, event: evt.Event) -> Dataset:
        request: Any = event.request
        uid = str(request.AffectedSOPInstanceUID or "")
        try:
            data = event.encoded_dataset()
            check_received(data, uid, sop_class=str(request.AffectedSOPClassUID or ""))
            if sniff(f"{uid}.dcm", data[:HEAD_BYTES]) == "drcore export":
                return self._refuse(_REFUSED, "this object was made by drcore and is not graded")
            return self._keep(uid, data)
        except SourceError as error:
            return self._refuse(_BUSY, str(error))
        except DrcoreError as error:
            return self._refuse(0xA900, str(error))

    def _keep(self, uid: str, data: bytes) -> Dataset:
        with self._lock:  # two associations may bring the same object
            self._folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self._folder).free < len(data) + KEPT_FREE:
                return self._refuse(_BUSY, "the disk is full")
            outcome = store(self._folder, uid, data)
        if outcome == "different":
            return self._refuse(_REFUSED, f"another object of this UID is stored already ({uid})")
        if outcome == "new":
            self._received(file_of(self._folder, uid))
        self.counts["stored" if outcome == "new" else "received again"] += 1
        return _status(0, "")

    def _refuse(self, code: int, why: str) -> Dataset:
        self.counts["refused"] += 1
        self._tell(f"refused an object: {why}")
        return _status(code, why)


def _status(code: int, why: str) -> Dataset:
    status = Dataset()
    status.Status = code
    if why:
        status.ErrorComment = why.encode("ascii", "replace").decode("ascii").replace("\\", "/")[:64]
    return status


def _tls(address: Address) -> ssl.SSLContext | None:
    if address.certificate is None or address.key is None:
        return None
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=address.ca)
        context.load_cert_chain(address.certificate, address.key, password="")
    except (OSError, ValueError) as error:
        raise PacsError(
            f"The certificate, key or authority for TLS cannot be used ({one_line(error)}). Give "
            "PEM files without a password."
        ) from error
    if address.ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context
