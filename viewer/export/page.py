"""Export: what leaves the tool, for some photographs or all of the list, in one download."""

import streamlit as st

from viewer.export import panel, record_downloads
from viewer.session import page, state

page.open_page()
worklist = state.worklist()
job = panel.current()

with st.sidebar:
    record_downloads.whole_record(worklist)
    page.engine_status()

if job is not None:
    panel.show(job)
elif worklist.total:
    panel.choose(worklist)
else:
    panel.empty()
