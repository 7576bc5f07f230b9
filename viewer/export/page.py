"""Export: reports, tables and data of some or all photographs of the list, in one download."""

import streamlit as st

from viewer.export import panel, record_downloads
from viewer.session import page, state

page.open_page()
worklist = state.worklist()
job = panel.current()

with st.sidebar:
    record_downloads.all_grades(worklist)
    page.engine_status()

if job is not None:
    panel.show(job)
elif worklist.total:
    panel.choose(worklist)
else:
    panel.empty()
