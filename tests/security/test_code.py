"""Rules that the code itself must keep, read from its source."""

from __future__ import annotations

import ast
import pickle
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import torch

from drcore.errors import CheckpointError
from drcore.grading.grader import Grader

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("drcore", "viewer", "training")
SOURCES = sorted(file for package in PACKAGES for file in (REPOSITORY / package).rglob("*.py"))

PICKLED = {"pickle", "cPickle", "_pickle", "dill", "joblib", "shelve", "cloudpickle", "marshal"}
READS_PICKLES = {
    "torch.load": "weights_only",
    "np.load": "allow_pickle",
    "numpy.load": "allow_pickle",
    "pd.read_pickle": None,
    "pandas.read_pickle": None,
    "torch.jit.load": None,
    "torch.package.PackageImporter": None,
}
"""Calls that may run what a file says, and the word that makes them safe."""

RUNS_CODE = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load"}
NETWORK = {"requests", "httpx", "aiohttp", "urllib3", "ftplib", "smtplib", "telnetlib", "paramiko"}


def calls(file: Path) -> list[tuple[str, ast.Call]]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [(ast.unparse(n.func), n) for n in ast.walk(tree) if isinstance(n, ast.Call)]


def imports(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def unsafe(call: ast.Call, word: str | None) -> bool:
    """Whether a call that may read a pickle does not forbid it."""
    if word is None:
        return True
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    value = given.get(word)
    wanted = word == "weights_only"
    if value is None:
        return wanted  # numpy forbids pickles by itself
    return not (isinstance(value, ast.Constant) and value.value is wanted)


def test_no_pickle_is_ever_read():
    found = []
    for file in SOURCES:
        found += [f"{file.name}: import {name}" for name in imports(file)
                  if name.split(".")[0] in PICKLED]  # fmt: skip
        found += [
            f"{file.name}:{call.lineno}: {name}"
            for name, call in calls(file)
            if name in READS_PICKLES and unsafe(call, READS_PICKLES[name])
        ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("torch.load(f)", True),
        ("torch.load(f, weights_only=False)", True),
        ("torch.load(f, weights_only=flag)", True),
        ("torch.load(f, weights_only=True)", False),
        ("np.load(f)", False),
        ("np.load(f, allow_pickle=True)", True),
        ("pd.read_pickle(f)", True),
    ],
)
def test_the_search_for_pickles_finds_them(code, found):
    call = ast.parse(code).body[0].value
    assert unsafe(call, READS_PICKLES[ast.unparse(call.func)]) is found


class Bomb:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return Path.touch, (self.place,)


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_weights_that_were_replaced_by_a_pickle_are_refused_and_not_run(
    kind, bundle_folder, tmp_path
):
    folder, fired = tmp_path / "weights", tmp_path / "fired"
    shutil.copytree(bundle_folder, folder)
    for file in folder.glob("*.safetensors"):
        if kind == "pickle":
            file.write_bytes(pickle.dumps(Bomb(fired)))
        else:
            torch.save({"weight": Bomb(fired)}, file)
    with pytest.raises(CheckpointError):
        Grader.from_folder(folder, "cpu")
    assert not fired.exists()


def test_nothing_runs_text_as_code():
    found = [
        f"{file.name}:{call.lineno}: {name}"
        for file in SOURCES
        for name, call in calls(file)
        if name in RUNS_CODE or any(k.arg == "shell" for k in call.keywords)
    ]
    assert found == []


def test_the_viewer_reaches_for_no_network():
    files = [file for file in SOURCES if file.is_relative_to(REPOSITORY / "viewer")]
    assert len(files) > 30
    banned = NETWORK | {"urllib.request", "http.client", "socket"}
    assert not {file.name: imports(file) & banned for file in files if imports(file) & banned}


def test_streamlit_is_never_told_to_trust_html_or_scripts():
    found = [
        f"{file.name}:{call.lineno}"
        for file in SOURCES
        for _, call in calls(file)
        for keyword in call.keywords
        if keyword.arg in {"unsafe_allow_html", "unsafe_allow_javascript"}
    ]
    assert found == []


def test_our_scripts_set_untrusted_text_as_text():
    scripts = sorted((REPOSITORY / "viewer").rglob("*.js"))
    assert len(scripts) > 5
    for file in scripts:
        script = file.read_text(encoding="utf-8")
        assert not re.search(r"\beval\(|new Function|document\.write|insertAdjacentHTML", script)
        script = script.replace("http://www.w3.org/2000/svg", "")  # a name, not an address
        assert not re.search(r"XMLHttpRequest|WebSocket|sendBeacon|https?://", script)
        for made in re.findall(r"(?:inner|outer)HTML\s*=([^;]*);", script):
            # Only constant text: no variable, and no hole but a function that is told nothing.
            constant = re.sub(r"\$\{\w+\(\)\}", "", made)
            pieces = r"""(\s*\+?\s*('[^']*'|"[^"]*"|`[^`$]*`))+\s*"""
            assert re.fullmatch(pieces, constant), f"{file.name}: {made}"


def test_the_settings_of_the_server():
    with (REPOSITORY / ".streamlit/config.toml").open("rb") as file:
        config = tomllib.load(file)
    server = config["server"]
    assert server["address"] == "127.0.0.1"
    assert server["enableXsrfProtection"] is True
    assert server["enableCORS"] is True
    assert server["xsrfCookieSameSite"] == "strict"
    assert server["maxUploadSize"] <= 512
    assert server["enableStaticServing"] is False
    assert server["enableAgentApi"] is False
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"
    assert config["client"]["showErrorLinks"] is False
