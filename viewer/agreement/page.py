"""Agreement: the model against readers, readers against each other, time, and the map."""

import streamlit as st

from viewer.agreement import report
from viewer.session import page

page.open_page()

with st.sidebar:
    filters = st.container()
    page.engine_status()

report.page(filters)
