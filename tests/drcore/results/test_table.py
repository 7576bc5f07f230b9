"""Tables as CSV and Parquet, here and in a bucket."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import requests
from pyarrow import parquet

import drcore.results.table
import drcore.sources.remote
from drcore.batch.pipeline import grade_batch
from drcore.errors import SourceError
from drcore.grading.grader import Grader
from drcore.results.columns import COLUMNS, Row
from drcore.results.csv_file import CsvFile
from drcore.results.parquet import csv_to_parquet, parquet_to_csv
from drcore.results.table import open_table
from drcore.sources.find import find_photographs


@pytest.fixture
def rows(tiny_grader: Grader, folder: Path) -> list[Row]:
    """A graded, an ungradable and a failed row among others, and a hostile name."""
    (folder / '=cmd|\'!A0, "x".jpg').write_bytes(b"x")
    (folder / "\udcff \u773c.jpg").write_bytes(b"x")
    return [row for row, _ in grade_batch(tiny_grader, find_photographs([folder]))]


def _csv(rows: list[Row], file: Path) -> Path:
    with CsvFile(file, overwrite=True) as table:
        table.start()
        for row in rows:
            table.append(row)
    return file


def _write(where: str, rows: list[Row], **options: bool) -> None:
    with open_table(where, **options) as table:
        table.start()
        for row in rows:
            if table.status(row["image"]) is None:
                table.append(row)


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, strict=True))


@pytest.fixture(params=["csv", "parquet", "s3-csv", "s3-parquet"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place of each kind."""
    kind = request.param
    if kind.startswith("s3"):
        request.getfixturevalue("s3")
        return f"s3://clinic/tables/out.{kind[3:]}"
    return str(tmp_path / "tables" / f"out.{kind}")


