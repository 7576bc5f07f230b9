"""The PACS servers that this viewer may talk to."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from drcore.errors import PacsError
from viewer.server.settings import pacs_file

if TYPE_CHECKING:
    from drcore.pacs.connection import Connection
    from drcore.pacs.servers import DicomServer, WebServer

TRIES = 3
"""Times that a server is tried while somebody waits."""


def configured() -> bool:
    """Whether DRCORE_PACS names a file, and the extra `pacs` is installed."""
    return bool(pacs_file()) and _installed()


def servers() -> dict[str, DicomServer | WebServer]:
    """Return the servers by name, as the file stands now.

    Raises:
        DrcoreError: it is missing, or not what it should be.
    """
    from drcore.pacs.servers import load_servers

    return load_servers(pacs_file())


def connection(name: str) -> Connection:
    """Return the connection to a server of the file.

    Raises:
        DrcoreError: there is no such server any more, or its login is not set.
    """
    from drcore.pacs.connection import Patience, connect

    found = servers().get(name)
    if found is None:
        raise PacsError("This PACS is no longer in the file of DRCORE_PACS. Reload the page.")
    return connect(found, Patience(tries=TRIES))


@cache
def _installed() -> bool:
    return all(find_spec(package) for package in ("dicomweb_client", "pynetdicom", "pydicom"))
