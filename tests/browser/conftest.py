"""One server and one Chromium for all tests in the browser."""

from __future__ import annotations

import pytest
from _pytest.runner import runtestprotocol

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


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """Run a test that failed here once more: on a loaded machine a browser may be too slow once."""
    where = {"nodeid": item.nodeid, "location": item.location}
    item.ihook.pytest_runtest_logstart(**where)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    if any(report.failed for report in reports):
        first = next(report.longreprtext for report in reports if report.failed)
        item._initrequest()
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        for report in reports:
            report.sections.append(("Failed once before", first))
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(**where)
    return True
