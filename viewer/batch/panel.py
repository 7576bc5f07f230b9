"""The Batch page's parts: choosing a folder, watching the run, reading its table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from drcore.errors import DrcoreError, PhotographError, SourceError
from viewer.batch.job import BatchJob, duration
from viewer.batch.results_table import filtered
from viewer.server.jobs import Jobs
from viewer.server.settings import root_from_environment
from viewer.session import state
from viewer.ui import messages, uploads

if TYPE_CHECKING:
    import pandas as pd

    from drcore.results.columns import Row

__all__ = ["choose", "csv_bytes", "current", "how_to", "jobs", "show", "start_on_server", "table"]

POLL = 1.0
"""Seconds between looks at the run."""

MOST_TO_REVIEW = 1000
"""Photographs that are taken over to the review at once."""

_SHOWN = (
    "image", "status", "grade", "score", "referable", "laterality", "patient", "reason",
)  # fmt: skip

HERE, SERVER = "From this computer", "On the server"


# Not in Streamlit's caches: any browser may ask the server to clear those.
_JOBS = Jobs()


def jobs() -> Jobs:
    """Return the runs of this server."""
    return _JOBS


def current() -> BatchJob | None:
    """Return the run of this session, or of the page's address after a reload."""
    token = st.session_state.get("run") or st.query_params.get("run")
    job = jobs().get(token)
    if job is None:
        st.session_state.pop("run", None)
        st.query_params.pop("run", None)
        if token:
            st.session_state["batch-error"] = (
                "This run is no longer there: the server was started anew, the run was put away, "
                "or a day has passed since its end. Start it again."
            )
        return None
    st.session_state["run"] = job.token
    st.query_params["run"] = job.token
    return job


def how_to(job: BatchJob | None) -> None:
    """Show what the page is for, or what can be done with a run."""
    if job is None:
        st.caption("Grade a whole folder. The table has the same columns as the command line's.")
        return
    if job.active:
        st.button("Cancel", key="cancel", icon=":material/stop:", width="stretch",
                  on_click=job.cancel)  # fmt: skip
        st.caption("The run goes on when you leave this page. Keep its address to come back to it.")
        return
    _download(job)
    if len(job.rows) < len(job.found):
        st.button("Go on", key="go-on", icon=":material/play_arrow:", width="stretch",
                  on_click=job.start, args=(state.engine(),),
                  help="Grades the photographs that have no row yet")  # fmt: skip
    st.button("New batch", key="new", icon=":material/add:", width="stretch",
              on_click=_forget, args=(job,))  # fmt: skip


