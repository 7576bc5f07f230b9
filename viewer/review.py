"""Review: one photograph after the other, the model's verdict beside it, the reader's decision."""

import streamlit as st

from viewer import continuing, intake, listing, reading, shell, study

shell.open_page()
worklist = shell.worklist()
side = st.sidebar.container()

if len(worklist):
    reading.reading_room(worklist)
else:
    st.header("Review fundus photographs")
    continuing.last_list("")
    intake.uploader(worklist)
    st.caption(intake.PRIVACY)
    st.subheader("Or open a sample")
    intake.sample_gallery(worklist)

with side:
    if len(worklist):
        study.panel(worklist)
        listing.front(worklist)
        continuing.last_list(worklist.token)
        reading.queue(worklist)
        intake.add_more(worklist)
        if not study.hides_record():
            shell.download_decisions()
    else:
        listing.notices()
        st.caption("The list of photographs appears here.")
    shell.engine_status()
