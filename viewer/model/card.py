"""The parts of the Model page: performance, thresholds, model card, versions."""

from __future__ import annotations

from html import escape
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from drcore import __version__
from drcore.errors import DrcoreError
from drcore.model.bundle import bundled_folder
from drcore.model.manifest import read_manifest
from viewer.server import settings
from viewer.server.shipped import shipped
from viewer.ui import messages

if TYPE_CHECKING:
    import pandas as pd

    from drcore.model.manifest import Manifest

MODEL_CARD = shipped("MODEL_CARD.md")

_COLUMNS = {
    "kappa": "Kappa",
    "kappa_interval": "95 % CI",
    "accuracy": "Accuracy",
    "referable_auc": "Referable AUC",
    "referable_auc_interval": "95 % CI of AUC",
    "referable_sensitivity": "Sensitivity",
    "referable_specificity": "Specificity",
    "mean_absolute_error": "Mean absolute error",
}

_DATASETS = {
    "aptos2019": "APTOS 2019", "eyepacs": "EyePACS", "idrid": "IDRiD", "ddr": "DDR",
    "messidor2": "Messidor-2",
}  # fmt: skip
_PARTS = {"val": "validation"}


def model() -> None:
    """Show the model: name, thresholds, performance, model card."""
    try:
        manifest = read_manifest(Path(settings.weights() or bundled_folder()))
    except DrcoreError as error:
        if not _installed():
            messages.problem(str(error))
        return
    st.header(f"{manifest.name} {manifest.version}")
    st.text(origin_text(manifest, settings.weights()))
    if manifest.intended_use:
        st.text(manifest.intended_use)
    st.caption(f"Grade thresholds: {thresholds_text(manifest.thresholds)}")
    st.caption(decision_text(manifest))
    _site(manifest)
    _figures(manifest.metrics)
    st.subheader("Model card")
    if MODEL_CARD.is_file():
        with st.container(key="model-card"):
            st.markdown(MODEL_CARD.read_text(encoding="utf-8"))
    else:
        st.caption("Model card not installed.")


def thresholds_text(thresholds: list[float]) -> str:
    """List the thresholds between grades."""
    return " \u00b7 ".join(
        f"{grade}/{grade + 1} {value:.2f}" for grade, value in enumerate(thresholds)
    )


def origin_text(manifest: Manifest, chosen: str | None) -> str:
    """Say where the weights came from."""
    where = "Shipped with drcore."
    if chosen is not None:
        where = f"Loaded from the folder {Path(chosen).name}."
    site = manifest.training.get("site")
    if not isinstance(site, dict):
        return where
    return (
        f"{where} Calibrated for this site on {site.get('date')} from {site.get('parent')}, with "
        f"{site.get('photographs')} images of {site.get('patients')} patients "
        f"({site.get('source')}). Networks, scores and heat maps are those of "
        f"{site.get('parent')}."
    )


def site_table(manifest: Manifest) -> pd.DataFrame:
    """Return figures before and after a site's calibration; empty where there is none."""
    import pandas as pd

    site = manifest.training.get("site")
    figures = site.get("cross_validated", {}) if isinstance(site, dict) else {}
    return pd.DataFrame(
        [
            {"Figure": name, "Before": value.get("before"), "After": value.get("after")}
            for name, value in figures.items()
            if isinstance(value, dict)
        ]
    )


def _installed() -> bool:
    """Show a model that an installed package brings; False where the weights are none."""
    from drcore.grading.installed import installed_models, version_and_certainty

    name = settings.weights()
    if name is None or name not in installed_models():
        return False
    try:
        version, _ = version_and_certainty(name)
    except DrcoreError as error:
        messages.problem(str(error))
        return True
    st.header(version)
    st.caption("A model that an installed package brings. Its figures are not known to drcore.")
    return True


