"""The Model page's parts: the model card, measured figures, thresholds and versions."""

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
from viewer.session import state
from viewer.ui import messages

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["figures_table", "model", "thresholds_text", "version_lines", "versions"]

MODEL_CARD = Path(__file__).parents[2] / "MODEL_CARD.md"

_COLUMNS = {
    "kappa": "Kappa",
    "kappa_interval": "95 % interval",
    "accuracy": "Accuracy",
    "referable_auc": "Referable AUC",
    "referable_auc_interval": "95 % interval of AUC",
    "referable_sensitivity": "Sensitivity",
    "referable_specificity": "Specificity",
    "mean_absolute_error": "Mean error of the score",
}


def model() -> None:
    """Show the model: name and thresholds, figures, model card."""
    try:
        manifest = read_manifest(bundled_folder())
    except DrcoreError as error:
        messages.problem(str(error))
        return
    st.header(f"{manifest.name} {manifest.version}")
    if manifest.intended_use:
        st.text(manifest.intended_use)
    st.caption(f"Scores that part the grades: {thresholds_text(manifest.thresholds)}")
    _figures(manifest.metrics)
    st.subheader("Model card")
    if MODEL_CARD.is_file():
        with st.container(key="model-card"):
            st.markdown(MODEL_CARD.read_text(encoding="utf-8"))
    else:
        st.caption("There is no model card beside this installation.")


def thresholds_text(thresholds: list[float]) -> str:
    """Say which scores part the grades."""
    return ", ".join(
        f"{grade}\u2009|\u2009{grade + 1} at {value:.2f}" for grade, value in enumerate(thresholds)
    )


def figures_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """Return the measured figures as a table.

    Args:
        metrics: of the manifest: by set, then by scale, what `training.evaluate` measured; what
            is not understood is left out.

    Returns:
        One row a set and scale, figures as numbers, intervals as text.
    """
    import pandas as pd

    rows = []
    for name, entry in metrics.items():
        if not isinstance(entry, dict):
            continue
        scales = [key for key, value in entry.items() if isinstance(value, dict)]
        for scale in sorted(scales, key=lambda key: (key != "fused", len(key), key)):
            row: dict[str, Any] = {
                "Set": name,
                "Photographs": entry.get("photographs"),
                "Image size": "fused" if scale == "fused" else f"{scale} px",
            }
            for key, label in _COLUMNS.items():
                value = entry[scale].get(key)
                if isinstance(value, list | tuple) and len(value) == 2:
                    value = f"{value[0]:.3f} \u2013 {value[1]:.3f}"
                row[label] = value
            rows.append(row)
    return pd.DataFrame(rows)


def version_lines() -> list[tuple[str, str]]:
    """Return names and versions of what takes part, without importing it."""
    lines = [("drcore", __version__)]
    for package in ("torch", "streamlit", "plotly", "numpy", "opencv-python-headless"):
        try:
            lines.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            lines.append((package, "not installed"))
    return lines


def versions() -> None:
    """Show the versions, and where decisions are kept."""
    try:
        manifest = read_manifest(bundled_folder())
        weights = f"{manifest.name} {manifest.version}"
    except DrcoreError:
        weights = "not available"
    location = state.reviews_location()
    lines = [
        ("weights", weights),
        *version_lines(),
        ("decisions in", "a database by URL" if "://" in location else location),
    ]
    st.html(
        '<dl class="versions">'
        + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in lines)
        + "</dl>"
    )


def _figures(metrics: dict[str, Any]) -> None:
    st.subheader("Measured on photographs kept out of the training")
    table = figures_table(metrics)
    if table.empty:
        st.caption("These weights come without figures.")
        return
    st.caption(
        "The thresholds were chosen on the val sets, which makes those figures a little too kind; "
        "nothing was fitted on test sets. Sensitivity and specificity are for grade 2 or more."
    )
    numbers = {
        name: st.column_config.NumberColumn(format="%.3f")
        for name in _COLUMNS.values()
        if "interval" not in name
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
    st.caption("Reference grade against the fused grade, number of photographs")
    for column, (name, matrix) in zip(
        st.columns(max(3, len(matrices))), matrices.items(), strict=False
    ):
        with column:
            st.text(name)
            st.plotly_chart(
                charts.confusion(matrix, dark=st.context.theme.type == "dark"),
                key=f"confusion-{name}",
                config={"displayModeBar": False}, alt=f"Confusion matrix of {name}",
            )  # fmt: skip
