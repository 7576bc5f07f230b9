"""Export: what leaves the tool, for some photographs or all of the list, in one download."""

import streamlit as st

from viewer import export_page, export_record, shell

shell.open_page()
worklist = shell.worklist()
job = export_page.current()

with st.sidebar:
    export_record.whole_record(worklist)
    shell.engine_status()

if job is not None:
    export_page.show(job)
elif worklist.total:
    export_page.choose(worklist)
else:
    export_page.empty()
