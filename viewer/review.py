"""Review: one photograph after the other, the model's verdict beside it, the reader's decision."""

import streamlit as st

from viewer import intake, pieces, reading, shell

shell.open_page()
worklist = shell.worklist()
side = st.sidebar.container()

if len(worklist):
    reading.reading_room(worklist)
    pieces.peek_key()
else:
    st.header("Review fundus photographs")
    intake.uploader(worklist)
    st.caption(intake.PRIVACY)
    st.subheader("Or open a sample")
    intake.sample_gallery(worklist)

with side:
    if len(worklist):
        reading.queue(worklist)
        intake.add_more(worklist)
        shell.download_decisions()
    else:
        st.caption("The list of photographs appears here.")
    shell.engine_status()
