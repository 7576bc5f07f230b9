"""The parts of the Batch page: choosing a folder, progress, results."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from drcore.errors import DrcoreError, PhotographError, SourceError
from viewer.batch.job import BatchJob, duration
from viewer.batch.outcomes import (
    OUTCOMES,
    PATIENT_OUTCOMES,
    Outcome,
    PatientOutcome,
    outcome_name,
    patient_outcomes,
    patient_table,
)
from viewer.batch.results_table import GRADES, column_config, filtered, patient_config, table
from viewer.server.jobs import JobRegistry
from viewer.server.settings import batch_root, name_rules
from viewer.session import reader as signed_in
from viewer.session import state
from viewer.session.current_job import current_job, forget_job, start_job
from viewer.ui import messages, uploads
from viewer.ui.downloads import csv_download

if TYPE_CHECKING:
    import pandas as pd

    from drcore.results.columns import Row

PARAMETER = "run"
"""Of the page's address, so that a reload finds the batch again."""

POLL = 1.0
"""Seconds between checks of the progress."""

MAX_TO_REVIEW = 1000
"""Photographs that are opened in Review at once."""

MAX_NAMES = 50
"""Names of files left out that are listed."""

LATEST = 12
"""Rows that are shown while the batch runs."""

IMAGES, PATIENTS = "Images", "Patients"

UPLOAD, SERVER = "Upload a folder", "Folder on server"

# Not in Streamlit's caches: any browser may ask the server to clear those.
_JOBS: JobRegistry[BatchJob] = JobRegistry()


def jobs() -> JobRegistry[BatchJob]:
    """Return the batches of this server."""
    return _JOBS


def current() -> BatchJob | None:
    """Return the batch of this session, or of the page's address after a reload."""
    expected = st.session_state.get(PARAMETER) or st.query_params.get(PARAMETER)
    job = current_job(jobs(), PARAMETER)
    if job is None and expected:
        st.session_state["batch-error"] = (
            "This batch has expired or the server was restarted. Please run it again."
        )
    return job


def controls(job: BatchJob | None) -> None:
    """Show what the page is for, or what can be done with a batch."""
    if job is None:
        st.caption(
            "Grade every image of a folder into one table, with the columns of `drcore grade`."
        )
        return
    if job.active:
        st.button(
            "Cancel", key="cancel", icon=":material/stop:", width="stretch", on_click=job.cancel
        )
        st.caption("The batch continues if you leave this page. Bookmark it to return.")
        return
    if signed_in.permits("export_identity"):
        csv_download(
            "Download CSV", lambda: csv_of(job), name="batch", key="download-batch", type="primary"
        )
    if len(job.rows) < len(job.found):
        st.button(
            "Resume", key="go-on", icon=":material/play_arrow:", width="stretch",
            on_click=job.start, args=(state.engine(),), help="Grade the remaining images",
        )  # fmt: skip
    st.button(
        "New batch", key="new", icon=":material/add:", width="stretch",
        on_click=forget_job, args=(jobs(), PARAMETER, job),
    )  # fmt: skip


