"""The built wheel in a fresh environment: `drcore grade` and `drcore view` from another folder."""

from __future__ import annotations

import csv
import json
import os
import socket
import struct
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

from tests.support.app_server import wait_until_it_answers

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / ".streamlit" / "config.toml"

TELL = """
import json, runpy, sys
from streamlit import config
from streamlit.web import bootstrap
def told(*args, **more):
    print(json.dumps({name: config.get_option(name) for name in json.loads(NAMES)}))
    sys.exit()
for name in ("run", "run_asgi_app"):
    if hasattr(bootstrap, name):
        setattr(bootstrap, name, told)
runpy.run_module("viewer", run_name="__main__")
"""


def settings(values: dict, section: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in values.items():
        name = f"{section}{key}"
        found |= settings(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def in_effect(given: list[str], names: list[str], folder: Path, **environment: str) -> dict:
    """The settings in effect for arguments of `drcore view`, in a folder with other settings."""
    (folder / ".streamlit").mkdir(exist_ok=True)
    (folder / ".streamlit" / "config.toml").write_text(
        '[server]\naddress = "0.0.0.0"\n[browser]\ngatherUsageStats = true\n', encoding="utf-8"
    )
    code = f"NAMES = {json.dumps(names)!r}\n{TELL}"
    done = subprocess.run(
        [sys.executable, "-c", code, *given], cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_setting_is_carried_along_and_arguments_win(tmp_path):
    expected = settings(tomllib.loads(CONFIG.read_text(encoding="utf-8")))
    assert len(expected) > 30
    assert in_effect([], list(expected), tmp_path) == expected
    given = ["--server.port", "8612", "--server.maxUploadSize=50"]
    found = in_effect(given, ["server.port", "server.maxUploadSize", "server.address"], tmp_path)
    assert found == {
        "server.port": 8612, "server.maxUploadSize": 50, "server.address": "127.0.0.1",
    }  # fmt: skip
    variable = {"STREAMLIT_SERVER_MAX_UPLOAD_SIZE": "60"}
    found = in_effect([], ["server.maxUploadSize"], tmp_path, **variable)
    assert found == {"server.maxUploadSize": 60}


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of programs of a fresh environment; it borrows the dependencies of this one."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    built = subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", folder, REPOSITORY],
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    if built.returncode:
        if "hatchling" in built.stderr or "index" in built.stderr:
            pytest.skip("the wheel cannot be built without a package index")
        pytest.fail(built.stderr)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "environment", with_pip=False, symlinks=os.name != "nt")
    programs = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
    (site,) = (folder / "environment").rglob("site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    subprocess.run(
        [*pip, "--python", programs / "python", "install", "--no-deps", wheel],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return programs


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DRCORE_")}
    kept.pop("PYTHONPATH", None)
    return {**kept, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_the_wheel_grades(installed, tmp_path, sample_images):
    command = [
        installed / "drcore",
        "grade",
        sample_images / "phantom_dark_OD.jpg",
        "--csv",
        "a.csv",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader((tmp_path / "a.csv").open(encoding="utf-8"))
    assert row["status"] in {"graded", "ungradable"}


def listeners(port: int) -> set[str]:
    """Addresses at which this computer listens on a port."""
    found = set()
    for table, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, number = local.partition(":")
            if state == "0A" and int(number, 16) == port:
                words = [address[start : start + 8] for start in range(0, len(address), 8)]
                packed = b"".join(struct.pack("=I", int(word, 16)) for word in words)
                found.add(socket.inet_ntop(family, packed))
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_shows_the_viewer(installed, tmp_path):
    client = pytest.importorskip("websockets.sync.client")
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [installed / "drcore", "view", "--server.port", str(port), "--server.headless=true"]
    log = tmp_path / "log"
    (tmp_path / "numpy.py").write_text("raise SystemExit('code of the current folder was run')")
    with log.open("w") as terminal:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment(), stdout=terminal, stderr=terminal
        )
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/_stcore/health", process, log, 180)
        if Path("/proc/net/tcp").exists():
            assert listeners(port) == {"127.0.0.1"}
        url, origin = f"ws://127.0.0.1:{port}/_stcore/stream", f"http://127.0.0.1:{port}"
        with client.connect(url, origin=origin, subprotocols=["streamlit"], max_size=None) as page:
            message = BackMsg()
            message.rerun_script.query_string = ""
            page.send(message.SerializeToString())
            started = ForwardMsg()
            while started.WhichOneof("type") != "new_session":
                started.ParseFromString(page.recv(60))
        config = started.new_session.config
        assert (config.gather_usage_stats, config.max_cached_message_age) == (False, 2)
    finally:
        process.terminate()
        process.wait(60)
    code = (
        "from viewer.model.card import MODEL_CARD; from viewer.review.upload import SAMPLES\n"
        "print(MODEL_CARD, SAMPLES, *(file.name for file in SAMPLES.glob('*.jpg')), sep='\\n')"
    )
    card, samples, *names = subprocess.run(
        [installed / "python", "-P", "-c", code], cwd=tmp_path, env=environment(),
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert Path(card).read_bytes() == (REPOSITORY / "MODEL_CARD.md").read_bytes()
    for file in (Path(card), Path(samples)):
        assert file.is_relative_to(installed.parent)
    assert sorted(names) == sorted(p.name for p in (REPOSITORY / "sample_images").glob("*.jpg"))