def choose() -> None:
    """Show the two ways to choose a folder."""
    st.header("Grade a folder")
    where = st.segmented_control(
        "Where is the folder?", [HERE, SERVER], default=HERE, required=True, key="where",
        label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    if where == SERVER:
        _choose_on_server()
    else:
        generation = st.session_state.setdefault("folder-generation", 0)
        key = f"folder-{generation}"
        st.file_uploader(
            "Drop a folder with fundus photographs here",
            accept_multiple_files="directory",
            key=key,
            on_change=_start_uploaded,
            args=(key,),
        )
        st.caption(
            "Photographs stay on this computer. Copies are kept in its temporary folder while "
            "the run is remembered, at most a day after its end, and are sent nowhere."
        )
    error = st.session_state.pop("batch-error", "")
    if error:
        messages.problem(error)


def start_on_server(wanted: str) -> None:
    """Start a run over a folder below the configured root; what is wrong is kept for the page.

    Args:
        wanted: path below the root, as typed.
    """
    from drcore.sources.find import find_photographs
    from drcore.sources.folders import inside_root

    root = root_from_environment()
    if root is None:
        st.session_state["batch-error"] = "No folder is configured on this server."
        return
    try:
        folder = inside_root(root, wanted.strip())
        found = find_photographs([folder])
    except (DrcoreError, OSError) as error:
        st.session_state["batch-error"] = (
            str(error) if isinstance(error, DrcoreError) else "The folder cannot be read."
        )
        return
    if not found:
        st.session_state["batch-error"] = (
            f"There is no photograph in {wanted.strip() or 'this folder'}. Choose another folder."
        )
        return
    _start(BatchJob(found, wanted.strip() or root.name))


def show(job: BatchJob) -> None:
    """Show a run: its progress while it lasts, then its table."""
    st.html(f'<h1 class="name">{escape(job.title)}</h1>')
    if job.active:
        st.fragment(_watch, run_every=POLL)(job)
        return
    progress = job.progress
    ending = {
        "finished": f"{progress.done} photographs in {duration(progress.done / progress.rate)}"
        if progress.rate
        else "Finished",
        "cancelled": f"Cancelled after {progress.done} of {progress.total} photographs",
        "failed": f"Broken off after {progress.done} of {progress.total} photographs",
    }[job.state]
    st.caption(ending)
    if job.error:
        messages.problem(job.error)
    rows = job.rows
    if rows:
        _histogram(rows)
        _browse(job, rows)


def table(rows: list[Row], indices: list[int]) -> pd.DataFrame:
    """Return rows as a table that sorts numbers as numbers.

    Args:
        rows: of a run.
        indices: which of them, in order.

    Returns:
        The columns that are shown, one row an index.
    """
    import pandas as pd

    frame = pd.DataFrame([rows[index] for index in indices], columns=list(_SHOWN))
    frame["grade"] = pd.to_numeric(frame["grade"], errors="coerce").astype("Int64")
    frame["score"] = pd.to_numeric(frame["score"], errors="coerce")
    frame["referable"] = frame["referable"].map({"true": "yes", "false": "no"}).fillna("")
    return frame


def csv_bytes(job: BatchJob) -> bytes:
    """Return the rows of a run as the command line writes them."""
    from drcore.results.columns import COLUMNS
    from drcore.text import csv_text

    return csv_text(job.rows, COLUMNS).encode("utf-8")


def _choose_on_server() -> None:
    root = root_from_environment()
    if root is None:
        st.info(
            "No folder is configured. Start the viewer with the environment variable "
            "`DRCORE_BATCH_ROOT` set to a folder; it and what lies below it can then be graded "
            "here, and nothing else can be reached."
        )
        return
    with st.form("server-folder", border=False):
        wanted = st.text_input(
            "Folder below the photograph folder of this server",
            key="server-path",
            placeholder="for example 2024/screening; empty for all",
        )
        if st.form_submit_button("Start", type="primary"):
            start_on_server(wanted)
            if "batch-error" not in st.session_state:
                st.rerun()


def _start_uploaded(key: str) -> None:
    from viewer.batch.uploads import check_upload, spool

    files = uploads.uploaded(key)
    if not files:
        return

    def one_by_one() -> Iterator[tuple[str, bytes]]:
        for file in files:
            yield file.name, file.getvalue()
            uploads.release([file])  # on the disk now: memory has room for the next
            file.truncate(0)

    try:
        check_upload([file.size for file in files])
        found, folder = spool(one_by_one())
    except DrcoreError as error:
        st.session_state["batch-error"] = str(error)
    else:
        top = {file.name.split("/")[0] for file in files if "/" in file.name}
        _start(BatchJob(found, top.pop() if len(top) == 1 else "Dropped folder", folder))
    finally:
        uploads.release(files)
        st.session_state["folder-generation"] += 1


def _start(job: BatchJob) -> None:
    jobs().add(job)
    job.start(state.engine())
    st.session_state["run"] = job.token


def _forget(job: BatchJob) -> None:
    jobs().forget(job.token)
    st.session_state.pop("run", None)
    st.query_params.pop("run", None)


def _watch(job: BatchJob) -> None:
    progress = job.progress
    if not job.active:
        st.rerun()
    if job.state == "waiting":
        text = "Waiting for the model\u2026"
    else:
        left = (
            f", {duration(progress.seconds_left)} left" if progress.seconds_left is not None else ""
        )
        text = f"{progress.done} of {progress.total} \u00b7 {progress.rate:.1f} a second{left}"
    st.progress(progress.done / max(progress.total, 1), text=text)
    rows = job.rows
    if rows:
        _histogram(rows)
        st.caption("Latest")
        latest = list(range(len(rows)))[-12:][::-1]
        st.dataframe(
            table(rows, latest), hide_index=True, column_config=_columns(), key="latest-rows",
        )  # fmt: skip


def _histogram(rows: list[Row]) -> None:
    from viewer.ui import charts

    st.plotly_chart(
        charts.grade_histogram(rows), key="histogram", config={"displayModeBar": False},
        alt="Number of photographs of each grade",
    )  # fmt: skip


def _browse(job: BatchJob, rows: list[Row]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="filters"):
        kinds = [*map(str, range(5)), "ungradable", "failed"]
        chosen = st.pills(
            "Show", kinds, selection_mode="multi", key=f"kinds-{job.token}",
            label_visibility="collapsed", format_func=lambda kind: kind.capitalize(),
            persist_state="session",
        )  # fmt: skip
        text = st.text_input(
            "Find", key=f"find-{job.token}", placeholder="Name, patient or reason",
            label_visibility="collapsed", width=260, persist_state="session",
        )  # fmt: skip
        indices = filtered(rows, show=chosen, text=text)
        if st.button(
            f"Review {'these' if len(indices) < len(rows) else 'all'} "
            f"{min(len(indices), MOST_TO_REVIEW)}",
            key="review-listed", disabled=not indices, icon=":material/visibility:",
            help="Takes the listed photographs to the Review page, in this order",
        ):  # fmt: skip
            _take_over(job, indices[:MOST_TO_REVIEW])
            st.switch_page("review/page.py")
    st.caption(f"{len(indices)} of {len(rows)} rows. Select a row to review its photograph.")
    visits = st.session_state.setdefault("table-visits", 0)
    event = st.dataframe(
        table(rows, indices),
        hide_index=True,
        column_config=_columns(),
        on_select="rerun",
        selection_mode="single-row",
        height=max(220, min(640, 38 + 35 * len(indices))),
        placeholder="",
        key=f"rows-{job.token}-{visits}",
    )
    picked = event["selection"]["rows"]
    if picked and picked[0] < len(indices):
        st.session_state["table-visits"] += 1  # back here, nothing is selected
        _take_over(job, [indices[picked[0]]])
        st.switch_page("review/page.py")


def _take_over(job: BatchJob, indices: list[int]) -> None:
    worklist = state.worklist()
    entries, sentences = [], []
    for found in (job.found[i] for i in indices):
        try:
            entries.append(worklist.add(found.image, found.source()[0]))
        except PhotographError as error:  # it cannot be fetched any more
            sentences.append(str(error))
        except SourceError as error:  # the list is full
            sentences.append(f"{len(indices) - len(entries)} not added. {error}")
            break
    st.session_state["arrivals"] = sentences[:10]
    if entries:
        worklist.select(entries[0].key)


def _columns() -> dict[str, Any]:
    column = st.column_config
    return {
        "image": column.TextColumn("Image", width="medium", pinned=True),
        "status": column.TextColumn("Status", width="small"),
        "grade": column.NumberColumn("Grade", format="%d", width="small"),
        "score": column.NumberColumn("Score", format="%.2f", width="small"),
        "referable": column.TextColumn("Referable", width="small"),
        "laterality": column.TextColumn("Eye", width="small"),
        "patient": column.TextColumn("Patient", width="medium"),
        "reason": column.TextColumn("Reason", width="large"),
    }


def _download(job: BatchJob) -> None:
    st.download_button(
        "Download CSV",
        data=lambda: csv_bytes(job),
        file_name=f"drcore-batch-{datetime.now(UTC).astimezone():%Y%m%d-%H%M}.csv",
        mime="text/csv",
        on_click="ignore",
        icon=":material/download:",
        key="download-batch",
        type="primary",
        width="stretch",
    )