@pytest.fixture
def cells(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """Reads a table back as the bytes of a CSV; None where there is none."""
    (tmp_path / "tables").mkdir()

    def read() -> bytes | None:
        file = Path(where)
        if where.startswith("s3://"):
            client = request.getfixturevalue("s3")
            file = tmp_path / Path(where).name
            found = client.list_objects_v2(Bucket="clinic", Prefix="tables/").get("Contents", [])
            if not found:
                return None
            client.download_file("clinic", found[0]["Key"], str(file))
        if not file.exists():
            return None
        if file.suffix == ".csv":
            return file.read_bytes()
        parquet_to_csv(file, tmp_path / "back.csv")
        return (tmp_path / "back.csv").read_bytes()

    return read


# --- Parquet ------------------------------------------------------------------------------------


def test_parquet_is_typed_and_gives_the_same_csv_back(rows: list[Row], tmp_path: Path) -> None:
    whole = _csv(rows, tmp_path / "o.csv")
    csv_to_parquet(whole, tmp_path / "o.parquet")
    table = parquet.read_table(tmp_path / "o.parquet").to_pylist()
    assert [row["image"] for row in table] == [row["image"] for row in rows]
    graded = next(row for row in table if row["status"] == "graded")
    assert isinstance(graded["grade"], int)
    assert isinstance(graded["score"], float)
    assert isinstance(graded["referable"], bool)
    failed = next(row for row in table if row["status"] == "failed")
    assert (failed["grade"], failed["score"], failed["referable"]) == (None, None, None)
    parquet_to_csv(tmp_path / "o.parquet", tmp_path / "back.csv")
    assert (tmp_path / "back.csv").read_bytes() == whole.read_bytes()


def test_parquet_of_many_rows_is_written_in_chunks(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drcore.results.parquet.CHUNK", 3)
    monkeypatch.setattr("drcore.results.parquet.BLOCK", 1500)
    whole = _csv(rows, tmp_path / "o.csv")
    csv_to_parquet(whole, tmp_path / "o.parquet")
    with parquet.ParquetFile(tmp_path / "o.parquet") as file:
        assert file.num_row_groups > 1
    parquet_to_csv(tmp_path / "o.parquet", tmp_path / "back.csv")
    assert (tmp_path / "back.csv").read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"image,status\n", b"PAR1" + b"x" * 99 + b"PAR1"]
)
def test_what_is_no_table_is_not_continued(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "o.parquet"
    file.write_bytes(content)
    with pytest.raises(SourceError, match="not a table of this version of drcore"):
        open_table(str(file), resume=True)
    assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


# --- every kind of table ------------------------------------------------------------------------


def test_a_table_is_written_and_continued(
    where: str, cells: Any, rows: list[Row], tmp_path: Path
) -> None:
    whole = _csv(rows, tmp_path / "whole.csv").read_bytes()
    _write(where, rows[:4])
    _write(where, rows, resume=True)
    assert cells() == whole
    _write(where, rows, resume=True)
    assert cells() == whole
    assert not list((tmp_path / "tables").glob("*unfinished*"))


def test_a_table_with_rows_is_only_replaced_when_told(
    where: str, cells: Any, rows: list[Row], tmp_path: Path
) -> None:
    _write(where, [])
    _write(where, rows)  # a table without rows is no obstacle
    whole = cells()
    with pytest.raises(SourceError, match=r"exists\. Continue it with --resume"):
        open_table(where)
    with open_table(where, overwrite=True):
        pass  # never started: the weights did not load
    assert cells() == whole
    _write(where, rows[:2], overwrite=True)
    assert cells() == _csv(rows[:2], tmp_path / "two.csv").read_bytes()


def test_what_was_graded_before_an_error_is_kept(where: str, cells: Any, rows: list[Row]) -> None:
    table = open_table(where)
    table.append(rows[0])
    table.__exit__(RuntimeError, RuntimeError(), None)
    assert cells().count(b"\n") == 2


# --- what is killed, or cannot be written -------------------------------------------------------


def test_a_killed_run_leaves_rows_beside_the_parquet_file(rows: list[Row], tmp_path: Path) -> None:
    where = tmp_path / "o.parquet"
    _write(str(where), rows[:2])
    table = open_table(str(where), resume=True)
    table.start()
    table.append(rows[2])
    table.csv_file.close()  # what a kill does: nothing else is done
    beside = tmp_path / "o.parquet.unfinished.csv"
    assert len(_rows(beside)) == 3
    with pytest.raises(SourceError, match="exists"):
        open_table(str(where))
    assert len(_rows(beside)) == 3, "the rows of the killed run were deleted"
    _write(str(where), rows, resume=True)
    parquet_to_csv(where, tmp_path / "back.csv")
    assert (tmp_path / "back.csv").read_bytes() == _csv(rows, tmp_path / "w.csv").read_bytes()
    assert not beside.exists()


def test_two_runs_cannot_write_one_parquet_file(rows: list[Row], tmp_path: Path) -> None:
    where = str(tmp_path / "o.parquet")
    with open_table(where) as table:
        table.append(rows[0])
        with pytest.raises(SourceError, match="is being written by another run"):
            open_table(where, resume=True)
        table.append(rows[1])
    assert parquet.read_metadata(where).num_rows == 2


@pytest.mark.parametrize("there", [False, True])
def test_a_run_that_is_turned_away_takes_nothing_along(
    rows: list[Row], tmp_path: Path, there: bool
) -> None:
    """The CSV beside, still empty, was deleted under the run that had opened it."""
    where = str(tmp_path / "o.parquet")
    if there:
        _write(where, rows[:1])
    with open_table(where, overwrite=True) as table:
        for options in ({"overwrite": True}, {"resume": True}):
            with pytest.raises(SourceError, match="is being written by another run"):
                open_table(where, **options)
        for row in rows:
            table.append(row)
    assert parquet.read_metadata(where).num_rows == len(rows)
    assert [file.name for file in tmp_path.glob("*o.*")] == ["o.parquet"]


def test_no_other_run_gets_the_rows_before_they_are_in_the_table(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = str(tmp_path / "o.parquet")
    refused = []

    def meanwhile(*arguments: Path) -> None:
        with pytest.raises(SourceError, match="is being written by another run"):
            open_table(where, resume=True)
        refused.append(True)
        csv_to_parquet(*arguments)

    with open_table(where) as table:
        table.append(rows[0])
        monkeypatch.setattr("drcore.results.parquet.csv_to_parquet", meanwhile)
    assert refused
    assert parquet.read_metadata(where).num_rows == 1


def test_a_remote_table_is_written_now_and_then(
    s3: Any, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    def there() -> int:
        body = s3.get_object(Bucket="clinic", Key="o.csv")["Body"].read()
        return int(body.count(b"\n")) - 1

    monkeypatch.setattr(drcore.results.table, "UPLOAD_SHARE", 0)
    with open_table("s3://clinic/o.csv") as table:
        table.start()
        assert there() == 0, "what cannot be written must be known at the start"
        table.append(rows[0])
        assert there() == 0
        monkeypatch.setattr(drcore.results.table, "BETWEEN_UPLOADS", 0.0)
        table.append(rows[1])
        assert there() == 2
    assert there() == 2


def test_an_upload_that_fails_in_between_is_made_up_for(
    s3: Any, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drcore.results.table, "BETWEEN_UPLOADS", 0.0)
    monkeypatch.setattr(drcore.results.table, "UPLOAD_SHARE", 0)
    put = drcore.sources.remote.Remote.put

    def broken(*_: object) -> None:
        raise SourceError("o.csv: the server fails (status 503).")

    with open_table("s3://clinic/o.csv") as table:
        table.start()
        monkeypatch.setattr(drcore.sources.remote.Remote, "put", broken)
        table.append(rows[0])
        monkeypatch.setattr(drcore.sources.remote.Remote, "put", put)
        table.append(rows[1])
    assert s3.get_object(Bucket="clinic", Key="o.csv")["Body"].read().count(b"\n") == 3


def test_rows_that_cannot_be_uploaded_are_kept_here(
    s3: Any, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise SourceError("o.csv: the server fails (status 503).")

    table = open_table("s3://clinic/o.csv")
    table.append(rows[0])
    monkeypatch.setattr(drcore.sources.remote.Remote, "put", broken)
    with pytest.raises(SourceError, match=r"status 503.*The rows are kept in \S+ on") as caught:
        table.__exit__()
    kept = Path(str(caught.value).split("kept in ")[1].split(" on ")[0])
    assert len(_rows(kept)) == 1
    kept.unlink()
    kept.parent.rmdir()


@pytest.mark.parametrize(
    "where", ["s3://no-such-bucket/o.csv", "https://localhost/o.csv", "/nowhere/o.parquet"]
)
def test_places_that_cannot_be_written_are_told_at_the_start(s3: Any, where: str) -> None:
    with pytest.raises(SourceError), open_table(where) as table:
        table.start()


def test_refused_credentials_never_show(s3: Any, s3_server: str) -> None:
    requests.post(f"{s3_server}/moto-api/reset-auth", data="0", timeout=30)
    try:
        with pytest.raises(SourceError, match="access is refused") as caught:
            open_table("s3://clinic/o.csv")
    finally:
        requests.post(f"{s3_server}/moto-api/reset-auth", data="inf", timeout=30)
    assert "of-the-clinic" not in str(caught.value)


def test_columns_are_all_typed() -> None:
    from drcore.results.parquet import _kind

    assert {_kind(column) for column in COLUMNS} == {
        "bool", "int8", "int32", "int64", "float64", "string",
    }  # fmt: skip
