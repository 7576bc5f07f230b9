"""One server and one Chromium for all tests in the browser."""

from __future__ import annotations

import pytest

from tests.support.app_server import app_server, chromium


@pytest.fixture(scope="session")
def batch_root(tmp_path_factory):
    """The folder below which the server grades folders."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="session")
def server(tmp_path_factory, batch_root):
    """The app as a user starts it."""
    environment = {"OMP_NUM_THREADS": "1", "DRCORE_BATCH_ROOT": str(batch_root)}
    with app_server(tmp_path_factory.mktemp("app"), environment) as running:
        yield running


@pytest.fixture(scope="session")
def browser():
    with chromium() as running:
        yield running
