"""Google Cloud Storage, played by a small server on this computer that speaks its JSON API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from drcore.batch.pipeline import grade_batch
from drcore.errors import SourceError
from drcore.grading.grader import Grader
from drcore.results.csv_file import CsvFile
from drcore.results.parquet import parquet_to_csv
from drcore.results.table import open_table
from drcore.sources.find import find_photographs
from drcore.sources.prefetch import read_ahead
from drcore.sources.remote_client import file_system

try:
    file_system("gs")  # imports gcsfs as the program does
except SourceError:
    pytest.skip("gcsfs is not installed (extra 'cloud')", allow_module_level=True)

BUCKET = "clinic"


class _Storage(BaseHTTPRequestHandler):
    """Lists, reads in ranges and takes objects; refuses while it is told to."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    refusing = 0

    def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _tell(self, status: int, value: object) -> None:
        self._answer(status, json.dumps(value).encode())

    def _described(self, name: str) -> dict[str, str]:
        return {"kind": "storage#object", "name": name, "bucket": BUCKET,
                "size": str(len(self.objects[name])), "generation": "1"}  # fmt: skip

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))  # gcsfs sends "null"
        address = urlsplit(self.path)
        query = parse_qs(address.query)
        where = address.path.removeprefix("/download").removeprefix("/storage/v1/b/")
        bucket, _, rest = where.partition("/o")
        name = unquote(rest.lstrip("/"))
        if self.refusing or bucket != BUCKET:
            status = self.refusing or 404
            self._tell(status, {"error": {"code": status, "message": "secret of the server"}})
        elif not name:
            prefix = query.get("prefix", [""])[0]
            names = [name for name in sorted(self.objects) if name.startswith(prefix)]
            self._tell(200, {"items": [self._described(name) for name in names]})
        elif name not in self.objects:
            self._tell(404, {"error": {"code": 404, "message": "No such object"}})
        elif query.get("alt") != ["media"]:
            self._tell(200, self._described(name))
        else:
            data, asked = self.objects[name], self.headers.get("Range", "")
            if asked:
                first, _, last = asked.removeprefix("bytes=").partition("-")
                data = data[int(first) : int(last) + 1 if last else None]
            self._answer(206 if asked else 200, data, "application/octet-stream")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        # multipart/related: what the object is called, then what is in it.
        mark = self.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
        about, content = (
            part.partition(b"\n\n")[2].removesuffix(b"\n") for part in body.split(b"--" + mark)[1:3]
        )
        name = json.loads(about)["name"]
        self.objects[name] = content
        self._tell(200, self._described(name))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def gcs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """The objects of a bucket "clinic" that holds the folder of photographs."""
    import fsspec.config

    _Storage.objects = {f"photos/{file.name}": file.read_bytes() for file in folder.iterdir()}
    _Storage.refusing = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Storage)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})  # as FSSPEC_GS_TOKEN does
    kind = type(file_system("gs"))
    kind.clear_instance_cache()
    yield _Storage.objects
    kind.clear_instance_cache()
    server.shutdown()
    server.server_close()


def test_a_bucket_gives_the_rows_of_its_files(
    gcs: dict[str, bytes], tiny_grader: Grader, folder: Path
) -> None:
    plain, found = find_photographs([folder]), find_photographs(["gs://clinic/photos"])
    assert [item.image for item in found] == [item.image for item in plain]
    near, far = (
        [row for row, _ in grade_batch(tiny_grader, items)] for items in (plain, read_ahead(found))
    )
    assert far == near


@pytest.mark.parametrize("name", ["o.csv", "o.parquet"])
def test_a_table_is_written_and_continued(
    gcs: dict[str, bytes], tiny_grader: Grader, folder: Path, tmp_path: Path, name: str
) -> None:
    rows = [row for row, _ in grade_batch(tiny_grader, find_photographs([folder]))]
    for resume, part in ((False, rows[:4]), (True, rows[4:])):
        with open_table(f"gs://clinic/{name}", resume=resume) as table:
            for row in part:
                assert table.status(row["image"]) is None
                table.append(row)
    got = tmp_path / name
    got.write_bytes(gcs[name])
    if name.endswith("parquet"):
        parquet_to_csv(got, tmp_path / "back.csv")
        got = tmp_path / "back.csv"
    with CsvFile(tmp_path / "whole.csv") as table:
        for row in rows:
            table.append(row)
    assert got.read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize(
    ("url", "status", "sentence"),
    [
        ("gs://nobody/photos", 0, "there is no such object, folder or bucket"),
        ("gs://clinic/none", 0, "there is no such object, folder or bucket"),
        ("gs://clinic/photos", 403, "access is refused. Set GOOGLE_APPLICATION_CREDENTIALS"),
    ],
)
def test_what_cannot_be_listed_is_one_sentence(
    gcs: dict[str, bytes], url: str, status: int, sentence: str
) -> None:
    _Storage.refusing = status
    with pytest.raises(SourceError) as caught:
        find_photographs([url])
    assert sentence in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_object_that_is_refused_is_a_row(gcs: dict[str, bytes], tiny_grader: Grader) -> None:
    found = find_photographs(["gs://clinic/photos"])
    _Storage.refusing = 403
    rows = [row for row, _ in grade_batch(tiny_grader, found[:2])]
    assert [row["status"] for row in rows] == ["failed"] * 2
    assert rows[0]["reason"].startswith("00_left.jpg: access is refused. Set GOOGLE_APPLICATION")
