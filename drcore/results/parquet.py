"""The table of a batch as Parquet: typed columns, and back to the same cells."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from drcore.errors import SourceError
from drcore.results.columns import COLOUR_AND_LIGHT, COLUMNS, SIZES, Row
from drcore.text import clean_name, csv_text

__all__ = ["csv_to_parquet", "parquet_to_csv"]

CHUNK = 10_000
"""Rows of a Parquet file that are held at once."""

BLOCK = 4 * 1024 * 1024
"""Bytes of a CSV that are held at once."""

_FLAGS = frozenset({"gradable", "referable", "fov_found", "referable_sensitive"})
_WHOLE = {
    "grade": "int8",
    "width": "int32",
    "height": "int32",
    "picture": "int32",
    "file_size": "int64",
}
_DECIMALS = {
    **dict.fromkeys(("fov_x", "fov_y", "fov_radius"), 1),
    **dict.fromkeys(("score", *(f"score_{size}" for size in SIZES), "margin"), 4),
    **dict.fromkeys(("sharpness", "brightness", "quality_score", *COLOUR_AND_LIGHT), 4),
    **dict.fromkeys((*(f"p{grade}" for grade in range(5)), "p_referable"), 4),
}
"""Decimals of the numbers in a CSV; in Parquet they are float64, missing ones null."""


def csv_to_parquet(rows: Path, file: Path) -> None:
    """Write the rows of a CSV as Parquet."""
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import csv, parquet

    schema = pa.schema([(column, _kind(column)) for column in COLUMNS])
    options = csv.ConvertOptions(
        column_types=schema, include_columns=COLUMNS, strings_can_be_null=False,
        null_values=[""], true_values=["true"], false_values=["false"],
    )  # fmt: skip
    reading = csv.ReadOptions(block_size=BLOCK, use_threads=False)
    with (
        csv.open_csv(rows, read_options=reading, convert_options=options) as reader,
        parquet.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        for batch in reader:
            writer.write_batch(batch)


def parquet_to_csv(file: Path, rows: Path) -> None:
    """Write the rows of a Parquet file as the CSV that they came from."""
    with rows.open("w", encoding="utf-8", newline="") as lines:
        for number, chunk in enumerate(_chunks(file)):
            text = csv_text(chunk, COLUMNS)
            lines.write(text if number == 0 else text.partition("\n")[2])


def _chunks(file: Path) -> Generator[Sequence[Row]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as table:
            if tuple(table.schema_arrow.names) != COLUMNS:
                raise pa.ArrowInvalid
            yield []  # the header, also of a table without rows
            for batch in table.iter_batches(CHUNK):
                yield [
                    {column: _text(column, row[column]) for column in COLUMNS}
                    for row in batch.to_pylist()
                ]
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise SourceError(
            f"{clean_name(file.name)} is not a table of this version of drcore, so it cannot be "
            "continued. Give another name."
        ) from error


def _kind(column: str) -> str:
    if column in _FLAGS:
        return "bool"
    return _WHOLE.get(column) or ("float64" if column in _DECIMALS else "string")


def _text(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column in _FLAGS:
        return "true" if value else "false"
    if column in _DECIMALS:
        return f"{value:.{_DECIMALS[column]}f}"
    return str(value)
