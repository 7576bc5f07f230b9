"""`python -m drcore`: the command line."""

from drcore.cli import main

raise SystemExit(main())
