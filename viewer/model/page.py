"""Model: what grades here, how well, and in which versions."""

import streamlit as st

from viewer.model import card
from viewer.session import page

page.open_page()

with st.sidebar:
    card.versions()
    page.engine_status()

card.model()
