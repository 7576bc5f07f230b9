"""Model: what grades here, how well, and in which versions."""

import streamlit as st

from viewer import card, shell

shell.open_page()

with st.sidebar:
    card.versions()
    shell.engine_status()

card.model()
