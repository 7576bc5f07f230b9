"""`python -m viewer`, which `drcore view` starts: the viewer with its settings, from any folder.

Streamlit reads `viewer/.streamlit/config.toml` because it lies beside the script, after settings of
the user and of the current folder; variables such as STREAMLIT_SERVER_PORT and arguments win.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Run the viewer until it is ended; arguments go to `streamlit run`."""
    from streamlit.web import cli

    cli.main(["run", str(Path(__file__).with_name("app.py")), *sys.argv[1:]], prog_name="streamlit")


if __name__ == "__main__":
    main()
