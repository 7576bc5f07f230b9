"""Workload: how much reading could be saved, as a simulation."""

import streamlit as st

from viewer.session import page
from viewer.workload import panel

page.open_page()

with st.sidebar:
    inputs = st.container()
    page.engine_status()

panel.page(inputs)
