"""The Agreement page's parts: filters, figures of agreement, times, and what the map went with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from drcore.errors import DrcoreError
from drcore.text import fold
from viewer.session import reading_mode, state
from viewer.ui import messages

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from drcore.agreement.comparison import Agreement
    from drcore.agreement.reading_time import MapGroup, ReadingTimes
    from drcore.agreement.selection import Selection
    from drcore.reviews.decision import Decision
    from drcore.reviews.store import ReviewStore

__all__ = ["Measured", "measure", "page"]

MAX_MATRICES = 8
"""Confusion matrices shown in a section; all of them are in the CSV."""

REMARK_FIGURES = (
    "Kappa is quadratic weighted; 1 is perfect agreement, 0 what chance gives. In brackets the "
    "95 % interval; that of kappa comes from resampling patients, and is given from 10 patients "
    "on. Sensitivity and specificity are for referable retinopathy, grade 2 or more, with the "
    "grades of the reference taken as the truth. "
    "Photographs that one of the two called ungradable are counted and left out."
)
REMARK_MAP = (
    "This is not a randomised comparison. The map is not there in blinded reading, starts hidden "
    "where the model finds no retinopathy, and is uncovered where readers are in doubt, so the "
    "photographs and readers differ as well. Only a study that decides by lot who sees the map can "
    "say what the map does."
)
COLUMNS = 4
"""Matrices side by side."""

_STYLE = Path(__file__).with_name("report.css")
_NOT_RECORDED = "not recorded"


@dataclass(frozen=True, slots=True)
class Measured:
    """All figures of the page.

    Attributes:
        decisions: that count.
        photographs: of these decisions.
        readers: who made them.
        model: the model against each reader.
        final: the model against final grades of several readers.
        between: reader against reader.
        times: by reader and mode.
        groups: by name of the photographs: with the map seen, and without.
    """

    decisions: int
    photographs: int
    readers: int
    model: list[Agreement]
    final: list[Agreement]
    between: list[Agreement]
    times: dict[tuple[str, str], ReadingTimes]
    groups: dict[str, tuple[MapGroup, MapGroup]]

    @property
    def agreements(self) -> list[Agreement]:
        """Of all sections."""
        return [*self.model, *self.final, *self.between]


def page(filters: DeltaGenerator) -> None:
    """Show the page.

    Args:
        filters: where they go.
    """
    st.html(_STYLE)
    st.header("Agreement")
    if reading_mode.hides_record():
        _empty(
            "Reading is still blinded",
            "This server lets readers see only their own decisions. Agreement is shown by a server "
            "that also allows open reading or arbitration.",
        )
        return
    try:
        store = state.store()
        record = store.decisions()
    except DrcoreError as error:
        messages.problem(str(error))
        return
    if not record:
        _empty(
            "No decisions yet",
            "As soon as readers have saved decisions, this page tells how far they agree with the "
            "model and with each other, and how long they took.",
        )
        with st.container(horizontal=True, horizontal_alignment="center"):
            st.page_link("review/page.py", label="Review photographs", icon=":material/visibility:")
        return
    with filters:
        selection = _filters(record)
    try:
        found = _measured(store, record, selection)
    except DrcoreError as error:
        messages.problem(str(error))
        return
    if not found.decisions:
        _empty("No decision matches", "Choose other readers, models, modes or days.")
        return
    _sections(found)
    with filters:
        _download(found)


def measure(store: ReviewStore, record: Sequence[Decision], selection: Selection) -> Measured:
    """Compute all figures.

    Args:
        store: holds the corrections of patients.
        record: all decisions, in order.
        selection: which count.

    Returns:
        The figures.

    Raises:
        ReviewError: the record cannot be read.
    """
    from drcore.agreement.adjudication import reading_statuses
    from drcore.agreement.comparison import (
        agreement_of,
        final_against_model,
        model_against_readers,
        reader_against_reader,
    )
    from drcore.agreement.reading_time import map_groups, times_by_reader
    from drcore.agreement.selection import select_decisions

    chosen = select_decisions(record, selection)
    identities = store.identities()
    final = final_against_model(chosen, reading_statuses(record, reading_mode.design()), identities)
    suspect = [one for one in chosen if one.machine_grade]
    return Measured(
        decisions=len(chosen),
        photographs=len({one.sha256 for one in chosen}),
        readers=len({fold(one.reader) for one in chosen}),
        model=[
            agreement_of(reader, version, pairs)
            for (reader, version), pairs in model_against_readers(chosen, identities).items()
        ],
        final=[agreement_of(name, version, pairs) for (name, version), pairs in final.items()],
        between=[
            agreement_of(one, other, pairs)
            for (one, other), pairs in reader_against_reader(chosen, identities).items()
        ],
        times=times_by_reader(chosen),
        groups={
            "All photographs": map_groups(chosen),
            "Model\u2019s grade 1 to 4": map_groups(suspect),
        },
    )


def _measured(store: ReviewStore, record: Sequence[Decision], selection: Selection) -> Measured:
    """The figures, computed again when the record, the filters or the rules are others."""
    asked = (state.reviews_location(), len(record), store.writes, selection, reading_mode.design())
    kept = st.session_state.get("agreement")
    if kept is None or kept[0] != asked:
        kept = (asked, measure(store, record, selection))
        st.session_state["agreement"] = kept
    found: Measured = kept[1]
    return found


def _filters(record: Sequence[Decision]) -> Selection:
    from drcore.agreement.selection import ANSWERS, Selection, reader_names

    modes = dict.fromkeys(one.mode for one in record)
    readers = st.multiselect(
        "Readers", list(reader_names(record).values()), key="agreement-readers",
        placeholder="All readers",
    )  # fmt: skip
    models = st.multiselect(
        "Models", sorted({one.model_version for one in record}), key="agreement-models",
        placeholder="All models",
    )  # fmt: skip
    chosen = st.multiselect(
        "Modes of reading", list(modes), key="agreement-modes", placeholder="All modes",
        format_func=lambda mode: (mode or _NOT_RECORDED).capitalize(),
    )  # fmt: skip
    with st.container(horizontal=True, gap="xsmall"):
        since = st.date_input("From", value=None, key="agreement-since")
        until = st.date_input("To", value=None, key="agreement-until")
    answer = st.segmented_control(
        "Answer of a reader that counts", ANSWERS, default="first", required=True,
        format_func=str.capitalize, key="agreement-answer", width="stretch",
        help="The first is untouched by the model where reading was blinded; the last is what the "
        "reader stands by.",
    )  # fmt: skip
    return Selection(
        readers=frozenset(readers) or None,
        models=frozenset(models) or None,
        modes=frozenset(chosen) or None,
        since=since,
        until=until,
        answer=answer or "first",
    )


def _sections(found: Measured) -> None:
    facts = [
        (found.decisions, "decision", "decisions"),
        (found.photographs, "photograph", "photographs"),
        (found.readers, "reader", "readers"),
    ]
    st.html(
        '<p class="facts">'
        + "".join(f"<span><b>{n}</b>{one if n == 1 else many}</span>" for n, one, many in facts)
        + "</p>"
    )
    st.subheader("Model against reader")
    _agreements(found.model, "Reader", "Model")
    if found.final:
        st.subheader("Model against the final grade")
        st.html(
            '<p class="remark">Final is what readers agree on, or what the arbiter '
            "decided; the arbiter has seen the model\u2019s grade.</p>"
        )
        _agreements(found.final, "Final grade", "Model")
    st.subheader("Reader against reader")
    if found.between:
        _agreements(found.between, "First reader", "Second reader")
    else:
        st.html('<p class="remark">No photograph was read by two readers.</p>')
    st.html(f'<p class="remark">{REMARK_FIGURES}</p>')
    st.subheader("Time per photograph")
    st.html(_times_table(found.times))
    st.subheader("With the map seen, and without")
    st.html(_map_table(found.groups))
    st.html(f'<p class="remark">{REMARK_MAP}</p>')


def _agreements(agreements: Sequence[Agreement], reference: str, compared: str) -> None:
    from viewer.ui import charts

    st.html(
        _table(
            [
                f"{reference} (as truth)", compared, "Photographs", "Kappa", "Same grade",
                "Sensitivity", "Specificity", "Ungradable to one",
            ],
            [
                [
                    one.reference, one.compared, _of_patients(one),
                    _share(one.kappa, one.kappa_interval), _percent(one.exact, one.exact_interval),
                    _percent(one.sensitivity, one.sensitivity_interval),
                    _percent(one.specificity, one.specificity_interval), str(one.one_ungradable),
                ]
                for one in agreements
            ],
            names=2,
        )
    )  # fmt: skip
    both = compared != "Model" or len({one.compared for one in agreements}) > 1
    drawn = [one for one in agreements if one.photographs][:MAX_MATRICES]
    columns = st.columns(COLUMNS)
    dark = st.context.theme.type == "dark"
    for index, one in enumerate(drawn):
        # A model that is the only one is named in the table alone.
        label = f"{one.reference} and {one.compared}" if both else one.reference
        with columns[index % COLUMNS]:
            st.html(f'<p class="pair">{escape(label)}</p>')
            chart = charts.confusion(one.confusion.tolist(), height=230, dark=dark)
            # Names are untrusted, and a chart takes tags in its titles for orders: our words only.
            chart.update_layout(xaxis_title=compared.lower(), yaxis_title=reference.lower())
            st.plotly_chart(
                chart, key=f"matrix-{reference}-{index}", config={"displayModeBar": False},
                alt=_spoken(one),
            )  # fmt: skip


def _spoken(one: Agreement) -> str:
    """What a confusion matrix shows, for who cannot see it."""
    rows = (
        f"grade {grade}: " + ", ".join(str(count) for count in row)
        for grade, row in enumerate(one.confusion.tolist())
    )
    return (
        f"Photographs by the grade of {one.reference} in rows and of {one.compared} in columns, "
        f"0 to 4. {'; '.join(rows)}."
    )


def _times_table(times: dict[tuple[str, str], ReadingTimes]) -> str:
    rows = [
        [reader, mode.capitalize(), str(one.decisions), _seconds(one), _timed(one)]
        for (reader, mode), one in times.items()
    ]
    return _table(["Reader", "Mode of reading", "Decisions", "Median", "Timed"], rows, names=1)


def _map_table(groups: dict[str, tuple[MapGroup, MapGroup]]) -> str:
    rows = [
        [
            name, "seen" if one.seen else "not seen", str(one.decisions),
            _percent(one.same, one.same_interval), _seconds(one.times),
        ]
        for name, both in groups.items()
        for one in both
    ]  # fmt: skip
    heads = ["Photographs", "Map", "Decisions", "Same grade as the model", "Median time"]
    return _table(heads, rows, names=1)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, names: int) -> str:
    """An HTML table; a cell's part after a line break is set small. All of it is escaped."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=who' if index < names else ''}>{_cell(text)}</td>"
            for index, text in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="figures-wrap"><table class="figures"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    main, _, small = text.partition("\n")
    return escape(main) + (f"<small>{escape(small)}</small>" if small else "")


