"""The parts of the Agreement page: filters, agreement, reading times, effect of the heat map."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from drcore.errors import DrcoreError
from drcore.text import fold
from viewer.agreement import findings
from viewer.server.settings import reviews_location
from viewer.session import reading_mode, state
from viewer.session.reading_mode import MODE_NAMES
from viewer.ui import messages
from viewer.ui.assets import style_tag
from viewer.ui.downloads import csv_download

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from drcore.agreement.comparison import Agreement
    from drcore.agreement.findings import FieldCounts
    from drcore.agreement.reading_time import MapGroup, ReadingTimes
    from drcore.agreement.selection import Selection
    from drcore.reviews.decision import Decision
    from drcore.reviews.store import ReviewStore

MAX_MATRICES = 8
"""Confusion matrices shown in a section; all of them are in the CSV."""

REMARK_FIGURES = (
    "Quadratic-weighted kappa (1 = perfect, 0 = chance). Brackets: 95 % CI (kappa: patient "
    "bootstrap, \u2265 10 patients). Sensitivity/specificity for referable DR (grade \u2265 2), "
    "row reader as reference. Images either party called ungradable are excluded."
)
REMARK_MAP = (
    "Not a randomised comparison: map viewing depends on mode, model grade and difficulty. Do not "
    "infer an effect of the map."
)
COLUMNS = 4
"""Matrices side by side."""


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
        findings: answers of the structured reading.
        saw_machine: masked reads of the record made after the model's result had been shown.
    """

    decisions: int
    photographs: int
    readers: int
    model: list[Agreement]
    final: list[Agreement]
    between: list[Agreement]
    times: dict[tuple[str, str], ReadingTimes]
    groups: dict[str, tuple[MapGroup, MapGroup]]
    findings: list[FieldCounts]
    saw_machine: int = 0

    @property
    def agreements(self) -> list[Agreement]:
        """Of all sections."""
        return [*self.model, *self.final, *self.between]


def page(filters: DeltaGenerator) -> None:
    """Show the page; `filters` is the place for its filters."""
    st.html(style_tag("ui/figures.css"))
    st.header("Agreement")
    if reading_mode.hides_record():
        _empty("Study still masked", "Agreement is available only to coordinators.")
        return
    if reading_mode.hides_names():
        _empty("You are arbitrating", "Readers\u2019 names are hidden until you change the mode.")
        return
    try:
        store = state.store()
        record = store.decisions()
    except DrcoreError as error:
        messages.problem(str(error))
        return
    if not record:
        _empty(
            "No grades yet",
            "Once readers have saved grades, agreement with the model, inter-reader agreement and "
            "reading times appear here.",
        )
        with st.container(horizontal=True, horizontal_alignment="center"):
            st.page_link("review/page.py", label="Go to Review", icon=":material/visibility:")
        return
    with filters:
        selection = _filters(record)
    try:
        found = _measured(store, record, selection)
    except DrcoreError as error:
        messages.problem(str(error))
        return
    if not found.decisions:
        _empty("No grades match these filters", "Choose other readers, models, modes or days.")
        return
    _sections(found, counted=selection.saw_machine)
    with filters:
        _download(found)


def measure(store: ReviewStore, record: Sequence[Decision], selection: Selection) -> Measured:
    """Compute all figures of the selected decisions; the store holds corrections of patients."""
    from drcore.agreement.adjudication import reading_statuses
    from drcore.agreement.comparison import (
        agreement_of,
        final_against_model,
        model_against_readers,
        reader_against_reader,
    )
    from drcore.agreement.findings import count_findings
    from drcore.agreement.reading_time import map_groups, times_by_reader
    from drcore.agreement.selection import select_decisions

    chosen = select_decisions(record, selection)
    identities = store.identities()
    counted = [one for one in record if selection.saw_machine or not one.saw_machine]
    final = final_against_model(
        chosen, reading_statuses(counted, reading_mode.study_rules()), identities
    )
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
        saw_machine=sum(one.saw_machine for one in record),
        groups={"All images": map_groups(chosen), "Model grade \u2265 1": map_groups(suspect)},
        findings=count_findings(chosen),
    )


def _measured(store: ReviewStore, record: Sequence[Decision], selection: Selection) -> Measured:
    """The figures, computed again if grades, filters or study rules have changed."""
    asked = (reviews_location(), len(record), store.writes, selection, reading_mode.study_rules())
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
        "Reading modes", list(modes), key="agreement-modes", placeholder="All modes",
        format_func=_mode_name,
    )  # fmt: skip
    with st.container(horizontal=True, gap="xsmall"):
        since = st.date_input("From", value=None, key="agreement-since")
        until = st.date_input("To", value=None, key="agreement-until")
    answer = st.segmented_control(
        "Which grade counts", ANSWERS, default="first", required=True,
        format_func=str.capitalize, key="agreement-answer", width="stretch",
        help="First: before the model was revealed. Last: after any correction.",
    )  # fmt: skip
    saw_machine = st.toggle(
        "Include masked reads that saw the model", key="agreement-saw-machine",
        help="Grades given in a masked mode after the model\u2019s result had been shown",
    )  # fmt: skip
    return Selection(
        readers=frozenset(readers) or None, models=frozenset(models) or None,
        modes=frozenset(chosen) or None, since=since, until=until, answer=answer or "first",
        saw_machine=saw_machine,
    )  # fmt: skip


