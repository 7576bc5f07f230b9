"""Review: photograph after photograph, the model's result beside it, the reader's decision."""

import streamlit as st

from viewer.review import (
    downloads,
    list_panel,
    pacs_panel,
    reading_mode_panel,
    resume_link,
    start_panel,
    upload,
    workspace,
)
from viewer.session import page, reading_mode, state

page.open_page()
worklist = state.worklist()
side = st.sidebar.container()

if pacs_panel.is_open():
    pacs_panel.show(worklist)
elif len(worklist) and not reading_mode.chosen():
    start_panel.show(worklist)
elif len(worklist):
    workspace.show(worklist)
else:
    st.header("Grade fundus images")
    resume_link.last_list("")
    upload.uploader(worklist)
    st.caption(upload.privacy())
    pacs_panel.offer()
    st.subheader("Or try a sample image")
    upload.sample_gallery(worklist)

with side:
    if len(worklist) and not reading_mode.chosen():
        list_panel.notices()
        st.caption("The list appears once you have chosen how to read it.")
        resume_link.last_list(worklist.token)
        upload.add_more(worklist)
    elif len(worklist):
        reading_mode_panel.panel(worklist)
        list_panel.panel(worklist)
        resume_link.last_list(worklist.token)
        workspace.queue(worklist)
        upload.add_more(worklist)
        downloads.download_grades()
    else:
        list_panel.notices()
        st.caption("Your worklist will appear here.")
    page.engine_status()
