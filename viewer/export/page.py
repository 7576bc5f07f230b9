"""Export: reports, tables and data of some or all photographs of the list, in one download."""

import streamlit as st

from viewer.export import pacs_panel, panel, record_downloads
from viewer.session import page, state

page.open_page()
worklist = state.worklist()
job, sending = panel.current(), pacs_panel.current()

with st.sidebar:
    record_downloads.all_grades(worklist)
    page.engine_status()

if job is not None:
    panel.show(job)
elif sending is not None:
    pacs_panel.show(sending)
elif worklist.total:
    panel.choose(worklist)
    pacs_panel.choose(worklist)
else:
    panel.empty()
