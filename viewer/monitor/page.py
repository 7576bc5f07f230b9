"""Monitor: has anything changed about photographs, cameras or readers?"""

import streamlit as st

from viewer.monitor import panel
from viewer.session import page

page.open_page()

with st.sidebar:
    filters = st.container()
    page.engine_status()

panel.page(filters)