def _saw_machine_sentence(count: int, *, counted: bool) -> str:
    reads = "1 masked read was" if count == 1 else f"{count} masked reads were"
    rest = "counted below as well" if counted else "not counted below"
    return f"{reads} made after the model\u2019s result had been shown: {rest}."


def _sections(found: Measured, *, counted: bool) -> None:
    facts = [
        (found.decisions, "grade", "grades"),
        (found.photographs, "image", "images"),
        (found.readers, "reader", "readers"),
    ]
    st.html(
        '<p class="facts">'
        + "".join(f"<span><b>{n}</b>{one if n == 1 else many}</span>" for n, one, many in facts)
        + "</p>"
    )
    if found.saw_machine:
        st.html(
            f'<p class="remark">{_saw_machine_sentence(found.saw_machine, counted=counted)}</p>'
        )
    st.subheader("Model vs reader")
    _agreements(found.model, "Reader", "Model")
    if found.final:
        st.subheader("Model vs final grade")
        st.html(
            '<p class="remark">Final grade: readers\u2019 consensus, otherwise the arbiter\u2019s '
            "(arbiter not masked to the model).</p>"
        )
        _agreements(found.final, "Final grade", "Model")
    st.subheader("Reader vs reader")
    if found.between:
        _agreements(found.between, "First reader", "Second reader")
    else:
        st.html('<p class="remark">No image was read by two readers.</p>')
    st.html(f'<p class="remark">{REMARK_FIGURES}</p>')
    if found.findings:
        st.subheader("Structured reading")
        st.html(_table(findings.HEADS, findings.rows(found.findings), names=2))
    st.subheader("Reading time per image")
    st.html(_times_table(found.times))
    st.subheader("Heat map viewed vs not viewed")
    st.html(_map_table(found.groups))
    st.html(f'<p class="remark">{REMARK_MAP}</p>')


def _agreements(agreements: Sequence[Agreement], reference: str, compared: str) -> None:
    from viewer.ui import charts

    st.html(
        _table(
            [
                f"{reference} (reference)", compared, "Images", "Kappa", "Exact agreement",
                "Sensitivity", "Specificity", "Excluded (ungradable)",
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
        # A single model is named in the table only.
        label = f"{one.reference} and {one.compared}" if both else one.reference
        with columns[index % COLUMNS]:
            st.html(f'<p class="pair">{escape(label)}</p>')
            chart = charts.confusion(one.confusion.tolist(), height=230, dark=dark)
            # Names are untrusted, and charts interpret tags in their titles: only our own words.
            chart.update_layout(xaxis_title=compared.lower(), yaxis_title=reference.lower())
            st.plotly_chart(
                chart, key=f"matrix-{reference}-{index}", config={"displayModeBar": False},
                alt=_alt_text(one),
            )  # fmt: skip


def _alt_text(one: Agreement) -> str:
    """A confusion matrix as text."""
    rows = (
        f"grade {grade}: " + ", ".join(str(count) for count in row)
        for grade, row in enumerate(one.confusion.tolist())
    )
    return (
        f"Images by the grade of {one.reference} in rows and of {one.compared} in columns, "
        f"0 to 4. {'; '.join(rows)}."
    )


def _times_table(times: dict[tuple[str, str], ReadingTimes]) -> str:
    rows = [
        [reader, _mode_name(mode), str(one.decisions), _seconds(one), _timed(one)]
        for (reader, mode), one in times.items()
    ]
    return _table(["Reader", "Reading mode", "Grades", "Median", "Timed reads"], rows, names=1)


def _map_table(groups: dict[str, tuple[MapGroup, MapGroup]]) -> str:
    rows = [
        [
            name, "viewed" if one.seen else "not viewed", str(one.decisions),
            _percent(one.same, one.same_interval), _seconds(one.times),
        ]
        for name, both in groups.items()
        for one in both
    ]  # fmt: skip
    heads = ["Images", "Heat map", "Grades", "Same grade as the model", "Median time"]
    return _table(heads, rows, names=1)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, names: int) -> str:
    """An HTML table; what follows a line break in a cell is set small. All of it is escaped."""
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
    return f"{one.photographs}\n({one.patients} {many})"


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
    return f"{times.median:.0f} s\nIQR {low:.0f}\u2013{high:.0f} s"


def _timed(times: ReadingTimes) -> str:
    return "all" if times.timed == times.decisions else str(times.timed)


def _empty(title: str, sentence: str) -> None:
    st.html(f'<div class="empty"><b>{escape(title)}</b><p>{escape(sentence)}</p></div>')


def _mode_name(mode: str) -> str:
    return MODE_NAMES.get(mode, "Not recorded")  # type: ignore[call-overload]


def _download(found: Measured) -> None:
    from drcore.agreement.comparison import agreement_csv

    csv_download(
        "Download results (CSV)", lambda: agreement_csv(found.agreements), name="agreement",
        key="download-agreement", help="Figures and confusion matrices",
    )  # fmt: skip
