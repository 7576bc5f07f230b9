"""Uploaded CSV files, read as the core reads files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from drcore.text import clean_name
from viewer.ui.uploads import uploaded

__all__ = ["uploaded_tables"]


@contextmanager
def uploaded_tables(key: str) -> Iterator[list[Path]]:
    """Lay the files of an uploader into a temporary folder, under their own names.

    Args:
        key: of the uploader.

    Yields:
        Their paths, valid inside the block.
    """
    with TemporaryDirectory(prefix="drcore-") as folder:
        paths = []
        for number, file in enumerate(uploaded(key)):
            path = Path(folder) / str(number) / clean_name(file.name)
            path.parent.mkdir()
            path.write_bytes(file.getvalue())
            paths.append(path)
        yield paths
