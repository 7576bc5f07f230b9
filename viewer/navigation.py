"""The pages of the viewer and their settings in the browser."""

from pathlib import Path

import streamlit as st

from viewer.session import reader

st.set_page_config(
    page_title="Retinopathy review",
    # A file of our own: Streamlit would fetch a named icon from the internet.
    page_icon=str(Path(__file__).with_name("icon.png")),
    layout="wide",
    initial_sidebar_state=250,
)
page = st.navigation(
    [
        st.Page("review/page.py", title="Review", icon=":material/visibility:", default=True),
        st.Page("batch/page.py", title="Batch", url_path="batch", icon=":material/folder_open:"),
        st.Page("export/page.py", title="Export", url_path="export", icon=":material/ios_share:"),
        st.Page(
            "agreement/page.py",
            title="Agreement",
            url_path="agreement",
            icon=":material/handshake:",
        ),
        st.Page(
            "monitor/page.py", title="Monitor", url_path="monitor", icon=":material/monitoring:"
        ),
        st.Page(
            "workload/page.py",
            title="Workload",
            url_path="workload",
            icon=":material/hourglass_empty:",
        ),
        st.Page("model/page.py", title="Model", url_path="model", icon=":material/info:"),
    ],
    position="top",
)
reader.gate(page.title)
page.run()
