"""The viewer's entry: `streamlit run viewer/app.py`. The server; its pages are in navigation.py."""

import streamlit as st

from viewer.server.middleware import MIDDLEWARE, opened

app = st.App("navigation.py", middleware=MIDDLEWARE, lifespan=opened)
