"""The export in plain text holds every row and can be checked without drcore."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest

from drcore.cli import main
from drcore.record.checks import verify


def test_every_row_is_there_and_its_digest_can_be_computed(
    record: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "record.zip"
    assert main(["record", "export", str(file), "--record", record]) == 0
    assert "4 decisions, 3 marks, 1 mark withdrawals, 1 identities" in capsys.readouterr().out
    digests = {}
    with zipfile.ZipFile(file) as archive:
        about = archive.read("about.txt").decode()
        for name in archive.namelist():
            if name != "about.txt":
                assert f"{hashlib.sha256(archive.read(name)).hexdigest()}  {name}" in about
        for table in ("decisions", "marks", "mark_withdrawals", "identities", "erasures"):
            rows = [json.loads(line) for line in archive.open(f"{table}.jsonl")]
            cells = io.StringIO(archive.read(f"{table}.csv").decode(), newline="")
            assert [int(row["id"]) for row in csv.DictReader(cells)] == [row["id"] for row in rows]
            for row in rows:  # as about.txt says
                content = {k: v for k, v in row.items() if v is not None and k != "digest"}
                text = json.dumps([table, content], sort_keys=True, separators=(",", ":"))
                assert hashlib.sha256(text.encode("ascii")).hexdigest() == row["digest"]
                digests[table, row["id"]] = row["digest"]
    assert digests == verify(record).digests
    assert main(["record", "export", str(file), "--record", record]) == 1
    assert "--overwrite" in capsys.readouterr().err
