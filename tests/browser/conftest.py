"""One server and one Chromium for all tests in the browser."""

from __future__ import annotations

import pytest

from tests.support.app_server import app_server, chromium
from tests.support.orthanc import PASSWORD, USER


@pytest.fixture(scope="session")
def batch_root(tmp_path_factory):
    """The folder below which the server grades folders."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="session")
def pacs_file(tmp_path_factory):
    """The file of PACS servers, read anew for each page; nothing answers at the address in it."""
    file = tmp_path_factory.mktemp("pacs") / "pacs.toml"
    file.write_text('[servers.clinic]\nkind = "web"\nurl = "http://127.0.0.1:1/rs"\n')
    return file


@pytest.fixture(scope="session")
def server(tmp_path_factory, batch_root, pacs_file):
    """The app as a user starts it."""
    environment = {
        "OMP_NUM_THREADS": "1", "DRCORE_BATCH_ROOT": str(batch_root),
        "DRCORE_PACS": str(pacs_file), "WEB_USER": USER, "WEB_PASSWORD": PASSWORD,
    }  # fmt: skip
    with app_server(tmp_path_factory.mktemp("app"), environment) as running:
        yield running


@pytest.fixture(scope="session")
def browser():
    with chromium() as running:
        yield running
