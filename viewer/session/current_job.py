"""The background job that a page shows: kept in the session, and in its address for a reload."""

from __future__ import annotations

from typing import Any, TypeVar

import streamlit as st

from viewer.server.jobs import Job, JobRegistry

J = TypeVar("J", bound=Job)


def current_job(registry: JobRegistry[J], name: str) -> J | None:
    """Return the job of this session, or of the page's address after a reload."""
    job = registry.get(st.session_state.get(name) or st.query_params.get(name))
    if job is None:
        st.session_state.pop(name, None)
        st.query_params.pop(name, None)
        return None
    st.session_state[name] = st.query_params[name] = job.token
    return job


def start_job(registry: JobRegistry[J], name: str, job: J, *context: Any) -> None:
    """Start a job and make it the one that the page shows."""
    registry.add(job)
    job.start(*context)
    st.session_state[name] = job.token


def forget_job(registry: JobRegistry[J], name: str, job: J) -> None:
    """Stop a job and delete its files; the page shows none."""
    registry.forget(job.token)
    st.session_state.pop(name, None)
    st.query_params.pop(name, None)
