"""Photographs and tables behind URLs: a real S3-compatible server and a web server, on loopback."""

from __future__ import annotations

import io
import socket
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

import drcore.sources.prefetch
import drcore.sources.remote_client
import drcore.sources.remote_listing
from drcore.batch.command import GradeOptions, grade
from drcore.batch.pipeline import grade_batch
from drcore.errors import PhotographError, SourceError
from drcore.grading.grader import Grader
from drcore.sources.find import find_photographs
from drcore.sources.prefetch import Fetched, read_ahead
from drcore.sources.remote import Remote, redacted, remote_of
from drcore.sources.remote_client import was_outage

pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra 'cloud')")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drcore.sources.remote_client, "PAUSE", 0.01)


def _upload(client: Any, folder: Path, prefix: str = "") -> None:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            key = prefix + file.relative_to(folder).as_posix()
            client.put_object(Bucket="clinic", Key=key, Body=file.read_bytes())


def _shards(folder: Path, into: Path) -> list[Path]:
    files = sorted(folder.iterdir())
    with zipfile.ZipFile(into / "s.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for file in files:
            zipped.write(file, file.name)
    for ending, mode in (("tar", "w"), ("tar.gz", "w:gz")):
        with tarfile.open(into / f"s.{ending}", mode) as tape:  # type: ignore[call-overload]
            for file in files:
                tape.add(file, file.name)
    return [into / f"s.{ending}" for ending in ("zip", "tar", "tar.gz")]


def _nameless(grader: Grader, found: Any, **options: Any) -> list[dict[str, str]]:
    return [{**row, "image": ""} for row, _ in grade_batch(grader, found, **options)]


# --- s3 -----------------------------------------------------------------------------------------


def test_a_bucket_gives_the_rows_of_its_files(s3: Any, tiny_grader: Grader, folder: Path) -> None:
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").write_text("no photograph")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.jpg").write_bytes(b"x")
    _upload(s3, folder, "2026/")
    plain = find_photographs([folder])
    found = find_photographs(["s3://clinic/2026/"])
    assert [item.image for item in found] == [item.image for item in plain]
    assert found == find_photographs(["s3://clinic/2026"])
    rows = _nameless(tiny_grader, read_ahead(found), workers=3)
    assert rows == _nameless(tiny_grader, plain)
    assert rows[-1]["reason"] == "empty.jpg: the file is empty. Export the photograph again."


def test_objects_folders_and_this_computer_in_one_run(s3: Any, folder: Path) -> None:
    _upload(s3, folder)
    found = find_photographs(["s3://clinic/03_left.jpg", folder / "03_left.jpg", "s3://clinic/"])
    assert [item.image for item in found[:2]] == [
        "s3://clinic/03_left.jpg", (folder / "03_left.jpg").as_posix(),
    ]  # fmt: skip
    assert len(found) == 11


