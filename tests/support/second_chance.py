"""A test with a browser or a server in it that failed is run once more before it counts.

On a loaded machine a browser may be too slow once; a fault is there both times.
"""

from __future__ import annotations

import pytest
from _pytest.runner import runtestprotocol

__all__ = ["pytest_runtest_protocol"]

_WITH_SERVERS = ("browser", "pacs", "security")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """Run a test of these directories once more if it failed."""
    if item.path.parent.name not in _WITH_SERVERS:
        return None
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
