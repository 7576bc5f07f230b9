"""Batch: a whole folder graded in the background; its table leads to Review."""

import streamlit as st

from viewer.batch import panel
from viewer.session import page

page.open_page()
job = panel.current()

with st.sidebar:
    panel.controls(job)
    page.engine_status()

if job is None:
    panel.choose()
else:
    panel.show(job)