def choose() -> None:
    """Show the two ways to choose a folder."""
    st.header("Batch grading")
    where = st.segmented_control(
        "Where is the folder?", [UPLOAD, SERVER], default=UPLOAD, required=True, key="where",
        label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    if where == SERVER:
        _choose_on_server()
    else:
        key = f"folder-{st.session_state.setdefault('folder-generation', 0)}"
        st.file_uploader(
            "Drop a folder with fundus images here", accept_multiple_files="directory", key=key,
            on_change=_start_uploaded, args=(key,),
        )  # fmt: skip
        st.caption(
            "Images stay on the computer running this viewer. Temporary copies are deleted within "
            "a day of the batch finishing."
        )
    error = st.session_state.pop("batch-error", "")
    if error:
        messages.problem(error)


def start_on_server(wanted: str) -> None:
    """Start a batch over a path below the configured root, or leave an error for the page."""
    from drcore.batch.summary import left_out_in_words
    from drcore.sources.find import find_inputs
    from drcore.sources.folders import inside_root

    root, name = batch_root(), wanted.strip()
    try:
        if root is None:
            raise SourceError("No server folder configured.")
        inputs = find_inputs([inside_root(root, name)], name_rules())
        if not inputs.photographs:
            left_out = left_out_in_words(inputs.left_out, " (", ")")
            raise SourceError(f"No images found in {name or 'this folder'}{left_out}.")
    except (DrcoreError, OSError) as error:
        known = isinstance(error, DrcoreError)
        st.session_state["batch-error"] = str(error) if known else "The folder cannot be read."
        return
    _start(BatchJob(inputs.photographs, name or root.name, left_out=inputs.left_out))


def show(job: BatchJob) -> None:
    """Show a batch: its progress while it runs, then its results."""
    st.html(f'<h1 class="name">{escape(job.title)}</h1>')
    if job.active:
        _left_out(job)
        st.fragment(_watch, run_every=POLL)(job)
        return
    done, total, rate = job.progress.done, job.progress.total, job.progress.rate
    images = "1 image" if done == 1 else f"{done} images"
    st.caption(
        {
            "finished": f"{images} in {duration(done / rate)}" if rate else "Finished",
            "cancelled": f"Cancelled: {done} of {total} done",
            "failed": f"Stopped by an error: {done} of {total} done",
        }[job.state]
    )
    if job.error:
        messages.problem(job.error)
    _left_out(job)
    rows = job.rows
    _failures(rows)
    if rows:
        _histogram(rows)
        _browse(job, rows)


def csv_of(job: BatchJob) -> str:
    """Return the rows of a batch as the command line writes them."""
    from drcore.results.columns import COLUMNS
    from drcore.text import csv_text

    return csv_text(job.rows, COLUMNS)


def _choose_on_server() -> None:
    if batch_root() is None:
        st.info(
            "No server folder configured. Set `DRCORE_BATCH_ROOT`; only images below it will be "
            "accessible."
        )
        return
    with st.form("server-folder", border=False):
        wanted = st.text_input(
            "Subfolder", key="server-path", placeholder="e.g. 2024/screening (blank = everything)"
        )
        if st.form_submit_button("Start", type="primary"):
            start_on_server(wanted)
            if "batch-error" not in st.session_state:
                st.rerun()


def _start_uploaded(key: str) -> None:
    from viewer.batch.uploads import check_upload, save_upload

    files = uploads.uploaded(key)
    if not files:
        return
    try:
        check_upload([file.size for file in files])
        found, folder, left_out = save_upload(uploads.one_by_one(files))
    except DrcoreError as error:
        st.session_state["batch-error"] = str(error)
    else:
        top = {file.name.split("/")[0] for file in files if "/" in file.name}
        title = top.pop() if len(top) == 1 else "Uploaded folder"
        _start(BatchJob(found, title, folder, left_out))
    finally:
        uploads.release(files)
        st.session_state["folder-generation"] += 1


def _start(job: BatchJob) -> None:
    start_job(jobs(), PARAMETER, job, state.engine())


def _left_out(job: BatchJob) -> None:
    """Say what is not graded; names are untrusted, so they never become Markdown."""
    from drcore.batch.summary import left_out_in_words

    if not job.left_out:
        return
    with st.expander(left_out_in_words(job.left_out, "", "")):
        items = "".join(
            f"<li>{escape(left.path)} \u2013 {left.reason}</li>"
            for left in job.left_out[:MAX_NAMES]
        )
        st.html(f'<ul style="font-size:13px;line-height:1.5;overflow-wrap:anywhere">{items}</ul>')
        if len(job.left_out) > MAX_NAMES:
            st.caption(f"And {len(job.left_out) - MAX_NAMES} more.")


def _failures(rows: list[Row]) -> None:
    """Say why images could not be read; the sentences quote untrusted bytes."""
    from drcore.batch.summary import reasons_of

    reasons = reasons_of(rows)
    if not reasons:
        return
    with st.expander(f"{sum(reasons.values())} could not be read"):
        items = "".join(
            f"<li>{number} \u00d7 {escape(reason)}</li>"
            for reason, number in reasons.most_common(MAX_NAMES)
        )
        st.html(f'<ul style="font-size:13px;line-height:1.5;overflow-wrap:anywhere">{items}</ul>')
        st.caption("The column Reason has the sentence of each; filter by Unreadable to see them.")


def _watch(job: BatchJob) -> None:
    if not job.active:
        st.rerun()
    progress, rows = job.progress, job.rows
    if job.state == "waiting":
        text = "Waiting for the model\u2026"
    else:
        parts = [f"{progress.done} of {progress.total}", f"{progress.rate:.1f} images/s"]
        if progress.seconds_left is not None:
            parts.append(f"{duration(progress.seconds_left)} left")
        text = " \u00b7 ".join(parts)
    st.progress(progress.done / max(progress.total, 1), text=text)
    if rows:
        _histogram(rows)
        st.caption("Latest")
        latest = list(range(len(rows)))[-LATEST:][::-1]
        st.dataframe(
            table(rows, latest), hide_index=True, column_config=column_config(),
            key="latest-rows",
        )  # fmt: skip


def _histogram(rows: list[Row]) -> None:
    from viewer.ui import charts

    st.plotly_chart(
        charts.grade_histogram(rows), key="histogram", config={"displayModeBar": False},
        alt="Number of images of each grade",
    )  # fmt: skip


def _browse(job: BatchJob, rows: list[Row]) -> None:
    patients = patient_outcomes(rows)
    level = IMAGES
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="filters"):
        if patients:
            level = st.segmented_control(
                "Level", [IMAGES, PATIENTS], default=IMAGES, required=True,
                key=f"level-{job.token}", label_visibility="collapsed", persist_state="session",
            )  # fmt: skip
        outcomes = st.pills(
            "Outcome", OUTCOMES if level == IMAGES else PATIENT_OUTCOMES, selection_mode="multi",
            key=f"outcomes-{level}-{job.token}", label_visibility="collapsed",
            format_func=outcome_name, persist_state="session",
        )  # fmt: skip
        text = st.text_input(
            "Search", key=f"find-{job.token}", placeholder="Search file, patient ID or reason",
            label_visibility="collapsed", width=260, persist_state="session",
        )  # fmt: skip
        if level == PATIENTS:
            chosen = _matching(patients, outcomes, text)
            indices = [index for one in chosen for index in one.rows]
        else:
            grades = st.pills(
                "Grade", GRADES, selection_mode="multi", key=f"grades-{job.token}",
                label_visibility="collapsed", format_func="Grade {}".format,
                persist_state="session",
            )  # fmt: skip
            indices = filtered(rows, show=grades, outcomes=outcomes, text=text)
        count = min(len(indices), MAX_TO_REVIEW)
        if st.button(
            f"Open {'these' if len(indices) < len(rows) else 'all'} {count} in Review",
            key="review-listed", disabled=not indices, icon=":material/visibility:",
            help="Add these images to your worklist, in this order",
        ):  # fmt: skip
            _open_in_review(job, indices[:MAX_TO_REVIEW])
    if level == PATIENTS:
        _patients(job, patients, chosen, sum(not row["patient"] for row in rows))
    else:
        _images(job, rows, indices)