def test_shards_in_a_bucket(
    s3: Any, tiny_grader: Grader, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = _shards(folder, tmp_path)
    for shard in shards:
        s3.put_object(Bucket="clinic", Key=f"shards/{shard.name}", Body=shard.read_bytes())
    whole = sum(shard.stat().st_size for shard in shards)
    read = 0
    reading = Remote.read_range

    def counted(self: Remote, start: int, size: int) -> bytes:
        nonlocal read
        data = reading(self, start, size)
        read += len(data)
        return data

    monkeypatch.setattr(Remote, "read_range", counted)
    found = find_photographs(["s3://clinic/shards/"])
    assert [item.image for item in found[:2]] == ["s.tar/00_left.jpg", "s.tar/01_left.jpg"]
    assert len(found) == 30
    rows = _nameless(tiny_grader, read_ahead(found), batch=10, workers=4)
    plain = _nameless(tiny_grader, find_photographs([folder]), batch=10)
    assert rows == plain * 3
    assert read < 2 * whole, "whole shards are read for single members"


def test_dicom_marks_are_looked_for_in_a_bucket(s3: Any) -> None:
    s3.put_object(Bucket="clinic", Key="study/1.2.840.77", Body=b"\0" * 128 + b"DICM" + b"x" * 99)
    s3.put_object(Bucket="clinic", Key="study/1.2.840.78", Body=b"nothing")
    s3.put_object(Bucket="clinic", Key="study/LICENSE", Body=b"")
    assert [item.image for item in find_photographs(["s3://clinic/study"])] == ["1.2.840.77"]


def test_an_object_that_vanishes_or_changes_fails_alone(
    s3: Any, tiny_grader: Grader, folder: Path
) -> None:
    _upload(s3, folder)
    found = find_photographs(["s3://clinic/"])
    s3.delete_object(Bucket="clinic", Key="01_left.jpg")
    s3.put_object(Bucket="clinic", Key="03_left.jpg", Body=b"")
    rows = [row for row, _ in grade_batch(tiny_grader, read_ahead(found))]
    assert [i for i, row in enumerate(rows) if row["status"] == "failed"] == [1, 3, 5]
    assert rows[1]["reason"] == (
        "01_left.jpg: there is no such object, folder or bucket. Check the address."
    )


@pytest.mark.parametrize("url", ["s3://no-such-bucket/x/", "s3://clinic/no-such-folder/", "s3://"])
def test_what_is_not_there_is_one_sentence(s3: Any, url: str) -> None:
    with pytest.raises(SourceError, match=r"there is no such object|cannot be|access is refused"):
        find_photographs([url])


def test_missing_credentials_are_one_sentence(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SourceError, match=r"s3://clinic/: access is refused\. Set AWS_PROFILE"):
        find_photographs(["s3://clinic/"])


def test_refused_credentials_are_told_without_them(s3: Any, s3_server: str) -> None:
    requests.post(f"{s3_server}/moto-api/reset-auth", data="0", timeout=30)
    try:
        with pytest.raises(SourceError, match="access is refused") as caught:
            find_photographs(["s3://clinic/"])
    finally:
        requests.post(f"{s3_server}/moto-api/reset-auth", data="inf", timeout=30)
    assert "of-the-clinic" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_server_that_is_down_is_one_sentence(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    with socket.socket() as nobody:  # bound, but it does not listen
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        s3fs.S3FileSystem.clear_instance_cache()
        with pytest.raises(SourceError, match=r"cannot be reached, or breaks off"):
            find_photographs(["s3://clinic/"])


# --- https --------------------------------------------------------------------------------------


class _Web(SimpleHTTPRequestHandler):
    """Serves a folder with its listings; some of it fails."""

    failing: dict[str, list[int | str]]
    retry_after = ""

    def do_GET(self) -> None:
        rest = self.failing.get(self.path, [])
        what = rest.pop(0) if rest else None
        if isinstance(what, int):
            self.send_error(what)
        elif what == "stall":
            time.sleep(3)
        elif what == "hang up":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif what == "break":
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b"\xff\xd8\xff")
        elif what is not None and what.startswith("to "):
            self.send_response(302)
            self.send_header("Location", what[3:])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif what is not None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(what.encode())
        else:
            super().do_GET()

    def do_HEAD(self) -> None:
        rest = self.failing.get(self.path)
        if rest and isinstance(rest[0], int):
            self.send_error(rest[0])
        elif rest and rest[0] == "hang up":
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            super().do_HEAD()

    def end_headers(self) -> None:
        if self.retry_after:
            self.send_header("Retry-After", self.retry_after)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    _Web.failing = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Web, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_listing_gives_the_rows_of_its_files(web: str, tiny_grader: Grader, folder: Path) -> None:
    (folder / "sub & more").mkdir()
    (folder / "sub & more" / "a b%20c.jpg").write_bytes((folder / "00_left.jpg").read_bytes())
    plain = find_photographs([folder])
    found = find_photographs([f"{web}/"])
    assert [item.image for item in found] == [item.image for item in plain]
    assert _nameless(tiny_grader, read_ahead(found)) == _nameless(tiny_grader, plain)


def test_single_files_and_archives(
    web: str, tiny_grader: Grader, folder: Path, tmp_path: Path
) -> None:
    shards = _shards(folder, tmp_path)
    for shard in shards:
        shard.rename(folder / shard.name)
    found = find_photographs([f"{web}/00_left.jpg?X-Amz-Signature=secret&x=1"])
    assert [item.image for item in found] == ["00_left.jpg"]
    assert found[0].source() == ((folder / "00_left.jpg").read_bytes(), "00_left.jpg")
    assert "secret" not in repr(found)
    for shard in shards:
        found = find_photographs([f"{web}/{shard.name}"])
        assert found[0].image == f"{shard.name}/00_left.jpg"
        assert found[9].source()[0] == (folder / "09_left.jpg").read_bytes()


def test_a_listing_leads_nowhere_else(web: str) -> None:
    links = ["../x.jpg", "/a/../../x.jpg", "https://example.org/x.jpg", "javascript:x.jpg", "?C=N",
             "%2e%2e/x.jpg", "a/%2e%2e/x.jpg", "x.jpg?C=N", "//example.org/x.jpg", "..", "sub/",
             "ok.jpg", "file:///etc/passwd.jpg", "a%2fb/x.jpg"]  # fmt: skip
    _Web.failing = {
        "/a/": ["".join(f'<a href="{link}">x</a>' for link in links)],
        "/a/sub/": ['<a href="/a/">up</a><a href="x/../../../y.jpg">y</a><a href="z.jpg">z</a>'],
    }
    found = find_photographs([f"{web}/a/"])
    paths = [item.path for item in found]
    assert all(isinstance(p, Remote) and p.path.startswith(f"{web}/a/") for p in paths)
    assert not any(".." in item.image for item in found)
    assert {"ok.jpg", "sub/z.jpg"} <= {item.image for item in found}


@pytest.mark.parametrize(
    ("where", "followed"),
    [
        ("/01_left.jpg", True),
        ("http://192.0.2.1/01_left.jpg", False),
        ("//192.0.2.1/01_left.jpg", False),
        ("ftp://127.0.0.1/01_left.jpg", False),
    ],
)
def test_no_server_leads_out_of_https(web: str, folder: Path, where: str, followed: bool) -> None:
    _Web.failing = {"/00_left.jpg": [f"to {where}"] * 3}
    (found,) = find_photographs([f"{web}/00_left.jpg"])
    if followed:
        assert found.source()[0] == (folder / "01_left.jpg").read_bytes()
        return
    with pytest.raises(PhotographError, match="leads to none without https"):
        found.source()


def test_a_listing_without_end_is_told(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drcore.sources.remote_listing, "MAX_PAGES", 5)
    pages = ["/" + "".join(f"{n}/" for n in range(depth)) for depth in range(9)]
    _Web.failing = {
        page: [f'<a href="{depth}/">deeper</a><a href="{depth}.jpg">one</a>']
        for depth, page in enumerate(pages)
    }
    with pytest.raises(SourceError, match="this listing has no end"):
        find_photographs([f"{web}/"])


def test_failures_that_pass_are_tried_again(web: str, folder: Path) -> None:
    place = remote_of(f"{web}/00_left.jpg")
    whole = (folder / "00_left.jpg").read_bytes()
    for failures in ([503, 500], [429, "break"]):
        _Web.failing = {"/00_left.jpg": list(failures)}
        assert place.read() == whole
    _Web.failing = {"/": [502]}
    assert len(find_photographs([f"{web}/"])) == 10


@pytest.mark.parametrize(("asked", "waits"), [("", 0.5), ("7", 7.0), ("9999", 30.0)])
def test_pauses_grow_and_are_as_long_as_the_server_asks(
    web: str, monkeypatch: pytest.MonkeyPatch, asked: str, waits: float
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(drcore.sources.remote_client.time, "sleep", pauses.append)
    monkeypatch.setattr(drcore.sources.remote_client, "PAUSE", 0.5)
    monkeypatch.setattr(_Web, "retry_after", asked)
    _Web.failing = {"/00_left.jpg": [503] * 99}
    with pytest.raises(PhotographError, match=r"the server fails \(status 503\)") as caught:
        remote_of(f"{web}/00_left.jpg").read()
    assert caught.value.is_outage
    assert pauses[0] == waits
    assert len(pauses) == drcore.sources.remote_client.TRIES - 1
    assert pauses == sorted(pauses)
    if not asked:
        assert pauses == [0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("failures", "sentence"),
    [
        ([429] * 9, r"the server is too busy \(status 429\)"),
        ([401] * 9, r"access is refused\..*status 401"),
        ([503] * 9, r"the server fails \(status 503\)"),
        ([408] * 9, r"the server gave up waiting \(status 408\)"),
        ([404] * 9, "there is no such object"),
        ([403] * 9, r"access is refused\..*status 403"),
        ([418] * 9, r"the server refuses \(status 418\)"),
        (["break"] * 9, "cannot be reached, or breaks off"),
        (["stall"] * 9, "does not answer in time"),
    ],
)
def test_failures_that_last_are_a_row(
    web: str, tiny_grader: Grader, monkeypatch: pytest.MonkeyPatch,
    failures: list[int | str], sentence: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(drcore.sources.remote_client, "READ_SECONDS", 0.2)
    found = find_photographs([f"{web}/"])
    name = "/04_left.jpg"
    _Web.failing = {name: list(failures)}
    rows = [row for row, _ in grade_batch(tiny_grader, read_ahead(found))]
    assert [row["status"] for row in rows].count("failed") == 2
    assert rows[4]["reason"].startswith("04_left.jpg: ")
    # Damage is of the photograph, whatever its name says; only the server is tried again later.
    assert [was_outage(row["reason"]) for row in rows].count(True) == (
        failures[0] not in {404, 418}
    )
    assert not was_outage(rows[5]["reason"])
    import re

    assert re.search(sentence, rows[4]["reason"])
    tried = 9 - len(_Web.failing[name])
    passing = failures[0] in {408, 429, 503, "break", "stall"}
    assert tried == (drcore.sources.remote_client.TRIES if passing else 1)


def test_a_server_that_hangs_up_is_no_missing_file(web: str) -> None:
    _Web.failing = {"/00_left.jpg": ["hang up"] * 99}
    (found,) = find_photographs([f"{web}/00_left.jpg"])
    with pytest.raises(PhotographError, match="cannot be reached, or breaks off") as caught:
        found.path.read()
    assert caught.value.is_outage


def test_a_login_page_is_an_outage_and_tried_again(
    web: str, tmp_path: Path, tiny_grader: Grader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Grader, "bundled", classmethod(lambda *_: tiny_grader))
    page = '\n<!DOCTYPE html><title>Sign in</title><form><input type="password"></form>'
    options = GradeOptions((f"{web}/",), str(tmp_path / "o.csv"), quiet=True)
    _Web.failing = {"/00_left.jpg": [page] * 9}
    assert grade(options) == 3
    rows = (tmp_path / "o.csv").read_text()
    assert rows.count("answered with a web page, probably to log in") == 1
    _Web.failing = {}
    assert grade(replace(options, resume=True)) != 3
    assert "web page" not in (tmp_path / "o.csv").read_text()

    place = remote_of(f"{web}/00_left.jpg")  # the session ends after the file was listed
    _Web.failing = {"/00_left.jpg": [page], "/": [page] * 9}
    with pytest.raises(PhotographError, match="web page") as caught:
        place.read()
    assert caught.value.is_outage
    with pytest.raises(SourceError, match="web page") as listing:
        find_photographs([f"{web}/"])
    assert listing.value.is_outage


def test_a_continued_run_fetches_nothing_again(
    web: str, tmp_path: Path, tiny_grader: Grader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Grader, "bundled", classmethod(lambda *_: tiny_grader))
    options = GradeOptions((f"{web}/",), str(tmp_path / "o.csv"), quiet=True, keep_failed=True)
    assert grade(options) == 0
    whole = (tmp_path / "o.csv").read_bytes()
    monkeypatch.setattr(Remote, "read", None)
    assert grade(replace(options, resume=True)) == 0
    assert (tmp_path / "o.csv").read_bytes() == whole


def test_a_file_without_end_is_not_read_to_it(web: str, folder: Path) -> None:
    (folder / "large.jpg").write_bytes(bytes(3_000_000))
    place = remote_of(f"{web}/large.jpg")
    with pytest.raises(PhotographError, match=r"large\.jpg: the file is too large"):
        place.read(2_000_000)


# --- addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/x.jpg", "http://example.org/x.jpg", "https:///x.jpg", "file:///etc/",
        "zip://x.jpg::s3://clinic/s.zip", "s3://clinic/x::memory://y", "memory://x",
        "s3://id:key@clinic/x.jpg", "github://a:b@main/x.jpg", "https://[::1/x.jpg",
    ],
)  # fmt: skip
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(SourceError) as caught:
        find_photographs([url])
    assert "key" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://me:secret@host/a/b.jpg?sig=secret#secret", "https://host/a/b.jpg"),
        ("https://me:se/cret@host/b.jpg", None),
        ("https://host?token=secret", "https://host"),
        ("s3://key:secret@clinic/a", "s3://clinic/a"),
        ("s3://clinic/\x1b[31m\n", "s3://clinic/\\x1b[31m\\n"),
    ],
)
def test_addresses_are_told_without_secrets(url: str, told: str | None) -> None:
    assert told is None or redacted(url) == told
    assert "secret" not in redacted(url)


