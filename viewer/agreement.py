"""Agreement: the model against readers, readers against each other, time, and the map."""

import streamlit as st

from viewer import agreement_view, shell

shell.open_page()

with st.sidebar:
    filters = st.container()
    shell.engine_status()

agreement_view.page(filters)
