"""Entry of the viewer: `streamlit run viewer/app.py`. Its pages are in navigation.py."""

import streamlit as st

from viewer.server.middleware import MIDDLEWARE, lifespan

app = st.App("navigation.py", middleware=MIDDLEWARE, lifespan=lifespan)
