"""Batch: a whole folder, graded in the background; its table leads to the review."""

import streamlit as st

from viewer import runs, shell

shell.open_page()
job = runs.current()

with st.sidebar:
    runs.how_to(job)
    shell.engine_status()

if job is None:
    runs.choose()
else:
    runs.show(job)
