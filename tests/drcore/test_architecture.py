"""Which package may import which, and what importing the core costs."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

DRCORE_ALL = {
    "photographs", "preprocessing", "maps", "model", "grading", "sources", "results", "reviews",
    "agreement", "export", "batch", "record", "evaluation", "monitoring", "pacs",
}  # fmt: skip
VIEWER_BASE = {"ui", "server", "worklist", "session", "image_viewer"}

ALLOWED: dict[str, dict[str, set[str]]] = {
    "drcore": {
        "photographs": set(),
        "preprocessing": set(),
        "maps": set(),
        "model": {"preprocessing", "maps"},
        "grading": {"photographs", "preprocessing", "maps", "model"},
        "sources": {"photographs"},
        "results": {"photographs", "maps", "grading", "sources"},
        "batch": {"photographs", "preprocessing", "maps", "model", "grading", "sources", "results"},
        "reviews": set(),
        "record": {"reviews"},
        "agreement": {"reviews"},
        "export": DRCORE_ALL - {"export", "batch", "record", "evaluation", "monitoring", "pacs"},
        "evaluation": DRCORE_ALL - {"evaluation", "export", "record", "monitoring", "pacs"},
        "monitoring": {"model", "results", "reviews", "agreement", "evaluation"},
        "pacs": DRCORE_ALL - {"pacs", "record", "evaluation", "monitoring"},
    },
    "viewer": {
        "ui": set(),
        "server": {"ui"},
        "worklist": {"server"},
        "session": {"ui", "server", "worklist"},
        "image_viewer": {"ui", "worklist", "session", "server"},
        "review": VIEWER_BASE,
        "batch": VIEWER_BASE,
        "export": VIEWER_BASE,
        "agreement": VIEWER_BASE,
        "monitor": VIEWER_BASE,
        "workload": VIEWER_BASE,
        "model": VIEWER_BASE,
    },
    "training": {
        "synthetic": set(),
        "data": {"synthetic"},
        "optimisation": {"data"},
        "evaluation": {"data", "synthetic"},
        "reproduction": {"data", "optimisation", "evaluation"},
        "finest_scale": {"data", "optimisation", "evaluation"},
    },
}
"""By package: the packages beside it that it may import. Root modules may be imported by all."""

ENTRIES = {
    "drcore": {"__init__", "__main__", "cli"},
    "viewer": {"__init__", "__main__", "app", "navigation"},
    "training": {
        "train", "evaluate", "calibrate", "export", "localise", "gradability", "robustness",
        "both_eyes", "sheet", "phantom", "repeats", "halfway", "reproduce", "writing",
        "composites", "cli", "pack", "train_bundle", "finest", "map_scale", "site_proof",
        "reference", "monitoring", "gate",
    },
}  # fmt: skip
"""Root modules that are entries: they may import every package, and no package imports them."""

FORBIDDEN = {
    "drcore": {"streamlit", "training", "viewer", "tests"},
    "training": {"streamlit", "viewer", "tests"},
    "viewer": {"training", "tests"},
}


def files_of(top: str) -> list[Path]:
    files = sorted((REPOSITORY / top).rglob("*.py"))
    assert len(files) > 20, f"{top}: where are its files?"
    return files


def module_of(file: Path) -> str:
    parts = file.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file: Path, *, running: bool = False) -> set[str]:
    """Modules that a file imports, anywhere in it or only while it is being loaded (`running`)."""
    names: set[str] = set()

    def visit(node: ast.AST) -> None:
        if running and (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        ):
            return
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: relative import"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            first = node.args[0]
            names.add(first.value if isinstance(first, ast.Constant) else "?")
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(file.read_text(encoding="utf-8")))
    return names


@pytest.mark.parametrize("top", FORBIDDEN)
def test_the_three_parts_keep_apart(top):
    trespass = {
        module_of(file): {name.split(".")[0] for name in imported(file)} & FORBIDDEN[top]
        for file in files_of(top)
    }
    assert not {module: names for module, names in trespass.items() if names}


@pytest.mark.parametrize("top", ALLOWED)
def test_every_package_has_a_row(top):
    folders = {file.parent for file in files_of(top)}
    packages = {folder.relative_to(REPOSITORY / top).parts[0]
                for folder in folders if folder != REPOSITORY / top}  # fmt: skip
    assert packages == set(ALLOWED[top])
    assert all((REPOSITORY / top / package / "__init__.py").is_file() for package in packages)


@pytest.mark.parametrize("top", ALLOWED)
def test_the_table_has_no_circle(top):
    assert list(graphlib.TopologicalSorter(ALLOWED[top]).static_order())


@pytest.mark.parametrize("top", ALLOWED)
def test_packages_import_only_what_their_row_allows(top):
    trespass: list[str] = []
    for file in files_of(top):
        parts = file.relative_to(REPOSITORY / top).with_suffix("").parts
        package = parts[0] if len(parts) > 1 else ""
        if not package and parts[0] in ENTRIES[top]:
            continue
        for name in sorted(imported(file)):
            target = name.split(".")
            if target[0] != top or len(target) < 2:
                continue
            if (REPOSITORY / top / target[1]).is_dir():
                allowed = ALLOWED[top][package] | {package} if package else set()
            else:
                allowed = set() if target[1] in ENTRIES[top] else {target[1]}
            if target[1] not in allowed:
                trespass.append(f"{module_of(file)} imports {name}")
    assert not trespass


@pytest.mark.parametrize("top", ALLOWED)
def test_modules_import_each_other_in_no_circle(top):
    files = {module_of(file): file for file in files_of(top)}
    graph = {
        module: {name for name in imported(file, running=True) if name in files and name != module}
        for module, file in files.items()
    }
    # Importing a module loads the packages above it; those hold no code, except the root itself.
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_no_pickle_anywhere():
    for top in FORBIDDEN:
        for file in files_of(top):
            roots = {name.split(".")[0] for name in imported(file)}
            assert not roots & {"pickle", "dill", "joblib", "shelve"}, file


def fresh(code: str) -> str:
    """Run code in a new interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True
    )
    return done.stdout


def test_importing_the_core_imports_nothing_heavy():
    loaded = set(fresh("import drcore.cli, sys; print(*sys.modules, sep='\\n')").split())
    assert {"drcore.errors", "drcore.pacs.command"} <= loaded
    heavy = {"torch", "cv2", "numpy", "PIL", "pandas", "streamlit", "plotly", "sqlalchemy",
             "pydicom", "pynetdicom", "dicomweb_client", "requests"}  # fmt: skip
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


MOST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 60


@pytest.mark.parametrize("top", FORBIDDEN)
def test_modules_and_functions_stay_short(top):
    long = []
    for file in files_of(top):
        text = file.read_text(encoding="utf-8")
        if (lines := len(text.splitlines())) > MOST_LINES:
            long.append(f"{module_of(file)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MOST_LINES_OF_A_FUNCTION:
                    long.append(f"{module_of(file)}.{node.name}: {lines} lines")
    assert not long
