"""The walls between the packages, and what importing the core costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FORBIDDEN = {
    "drcore": {"streamlit", "training", "viewer", "tests"},
    "training": {"streamlit", "viewer", "tests"},
    "viewer": {"training", "tests"},
}


def imported(file: Path) -> set[str]:
    """Top-level names of what a file imports anywhere, in functions and type checks too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(file.parent.name if node.level else (node.module or "").split(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            first = node.args[0]
            names.add(first.value.split(".")[0] if isinstance(first, ast.Constant) else "?")
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_keep_to_their_side(package):
    files = sorted((REPOSITORY / package).rglob("*.py"))
    assert files
    trespass = {str(file): imported(file) & FORBIDDEN[package] for file in files}
    assert not {file: names for file, names in trespass.items() if names}


def test_no_pickle_anywhere():
    for package in FORBIDDEN:
        for file in (REPOSITORY / package).rglob("*.py"):
            assert not imported(file) & {"pickle", "dill", "joblib", "shelve"}, file


def fresh(code: str) -> str:
    """Run code in a new interpreter, outside the repository, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True
    )
    return done.stdout


def test_importing_the_core_imports_nothing_heavy():
    loaded = set(fresh("import drcore, sys; print(*sys.modules, sep='\\n')").split())
    assert "drcore.errors" in loaded
    heavy = {"torch", "cv2", "numpy", "PIL", "pandas", "streamlit", "plotly", "sqlalchemy"}
    assert not loaded & (heavy | {"training", "viewer"})


def test_reading_and_preparing_needs_no_torch():
    modules = (
        "photographs.reader, preprocessing.gradability, preprocessing.network_input, "
        "maps.fusion, maps.overlay, model.bundle"
    )
    imports = "; ".join(f"import drcore.{module}" for module in modules.split(", "))
    loaded = set(fresh(f"{imports}; import sys; print(*sys.modules)").split())
    assert "cv2" in loaded
    assert not loaded & {"torch", "torchvision", "streamlit", "pandas", "tifffile", "skimage"}


def test_public_names_are_there():
    code = (
        "import drcore; from drcore import Grader, GradeReport, DrcoreError, __version__\n"
        "assert set(drcore.__all__) == {'Grader', 'GradeReport', 'DrcoreError', '__version__'}\n"
        "assert Grader.__module__ == 'drcore.grading.grader'\n"
        "try: drcore.nothing\nexcept AttributeError as error: print(error)"
    )
    assert "nothing" in fresh(code)
