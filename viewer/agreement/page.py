"""Agreement: model vs readers, readers vs each other, reading times, the heat map."""

import streamlit as st

from viewer.agreement import report
from viewer.session import page

page.open_page()

with st.sidebar:
    filters = st.container()
    page.engine_status()

report.page(filters)