def _of_patients(one: Agreement) -> str:
    many = "patient" if one.patients == 1 else "patients"
    return f"{one.photographs}\nof {one.patients} {many}"


def _share(value: float, interval: tuple[float, float]) -> str:
    return _with_interval(value, interval, lambda number: f"{number:.2f}")


def _percent(value: float, interval: tuple[float, float]) -> str:
    return _with_interval(value, interval, lambda number: f"{100 * number:.0f} %")


def _with_interval(value: float, interval: tuple[float, float], written: Any) -> str:
    if not math.isfinite(value):
        return "\u2013"
    if not all(math.isfinite(bound) for bound in interval):
        return str(written(value))
    return f"{written(value)}\n({written(interval[0])} to {written(interval[1])})"


def _seconds(times: ReadingTimes) -> str:
    if not times.timed:
        return "\u2013"
    low, high = times.quartiles
    return f"{times.median:.0f} s\nhalf of them {low:.0f} to {high:.0f} s"


def _timed(times: ReadingTimes) -> str:
    return "all" if times.timed == times.decisions else str(times.timed)


def _empty(title: str, sentence: str) -> None:
    st.html(f'<div class="empty"><b>{escape(title)}</b><p>{escape(sentence)}</p></div>')


def _download(found: Measured) -> None:
    from drcore.agreement.comparison import agreement_csv

    st.download_button(
        "Download figures", data=lambda: agreement_csv(found.agreements).encode("utf-8"),
        file_name=f"drcore-agreement-{datetime.now(UTC).astimezone():%Y%m%d}.csv",
        mime="text/csv", on_click="ignore", icon=":material/download:", width="stretch",
        key="download-agreement", help="Figures and confusion matrices, as CSV",
    )  # fmt: skip
