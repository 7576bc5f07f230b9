"""Associations with an archive: opened, bounded, closed, and what went wrong in a sentence."""

from __future__ import annotations

import logging
import socket
import ssl
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.presentation import PresentationContext, build_context, build_role

from drcore.errors import PacsError
from drcore.pacs.servers import DicomServer, Tls
from drcore.photographs.photograph import MAX_BYTES
from drcore.text import one_line, printable

__all__ = ["MAX_CONTEXTS", "MAX_PDU", "associated", "bounds", "broke_off", "refusal"]

logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)  # our errors say it better
warnings.filterwarnings("ignore", module=r"pydicom\.")  # of values that archives write
_config.LOG_HANDLER_LEVEL = "none"
_config.STORE_SEND_CHUNKED_DATASET = True  # files leave byte for byte, and not through memory

MAX_CONTEXTS = 128
MAX_PDU = 1 << 17
"""Bytes of a message's part that we take at once."""

Handler = tuple[evt.EventType, Callable[..., Any]] | tuple[evt.EventType, Callable[..., Any], Any]


@contextmanager
def associated(
    server: DicomServer,
    contexts: Sequence[tuple[str, Sequence[str]]],
    *,
    receives: Sequence[str] = (),
    handlers: Sequence[Handler] = (),
) -> Generator[Association]:
    """Hold an association with an archive while the block runs.

    Args:
        server: the archive.
        contexts: SOP classes with the transfer syntaxes of one presentation context each.
        receives: SOP classes of which objects may be sent to us over it (C-GET).
        handlers: of events.

    Yields:
        The association; released when the block ends, aborted when it raises.

    Raises:
        PacsError: there is no association, and why.
    """
    ae = AE(server.calling_ae_title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = server.timeout
    ae.connection_timeout = server.timeout
    roles = [build_role(sop_class, scu_role=True, scp_role=True) for sop_class in receives]
    rejections: list[A_ASSOCIATE_RJ] = []

    def look(event: evt.Event) -> None:
        # One that comes at once is taken for a failure to connect by pynetdicom 3.0.
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            rejections.append(event.pdu)

    try:
        association = ae.associate(
            server.host, server.port, _contexts(contexts), server.ae_title, MAX_PDU, [*roles],
            tls_args=None if server.tls is None else (_tls(server.tls, server.name), server.host),
            evt_handlers=[*bounds(MAX_BYTES), (evt.EVT_PDU_RECV, look), *handlers],
        )  # fmt: skip
    except OSError as error:  # its host has no address
        raise _unreachable(server) from error
    if not association.is_established:
        raise _rejected(rejections[0], server) if rejections else _why_not(association, server)
    _keep_answers(association)
    try:
        yield association
    except BaseException:
        association.abort()
        raise
    association.release()


def _keep_answers(association: Association) -> None:
    """Let no answer be lost to the thread of an association.

    Between messages that thread looks for requests of the peer. It is paused for each message, but
    in pynetdicom 3.0 may pass its pause once more and then throws away the answer that it finds. We
    are asked nothing over an association that we began, so it needs to find nothing.
    """
    dimse: Any = association.dimse
    get = dimse.get_msg
    dimse.get_msg = lambda block=False: get(block=True) if block else (None, None)


def _contexts(contexts: Sequence[tuple[str, Sequence[str]]]) -> list[PresentationContext]:
    return [build_context(sop_class, list(syntaxes)) for sop_class, syntaxes in contexts]


def bounds(limit: int) -> list[Handler]:
    """Return handlers that end an association whose peer sends more than is taken.

    A PDU states its own length, which pynetdicom reads into memory whatever it is, and so does a
    message of many PDUs.

    Args:
        limit: bytes of a message at most.
    """

    def opened(event: evt.Event) -> None:
        transport: Any = event.assoc.dul.socket
        # Command and data are two small packets: the second would wait for the first's answer.
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        receive = transport.recv
        count = 0

        def bounded(size: int) -> bytearray:
            nonlocal count
            count += size
            if size > 2 * MAX_PDU or count > limit + (1 << 20):
                raise OSError("more than is taken")
            data: bytearray = receive(size)
            return data

        def complete(_event: evt.Event) -> None:
            nonlocal count
            count = 0

        transport.recv = bounded
        event.assoc.bind(evt.EVT_DIMSE_RECV, complete)

    return [(evt.EVT_CONN_OPEN, opened)]


def _tls(tls: Tls, name: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        context.check_hostname = tls.check_name
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key, password="")
    except (OSError, ValueError) as error:
        files = ", ".join(Path(file).name for file in (tls.ca, tls.certificate, tls.key) if file)
        raise PacsError(
            f"{name}: a certificate or key cannot be used ({one_line(error)}). Give PEM files "
            f"without a password: {files}."
        ) from error
    return context


# --- what went wrong ----------------------------------------------------------------------------

_REJECTED = {
    (1, 3): "it does not know our AE title {ours}. Register it there, or set calling_ae_title",
    (1, 7): "it is not called {theirs}. Correct ae_title",
    (3, 1): "it is too busy",
    (3, 2): "it has as many associations as it allows",
}


def _where(server: DicomServer) -> str:
    return f"{server.name} ({server.host}:{server.port})"


def _rejected(answer: A_ASSOCIATE_RJ, server: DicomServer) -> PacsError:
    why = _REJECTED.get(
        (answer.source or 0, answer.reason_diagnostic or 0),
        "it refuses associations with {ours}. Ask who runs the archive",
    ).format(ours=server.calling_ae_title, theirs=server.ae_title)
    passing = answer.result == 2 or answer.source == 3
    return PacsError(
        f"{_where(server)}: the association was refused: {why}.{' Try again later.' * passing}",
        is_outage=passing,
    )


def _why_not(association: Association, server: DicomServer) -> PacsError:
    where = _where(server)
    if association.rejected_contexts:
        return PacsError(
            f"{where}: it offers nothing of what was asked for (C-ECHO, C-FIND, C-GET or C-STORE). "
            "Ask who runs the archive to allow it."
        )
    return _unreachable(server)


def _unreachable(server: DicomServer) -> PacsError:
    """Find out by a connection of our own; the association does not tell."""
    where = _where(server)
    try:
        with socket.create_connection((server.host, server.port), server.timeout) as connection:
            if server.tls is not None:
                context = _tls(server.tls, server.name)
                context.wrap_socket(connection, server_hostname=server.host).close()
    except ssl.SSLCertVerificationError as error:
        why = printable(one_line(error.verify_message))
        return PacsError(f"{where}: its certificate is not trusted ({why}). Correct tls.ca.")
    except ssl.SSLError as error:
        return PacsError(f"{where}: encryption fails ({one_line(error)}). Check the tls settings.")
    except socket.gaierror:
        return PacsError(f"{where}: there is no such host. Correct host, or check the network.")
    except TimeoutError:
        return broke_off(server, "it does not answer in time")
    except OSError as error:
        return broke_off(server, f"it cannot be reached ({error.strerror or 'no connection'})")
    return broke_off(
        server, "it takes the connection, but gives no answer to an association. Check port and tls"
    )


def broke_off(server: DicomServer, why: str = "") -> PacsError:
    """Return the error of a server that does not answer, or breaks off."""
    reason = why or f"it broke off, or gave no answer within {server.timeout:g} s"
    return PacsError(f"{_where(server)}: {reason}. Try again later.", is_outage=True)


def refusal(status: Dataset) -> tuple[str, bool]:
    """Say why an archive refused what was asked, and whether it may do it later.

    Args:
        status: its answer.
    """
    code = int(status.Status)
    comment = printable(one_line(status.get("ErrorComment") or "", 80))
    told = f" (status {code:04X}{', ' + comment if comment else ''})"
    if code & 0xFF00 == 0xA700:
        return f"the archive has no room for it now{told}. Try again later.", True
    known = {
        0x0111: "the archive has another object of this UID",
        0x0122: "the archive does not take this kind of object",
        0x0124: "the archive does not allow it",
    }
    return f"{known.get(code, 'the archive refuses it')}{told}. Ask who runs the archive.", False
