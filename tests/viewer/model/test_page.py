"""The Model page."""

from __future__ import annotations

import pytest

from viewer.model import card

FIGURES = {
    "kappa": 0.81, "kappa_interval": [0.75, 0.86], "accuracy": 0.7, "referable_auc": 0.95,
    "referable_auc_interval": [0.9, 0.98], "referable_sensitivity": 0.9,
    "referable_specificity": 0.88, "mean_absolute_error": 0.4, "confusion": [[3, 1], [0, 2]],
}  # fmt: skip
METRICS = {
    "idrid/test": {"photographs": 6, "called_ungradable": 1, "128": FIGURES, "fused": FIGURES}
}


def test_figures_become_a_table_fused_first():
    table = card.figures_table({**METRICS, "odd": 3})
    assert table["Resolution"].tolist() == ["combined", "128 px"]
    assert table["Kappa"].tolist() == [0.81, 0.81]
    assert table["95 % CI"].tolist()[0] == "0.750 \u2013 0.860"
    assert table["Images"].tolist() == [6, 6]
    assert card.figures_table({}).empty


def test_the_page_shows_weights_versions_and_thresholds(open_app, html, monkeypatch, bundle_folder):
    app = open_app()
    monkeypatch.setattr(card, "bundled_folder", lambda: bundle_folder)
    app.switch_page("model/page.py").run()
    assert not app.exception
    assert [header.value for header in app.header] == ["random 1"]
    for words in ("drcore", "torch", "streamlit", "random 1", "reviews.sqlite3"):
        assert words in html(app)
    assert any("0.50" in caption.value and "3.50" in caption.value for caption in app.caption)
    assert any("No performance figures" in caption.value for caption in app.caption)


def test_the_page_draws_the_figures(open_app, monkeypatch, bundle_folder):
    app = open_app()
    monkeypatch.setattr(card, "bundled_folder", lambda: bundle_folder)
    real = card.read_manifest
    monkeypatch.setattr(
        card, "read_manifest", lambda folder: real(folder).model_copy(update={"metrics": METRICS})
    )
    app.switch_page("model/page.py").run()
    assert not app.exception
    assert len(app.dataframe[0].value) == 2
    assert len(app.get("plotly_chart")) == 1


def test_missing_weights_are_told(open_app, html, monkeypatch, tmp_path):
    app = open_app()
    monkeypatch.setattr(card, "bundled_folder", lambda: tmp_path / "nothing")
    app.switch_page("model/page.py").run()
    assert not app.exception
    assert "There is no readable manifest.json" in html(app)


def test_the_page_says_which_bundle_is_in_use_and_where_it_came_from(
    open_app, html, monkeypatch, bundle_folder
):
    app = open_app()
    monkeypatch.setenv("DRCORE_WEIGHTS", str(bundle_folder))
    site = {
        "parent": "ram 1", "date": "2026-11-28", "photographs": 120, "patients": 60,
        "source": "decisions",
        "cross_validated": {"Quadratic weighted kappa": {"before": 0.5, "after": 0.6}},
    }  # fmt: skip
    real = card.read_manifest
    monkeypatch.setattr(
        card, "read_manifest",
        lambda folder: real(folder).model_copy(update={"training": {"site": site}}),
    )  # fmt: skip
    app.switch_page("model/page.py").run()
    assert not app.exception
    said = " ".join(text.value for text in app.text)
    assert f"Loaded from the folder {bundle_folder.name}." in said
    assert "Calibrated for this site on 2026-11-28 from ram 1, with 120 images" in said
    assert app.dataframe[0].value["After"].tolist() == [0.6]
    assert "random 1" in html(app)


@pytest.mark.parametrize("name", ["drcore", "torch", "streamlit"])
def test_versions_are_known(name):
    versions = dict(card.version_lines())
    assert versions[name][0].isdigit()