def _matching(
    patients: list[PatientOutcome], outcomes: list[Outcome], text: str
) -> list[PatientOutcome]:
    needle = text.strip().lower()
    return [
        one
        for one in patients
        if (not outcomes or one.outcome in outcomes) and needle in one.patient.lower()
    ]


def _patients(
    job: BatchJob, patients: list[PatientOutcome], chosen: list[PatientOutcome], unknown: int
) -> None:
    without = f" {unknown} images of unknown patients are not among them." if unknown else ""
    st.caption(
        f"Showing {len(chosen)} of {len(patients)} patients, each visit by itself, by the worse "
        f"eye.{without} Tick a row to open its images in Review."
    )
    _table(job, patient_table(chosen), patient_config(), [list(one.rows) for one in chosen])


def _images(job: BatchJob, rows: list[Row], indices: list[int]) -> None:
    st.caption(f"Showing {len(indices)} of {len(rows)}. Tick a row to open the image in Review.")
    _table(job, table(rows, indices), column_config(), [[index] for index in indices])


def _table(
    job: BatchJob, frame: pd.DataFrame, config: dict[str, Any], opened: list[list[int]]
) -> None:
    """Show a table; a ticked line opens its images in Review."""
    visits = st.session_state.setdefault("table-visits", 0)
    event = st.dataframe(
        frame, hide_index=True, column_config=config, on_select="rerun",
        selection_mode="single-row", height=max(220, min(640, 38 + 35 * len(opened))),
        placeholder="", key=f"rows-{job.token}-{visits}",
    )  # fmt: skip
    picked = event["selection"]["rows"]
    if picked and picked[0] < len(opened):
        st.session_state["table-visits"] += 1  # a new table, in which nothing is selected
        _open_in_review(job, opened[picked[0]])


def _open_in_review(job: BatchJob, indices: list[int]) -> None:
    worklist = state.worklist()
    entries, sentences = [], []
    for found in (job.found[i] for i in indices):
        try:
            source = found.source()[0]
            entries.append(
                worklist.add(found.image, source, identity=found.identity, place=found.image)
            )
        except PhotographError as error:  # it cannot be fetched any more
            sentences.append(str(error))
        except SourceError as error:  # the list is full
            sentences.append(f"{len(indices) - len(entries)} not added. {error}")
            break
    state.session().notices = sentences[:10]
    if entries:
        worklist.select(entries[0].key)
    st.switch_page("review/page.py")
