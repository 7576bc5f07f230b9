"""Logging: one structured line per event, without patient data."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO, get_args

from drcore.errors import DrcoreError

__all__ = ["Level", "accident", "configure", "configure_from_environment", "event"]

Level = Literal["debug", "info", "warning", "error"]

_LOGGER = logging.getLogger("drcore")
_LOGGER.addHandler(logging.NullHandler())

_PERSONAL = frozenset({"image", "message", "patient", "path"})
"""Fields that may name a patient: they are written only where that was asked for."""

_TALKATIVE = ("PIL", "highdicom", "pydicom", "pylibjpeg", "tifffile")
"""Loggers of readers, which tell what the headers of a file hold."""

SHA256_SHOWN = 12
"""Digits of a file's hash: enough to find its row, in a record of a billion files."""

_PLAIN = re.compile(r"[\w.+:/-]+", re.ASCII)

_names = False


def configure(
    level: Level = "warning",
    *,
    as_json: bool = False,
    names: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Send the lines of this process to its terminal; what was configured before is replaced.

    Args:
        level: least that is written; "debug" has a line for each photograph.
        as_json: one JSON object a line, else words and `key=value`.
        names: write names of files and what errors of others say too. They name patients.
        stream: where to; standard error where left out.
    """
    global _names  # noqa: PLW0603 - one terminal a process, one setting
    for reader in _TALKATIVE:
        logging.getLogger(reader).setLevel(logging.CRITICAL)
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(_Json() if as_json else _Words())
    for old in _LOGGER.handlers[:]:
        _LOGGER.removeHandler(old)
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(level.upper())
    _LOGGER.propagate = False  # else a program around this one would write each line again
    _names = names


def configure_from_environment(environment: Mapping[str, str] = os.environ) -> None:
    """Configure logging from environment variables.

    Args:
        environment: DRCORE_LOG, a level; DRCORE_LOG_JSON and DRCORE_LOG_NAMES, "1" for yes.

    Raises:
        DrcoreError: DRCORE_LOG is not a level.
    """
    level = environment.get("DRCORE_LOG", "").strip().lower() or "warning"
    if level not in get_args(Level):
        raise DrcoreError(
            f"DRCORE_LOG is {level!r}, which is not a level. Choose {', '.join(get_args(Level))}."
        )
    yes = {"1", "true", "yes", "on"}
    configure(
        level,  # type: ignore[arg-type]
        as_json=environment.get("DRCORE_LOG_JSON", "").strip().lower() in yes,
        names=environment.get("DRCORE_LOG_NAMES", "").strip().lower() in yes,
    )


def event(name: str, level: Level = "debug", **fields: object) -> None:
    """Write a line.

    Args:
        name: what happened, in a word or two; ours.
        level: how much it matters.
        fields: what belongs to it; those that may name a patient ("image", "message", "patient",
            "path") are left out unless `configure` was told otherwise.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    if not _LOGGER.isEnabledFor(number):
        return
    shown = {key: value for key, value in fields.items() if _names or key not in _PERSONAL}
    _LOGGER.log(number, "%s", _words(name, shown), extra={"event": name, "fields": shown})


def accident(doing: str, error: BaseException, *, says: bool = False) -> None:
    """Write down an error that was not foreseen: its kind and where it arose.

    Args:
        doing: what broke off; ours.
        error: that was caught.
        says: write what the error itself says too; only where no photograph was near, because
            it may hold the path of a file. Else that is left to `configure`.
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
    event(
        "accident", "error",
        doing=doing, error=type(error).__name__, where=" < ".join(reversed(where)),
        **{"says" if says else "message": str(error)},
    )  # fmt: skip


class _Words(logging.Formatter):
    """`2026-11-23T22:15:00.123Z debug photograph sha256=ab12 status=graded ...`."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{_time(record)} {record.levelname.lower()} {record.getMessage()}"


class _Json(logging.Formatter):
    """One JSON object a line: time, level and event first."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _time(record), "level": record.levelname.lower()}
        fields: dict[str, Any] = getattr(record, "fields", {})
        name = getattr(record, "event", None) or record.getMessage()
        return json.dumps({**line, "event": name, **fields}, default=str)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _words(name: str, fields: Mapping[str, object]) -> str:
    return " ".join([name, *(f"{key}={_word(value)}" for key, value in fields.items())])


def _word(value: object) -> str:
    """A value without blanks and line breaks of its own: no name can forge a line."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