# --- reading ahead ------------------------------------------------------------------------------


def test_the_network_is_waited_for_once_not_for_each(
    s3: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _upload(s3, folder)
    busy = most = 0
    lock, enough = threading.Lock(), threading.Event()
    reading = Remote.read

    def slow(self: Remote, limit: int = 10**9) -> bytes:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        if most >= 5:
            enough.set()
        enough.wait(20)
        with lock:
            busy -= 1
        return reading(self, limit)

    monkeypatch.setattr(Remote, "read", slow)
    found = find_photographs(["s3://clinic/"])
    assert [item.source()[0] for item in read_ahead(found)] == [
        (folder / item.image).read_bytes() for item in found
    ]
    assert most >= 5


def test_large_files_wait_for_their_turn(
    s3: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _upload(s3, folder)
    monkeypatch.setattr(drcore.sources.prefetch, "AHEAD_BYTES", 100)
    for item in read_ahead(find_photographs(["s3://clinic/"])):
        assert isinstance(item.path, Fetched)
        assert item.path._coming is not None
        assert item.path._coming.result() is None
        assert item.source()[0] == (folder / item.image).read_bytes()


def test_what_was_read_is_let_go(s3: Any, folder: Path) -> None:
    _upload(s3, folder)
    (first, *_) = read_ahead(find_photographs(["s3://clinic/00_left.jpg"]))
    content = first.source()[0]
    assert isinstance(first.path, Fetched)
    assert first.path._coming is None
    assert first.source()[0] == content, "it can be read again, for its map"


def test_closing_ends_the_threads(s3: Any, folder: Path) -> None:
    _upload(s3, folder)
    stream = read_ahead(find_photographs(["s3://clinic/"]))
    next(stream)
    stream.close()
    deadline = time.monotonic() + 20
    while any(thread.name.startswith("drcore-fetch") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_copies_of_a_shard_are_bounded(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drcore.sources.archive_cache.MAX_UNPACKED", 50_000)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tape:
        entry = tarfile.TarInfo("a.jpg")
        entry.size = 100_000
        tape.addfile(entry, io.BytesIO(bytes(range(250)) * 400))
    s3.put_object(Bucket="clinic", Key="s.tar.gz", Body=file.getvalue())
    (item,) = find_photographs(["s3://clinic/s.tar.gz"])
    assert item.image == "s.tar.gz"
    assert "unpacks to more than" in item.problem
