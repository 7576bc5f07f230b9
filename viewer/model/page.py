"""Model: the model, its performance, versions."""

import streamlit as st

from viewer.model import card
from viewer.session import page

page.open_page()

with st.sidebar:
    card.versions()
    page.engine_status()

card.model()
