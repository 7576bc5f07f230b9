"""The pages of the viewer, and what all of them share in the browser."""

from pathlib import Path

import streamlit as st

st.set_page_config(
    page_title="Retinopathy review",
    # A file of our own: Streamlit would fetch a named icon from the internet.
    page_icon=str(Path(__file__).with_name("icon.png")),
    layout="wide",
    initial_sidebar_state=250,
)
st.navigation(
    [
        st.Page("review.py", title="Review", icon=":material/visibility:", default=True),
        st.Page("batch.py", title="Batch", icon=":material/folder_open:"),
        st.Page("export.py", title="Export", icon=":material/ios_share:"),
        st.Page("agreement.py", title="Agreement", icon=":material/handshake:"),
        st.Page("model.py", title="Model", icon=":material/info:"),
    ],
    position="top",
).run()
