"""What a reader who has signed in may do, on the pages."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
import streamlit as st

from drcore.export.deidentification import Disclosure
from drcore.monitoring.release import release_plan
from drcore.reviews.store import ReviewStore
from viewer.export import panel as export
from viewer.server import identity
from viewer.session import reader
from viewer.workload import panel as workload

ROLES = "read = ['*']\narbitrate = ['anna']\nexport_identity = ['anna']\nhours = 2"


@pytest.fixture
def jpeg(phantom, encoded):
    return encoded(phantom(seed=3).rgb, "JPEG", quality=90)


@pytest.fixture
def signed_in(monkeypatch, tmp_path):
    """Signs a reader in through the header of a proxy."""
    (tmp_path / "roles.toml").write_text(ROLES, encoding="utf-8")
    monkeypatch.setenv("DRCORE_READER_HEADER", "X-Reader")
    monkeypatch.setenv("DRCORE_PROXY", "127.0.0.1")
    monkeypatch.setenv("DRCORE_ROLES", str(tmp_path / "roles.toml"))
    monkeypatch.setattr(type(st.context), "cookies", {})

    def named(name: str) -> None:
        monkeypatch.setattr(type(st.context), "headers", {"X-Reader": name})

    return named


def saved(tmp_path):
    with ReviewStore(tmp_path / "reviews.sqlite3") as store:
        return [(made.reader, made.login) for made in store.decisions()]


def press(app, key):
    app.button(key=key).click().run()
    assert not app.exception


def test_decisions_carry_the_login_until_it_expires(
    signed_in, open_app, upload, jpeg, html, tmp_path, monkeypatch
):
    signed_in("anna")
    app = upload(open_app(), ("one.jpg", jpeg))
    assert not [box for box in app.text_input if box.key == "reader"]
    press(app, "choose-2")
    press(app, "save-next")
    assert saved(tmp_path) == [("anna", "header")]

    press(app, "choose-3")
    later = time.time() + 3 * 3600
    monkeypatch.setattr(reader.time, "time", lambda: later)
    press(app, "save-next")
    assert saved(tmp_path) == [("anna", "header")]
    assert "Your login has expired. Reload the page to go on." in html(app)
    assert "one.jpg" not in html(app)


def test_a_reader_sees_and_does_what_the_roles_allow(signed_in, open_app, upload, jpeg, html):
    signed_in("bert")
    app = open_app()
    app.file_uploader[0].set_value([("one.jpg", jpeg, "image/jpeg")]).run()
    assert "Arbitration" not in app.radio(key="start-mode").options
    app.switch_page("export/page.py").run()
    assert not [box for box in app.radio if box.key == "export-telling"]
    assert any("You may not export patient identifiers" in one.value for one in app.caption)
    signed_in("anna")  # the connection was made again, with another login
    app.run()
    assert "Signed in as anna" in html(app)
    assert "bert" not in html(app)


def test_roles_without_a_login_are_a_mistake(monkeypatch, tmp_path, open_app, html):
    monkeypatch.setenv("DRCORE_ROLES", str(tmp_path / "roles.toml"))
    assert "this server has no login" in html(open_app())


def test_without_a_login_names_are_unverified(open_app, upload, jpeg, tmp_path):
    app = upload(open_app(), ("one.jpg", jpeg))
    app.text_input(key="reader").set_value("AR").run()
    press(app, "choose-2")
    press(app, "save-next")
    assert saved(tmp_path) == [("AR", "unverified")]


def test_a_damaged_file_of_secrets_lets_nobody_in(open_app, html, tmp_path, monkeypatch):
    (tmp_path / "secrets.toml").write_text("[auth", encoding="utf-8")
    identity.openid.cache_clear()
    monkeypatch.setattr(type(st.context), "cookies", {})
    monkeypatch.setattr(st, "get_option", lambda _: [str(tmp_path / "secrets.toml")])
    app = open_app()
    assert "Sign in to go on." in html(app)
    press(app, "sign-in")
    monkeypatch.undo()
    identity.openid.cache_clear()
    assert "Complete the [auth] section of .streamlit/secrets.toml" in html(app)
    assert "Grade fundus images" not in [one.value for one in app.header]


def test_whoever_may_not_export_identity_gets_no_file_with_it(
    signed_in, open_app, html, monkeypatch
):
    written = {}
    rows = [
        {"image": f"SECRET {n}.jpg", "patient": "SECRET", "sha256": f"{n:064x}",
         "status": "graded", "grade": "1", "score": f"{n / 10}"}
        for n in range(3)
    ]  # fmt: skip
    truth = np.repeat([False, True], 100)
    plan = release_plan(truth + np.arange(200) / 1e3, truth, np.arange(200).astype(str), 0.05)
    monkeypatch.setattr(workload, "_plan", lambda *_, **__: plan)
    monkeypatch.setattr(workload, "_tables", lambda key: rows if key == "workload-list" else [])
    monkeypatch.setattr(
        workload, "csv_download", lambda _, text, *, name, **__: written.update({name: text()})
    )
    monkeypatch.setattr(export, "current", lambda: SimpleNamespace(privacy=Disclosure()))

    signed_in("bert")
    app = open_app(page="workload/page.py")
    assert "SECRET" not in written["queue"]
    assert f"{2:064x}"[:16] in written["queue"]
    assert "SECRET" not in app.dataframe[0].value.to_string()
    # No table of any page offers its content as a file.
    assert "stElementToolbar" in html(app)
    app.switch_page("export/page.py").run()
    assert "which you may not export" in html(app)
    assert "download-export" not in [button.key for button in app.get("download_button")]

    signed_in("anna")
    app = open_app(page="workload/page.py")
    assert "SECRET 2.jpg" in written["queue"]
    assert "stElementToolbar" not in html(app)
