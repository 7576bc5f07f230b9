"""A Ray cluster of two nodes on this computer, of which one dies in the middle of a run."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import drcore.batch.ray_cluster
from drcore import logs
from drcore.batch.pipeline import grade_batch
from drcore.batch.ray_cluster import _shares_of, grade_on_cluster
from drcore.cli import main
from drcore.errors import DrcoreError
from drcore.grading.grader import Grader
from drcore.model.bundle import Bundle, save_bundle
from drcore.model.network import PRESETS, RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from drcore.results.columns import Row
from drcore.sources.find import find_photographs
from drcore.sources.source import PhotographSource

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - its own spelling
ray = pytest.importorskip("ray", reason="ray is not installed (extra 'cluster')")

pytestmark = pytest.mark.timeout(900)  # its processes start slowly on a busy machine

STORE = 100 * 1024 * 1024
NODE = {"num_cpus": 1, "object_store_memory": STORE}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    network = RamNetwork(PRESETS["tiny-128"]).eval()
    save_bundle(
        Bundle("tiny", "1", {128: network}, Preprocessing(), (0.5, 1.5, 2.5, 3.5), created="2026"),
        folder,
    )
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head and a second machine, one core each; a dead one is noticed within seconds."""
    from ray.cluster_utils import Cluster

    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000,
             "health_check_failure_threshold": 5}  # fmt: skip
    try:
        made = Cluster(
            initialize_head=True,
            head_node_args={**NODE, "_system_config": quick, "include_dashboard": False},
        )
    except Exception as error:  # noqa: BLE001 - a machine too busy or too closed for it
        pytest.skip(f"Ray does not start here ({type(error).__name__})")
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def photos(tmp_path: Path, jpegs: list[bytes]) -> Path:
    """Two hundred photographs, dark and damaged ones among them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(200):
        data = jpegs[4] if index % 50 == 7 else jpegs[index % 4]
        (folder / f"{index:03d}.jpg").write_bytes(data[:700] if index % 60 == 5 else data)
    return folder


@pytest.fixture
def grader(weights: Path) -> Grader:
    return Grader.from_folder(weights, "cpu")


def _local(grader: Grader, found: list[PhotographSource]) -> list[Row]:
    return [row for row, _ in grade_batch(grader, found)]


def test_rows_are_those_of_one_machine_though_another_dies(
    cluster: Any, photos: Path, weights: Path, grader: Grader, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    lost: list[int] = []
    dead = tmp_path / "dead"

    class Waiting(drcore.batch.ray_cluster._Worker):
        """Begins what comes after the first rows, and ends it when the machine is dead."""

        def grade(self, found: list[PhotographSource], *, maps: bool) -> Any:
            while found[0].image >= "048.jpg" and not dead.exists():
                time.sleep(0.05)
            return super().grade(found, maps=maps)

    class Both(drcore.batch.ray_cluster.WorkerPool):
        """Begins when both machines are ready, and counts what was begun on a dead one."""

        def grade(self, found: Any) -> Any:
            while len(self._ready) < 2:
                self.start()
                self._collect()
            yield from super().grade(found)

        def replace(self, member: Any) -> None:
            lost.extend(chunk.first for chunk in member.chunks.values())
            super().replace(member)

    monkeypatch.setattr(drcore.batch.ray_cluster, "_Worker", Waiting)
    monkeypatch.setattr(drcore.batch.ray_cluster, "WorkerPool", Both)
    second = cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    found = find_photographs([photos])
    rows: list[Row] = []
    log = io.StringIO()
    logs.configure("debug", as_json=True, stream=log)
    with closing(grade_on_cluster(grader, found, weights=weights)) as stream:
        for number, (row, report) in enumerate(stream):
            rows.append(row)
            assert report.scales == ()
            if number == 40:
                cluster.remove_node(second, allow_graceful=False)
                dead.touch()
    assert lost, "the machine had nothing to lose"
    assert log.getvalue().count('"event": "photograph"') == 200
    logs.configure("warning")
    assert rows == _local(grader, found)
    assert len({row["image"] for row in rows}) == 200


def test_a_photograph_that_kills_its_workers_is_a_row(
    cluster: Any, photos: Path, weights: Path, grader: Grader, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deadly(drcore.batch.ray_cluster._Worker):
        def grade(self, found: list[PhotographSource], *, maps: bool) -> Any:
            if any(item.image == "013.jpg" for item in found):
                os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory is short
            return super().grade(found, maps=maps)

    monkeypatch.setattr(drcore.batch.ray_cluster, "_Worker", Deadly)
    monkeypatch.setattr(drcore.batch.ray_cluster, "CHUNK", 16)
    found = find_photographs([photos])[:32]
    with closing(grade_on_cluster(grader, found, weights=weights)) as stream:
        rows = [row for row, _ in stream]
    expected = _local(grader, found)
    assert rows[13]["status"] == "failed"
    assert rows[13]["reason"].startswith("013.jpg: 2 workers died while this photograph was read")
    assert [*rows[:13], *rows[14:]] == [*expected[:13], *expected[14:]]


def test_the_command_line_writes_the_same_table_and_maps(
    cluster: Any, photos: Path, weights: Path, tmp_path: Path
) -> None:
    for file in sorted(photos.iterdir())[40:]:
        file.unlink()
    common = ["grade", str(photos), "--weights", str(weights), "--quiet"]
    tables = {}
    for engine in ("local", "ray"):
        out, maps = tmp_path / f"{engine}.csv", tmp_path / engine
        arguments = [*common, "--csv", str(out), "--maps", str(maps), "--engine", engine]
        assert main(arguments) == 0
        tables[engine] = out.read_bytes(), sorted(file.name for file in maps.iterdir())
        lines = out.read_bytes().splitlines(keepends=True)
        out.write_bytes(b"".join(lines[:20]))
        assert main([*arguments, "--resume"]) == 0
        assert out.read_bytes() == tables[engine][0]
    assert tables["ray"] == tables["local"]
    name = next(name for name in tables["ray"][1] if name.endswith(".npz"))
    with np.load(tmp_path / "ray" / name) as far, np.load(tmp_path / "local" / name) as near:
        np.testing.assert_array_equal(far["ram"], near["ram"])


def test_errors_of_workers_are_sentences(
    cluster: Any, photos: Path, weights: Path, grader: Grader, tmp_path: Path
) -> None:
    found = find_photographs([photos])[:3]
    with (
        pytest.raises(DrcoreError, match=r"no readable manifest\.json"),
        closing(grade_on_cluster(grader, found, weights=tmp_path / "none")) as stream,
    ):
        list(stream)
    grader.bundle = Bundle("other", "2", {}, Preprocessing(), (0.5, 1.5, 2.5, 3.5))
    with (
        pytest.raises(DrcoreError, match="A machine of the cluster has tiny 1, and this one other"),
        closing(grade_on_cluster(grader, found, weights=weights)) as stream,
    ):
        list(stream)


@pytest.mark.parametrize(
    ("resources", "workers"),
    [
        ({}, (0, {}, 0)),
        ({"CPU": 1.0}, (1, {"num_cpus": 1}, 1)),
        ({"CPU": 16.0}, (1, {"num_cpus": 16}, 16)),
        ({"CPU": 64.0}, (4, {"num_cpus": 16}, 16)),
        ({"CPU": 64.0, "GPU": 8.0}, (8, {"num_cpus": 8, "num_gpus": 1}, 8)),
        ({"CPU": 2.0, "GPU": 4.0}, (4, {"num_cpus": 0.5, "num_gpus": 1}, 1)),
    ],
)
def test_each_accelerator_or_group_of_cores_has_a_worker(
    resources: dict[str, float], workers: tuple[int, dict[str, float], int]
) -> None:
    assert _shares_of(resources) == workers


def test_ray_does_not_take_over_how_a_run_is_ended(
    monkeypatch: pytest.MonkeyPatch, grader: Grader
) -> None:
    """It aborted the run at SIGTERM, with workers left behind."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def greedy(**_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        raise ConnectionError

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", greedy)
    with pytest.raises(DrcoreError):
        next(grade_on_cluster(grader, [], address="10.0.0.1:6379"))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_no_cluster_is_a_sentence(monkeypatch: pytest.MonkeyPatch, grader: Grader) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def refused(**_: object) -> None:
        raise ConnectionError("id:secret@host")

    monkeypatch.setattr(ray, "init", refused)
    with pytest.raises(DrcoreError, match=r"There is no Ray cluster at 10\.0\.0\.1:6379"):
        next(grade_on_cluster(grader, [], address="10.0.0.1:6379"))
