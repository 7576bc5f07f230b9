"""An Orthanc of the tests' own: a real archive on free ports of this computer."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
AE_TITLE = "ORTHANC"
USER, PASSWORD = "drcore", "a password of the tests"


def program() -> str | None:
    """The path of Orthanc."""
    return shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Orthanc:
    """An archive.

    Attributes:
        folder: with its configuration, storage and log.
        dicom_port, http_port: on 127.0.0.1; both stay over a restart.
        extra: what its configuration has beside.
    """

    folder: Path
    dicom_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    extra: Mapping[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def web(self) -> str:
        """Root of its DICOMweb services."""
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "Name": "tests", "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"), "Plugins": [str(PLUGIN)],
            "HttpPort": self.http_port, "DicomPort": self.dicom_port, "DicomAet": AE_TITLE,
            "DicomCheckCalledAet": True, "DicomAlwaysAllowEcho": False,
            "DicomAlwaysAllowStore": False, "DicomAlwaysAllowFind": False,
            "DicomAlwaysAllowGet": False, "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True, "RegisteredUsers": {USER: PASSWORD},
            "DicomModalities": {
                "drcore": {"AET": "DRCORE", "Host": "127.0.0.1", "Port": 4,
                           "AllowEcho": True, "AllowStore": True, "AllowFind": True,
                           "AllowGet": True, "AllowMove": True},
            },
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
            **self.extra,
        }  # fmt: skip
        (self.folder / "storage").mkdir(exist_ok=True, parents=True)
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps(settings))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(program()), str(configuration)], stdout=log, stderr=log, cwd=self.folder
            )
        end = time.monotonic() + 60
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.dicom_port), 1):
                self.rest("/system")
        except OSError:
            return False
        return True

    def rest(self, path: str, method: str = "GET", body: bytes | None = None) -> Any:
        """Ask its own REST interface, behind the back of what is tested."""
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        url = f"http://127.0.0.1:{self.http_port}"
        passwords.add_password(None, url, USER, PASSWORD)
        opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
        request = urllib.request.Request(f"{url}{path}", data=body, method=method)  # noqa: S310
        with opener.open(request, timeout=30) as answer:
            data = answer.read()
        return json.loads(data) if data[:1] in (b"[", b"{") else data

    def sop_instances(self) -> list[str]:
        """The SOP Instance UIDs that it holds."""
        found = self.rest("/instances?expand")
        return sorted(one["MainDicomTags"]["SOPInstanceUID"] for one in found)

    def clear(self) -> None:
        """Delete all that it holds."""
        for patient in self.rest("/patients"):
            self.rest(f"/patients/{patient}", "DELETE")

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def orthanc_server(folder: Path, **extra: Any) -> Iterator[Orthanc]:
    """Run an Orthanc with the DICOMweb plugin; skips where there is none.

    Args:
        folder: empty; for its files.
        extra: of its configuration.
    """
    if program() is None or not PLUGIN.is_file():
        pytest.skip("there is no Orthanc: install Debian's packages orthanc and orthanc-dicomweb")
    server = Orthanc(folder, extra=extra)
    try:
        server.start()
        yield server
    finally:
        server.kill()