def decision_text(manifest: Manifest) -> str:
    """Say how the grade is decided."""
    certainty = manifest.certainty
    if certainty is not None and certainty.decision == "median":
        return (
            "The grade is the median of the grade probabilities; referable means a probability of "
            "at least 50 % for grade 2 or more."
        )
    return "The grade comes from thresholds chosen for kappa, apart from the probabilities."


def set_name(key: str) -> str:
    """Return the title of a set of images, such as "EyePACS \u2013 validation"."""
    dataset, _, part = key.partition("/")
    dataset = _DATASETS.get(dataset, dataset)
    return f"{dataset} \u2013 {_PARTS.get(part, part)}" if part else dataset


def figures_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """Return the metrics of a manifest as a table; invalid entries are ignored."""
    import pandas as pd

    rows = []
    for name, entry in metrics.items():
        if not isinstance(entry, dict):
            continue
        scales = [key for key, value in entry.items() if isinstance(value, dict)]
        for scale in sorted(scales, key=lambda key: (key != "fused", len(key), key)):
            row: dict[str, Any] = {
                "Set": set_name(name),
                "Images": entry.get("photographs"),
                "Resolution": "combined" if scale == "fused" else f"{scale} px",
            }
            for key, label in _COLUMNS.items():
                value = entry[scale].get(key)
                if isinstance(value, list | tuple) and len(value) == 2:
                    value = f"{value[0]:.3f} \u2013 {value[1]:.3f}"
                row[label] = value
            rows.append(row)
    return pd.DataFrame(rows)


def version_lines() -> list[tuple[str, str]]:
    """Return names and versions of the packages, without importing them."""
    lines = [("drcore", __version__)]
    for package in ("torch", "streamlit", "plotly", "numpy", "opencv-python-headless"):
        try:
            lines.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            lines.append((package, "not installed"))
    return lines


def versions() -> None:
    """Show the versions, and where grades are stored."""
    try:
        manifest = read_manifest(Path(settings.weights() or bundled_folder()))
        weights = f"{manifest.name} {manifest.version}"
    except DrcoreError:
        weights = settings.weights() or "not available"
    location = settings.reviews_location()
    lines = [
        ("Model", weights),
        *version_lines(),
        ("Grades stored in", "external database" if "://" in location else location),
    ]
    st.html(
        '<dl class="versions">'
        + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in lines)
        + "</dl>"
    )


def _site(manifest: Manifest) -> None:
    table = site_table(manifest)
    if table.empty:
        return
    st.subheader("Calibration for this site")
    st.caption("Cross-validated by patient, before and after.")
    numbers = {name: st.column_config.NumberColumn(format="%.3f") for name in ("Before", "After")}
    st.dataframe(table, hide_index=True, column_config=numbers, key="site")


def _figures(metrics: dict[str, Any]) -> None:
    st.subheader("Performance on held-out images")
    table = figures_table(metrics)
    if table.empty:
        st.caption("No performance figures available.")
        return
    st.caption(
        "Validation figures are optimistic (thresholds were tuned on them); test figures are not. "
        "Sensitivity and specificity are for referable DR (grade \u2265 2)."
    )
    numbers = {
        name: st.column_config.NumberColumn(format="%.3f")
        for name in _COLUMNS.values()
        if "CI" not in name
    }
    st.dataframe(table, hide_index=True, column_config=numbers, key="figures")
    from viewer.ui import charts

    matrices = {
        name: entry["fused"]["confusion"]
        for name, entry in metrics.items()
        if isinstance(entry, dict) and isinstance(entry.get("fused"), dict)
        and entry["fused"].get("confusion")
    }  # fmt: skip
    if not matrices:
        return
    st.caption("Confusion matrices: reference (rows) vs model (columns)")
    for column, (name, matrix) in zip(
        st.columns(max(3, len(matrices))), matrices.items(), strict=False
    ):
        with column:
            st.text(set_name(name))
            st.plotly_chart(
                charts.confusion(matrix, dark=st.context.theme.type == "dark"),
                key=f"confusion-{name}",
                config={"displayModeBar": False}, alt=f"Confusion matrix of {set_name(name)}",
            )  # fmt: skip
