"""Review: one photograph after the other, the model's verdict beside it, the reader's decision."""

import streamlit as st

from viewer.review import list_panel, reading_mode_panel, resume_link, upload, workspace
from viewer.session import page, reading_mode, state

page.open_page()
worklist = state.worklist()
side = st.sidebar.container()

if len(worklist):
    workspace.reading_room(worklist)
else:
    st.header("Review fundus photographs")
    resume_link.last_list("")
    upload.uploader(worklist)
    st.caption(upload.PRIVACY)
    st.subheader("Or open a sample")
    upload.sample_gallery(worklist)

with side:
    if len(worklist):
        reading_mode_panel.panel(worklist)
        list_panel.front(worklist)
        resume_link.last_list(worklist.token)
        workspace.queue(worklist)
        upload.add_more(worklist)
        if not reading_mode.hides_record():
            page.download_decisions()
    else:
        list_panel.notices()
        st.caption("The list of photographs appears here.")
    page.engine_status()
