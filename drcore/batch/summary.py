"""What a run says at its end, and before it where it is only asked what it would read."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from drcore import logs
from drcore.results.columns import Row
from drcore.sources.find import Inputs
from drcore.sources.listing import LeftOut
from drcore.text import cell, clean_name

__all__ = ["Summary", "left_out_in_words", "print_inputs", "reasons_of"]

_REASONS = 5
"""Reasons of failure that are told; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of a run: every input is accounted for.

    Attributes:
        counts: of `CsvFile.count`.
        left_out: files that were no input.
        before: photographs that had their row already.
        seconds: spent grading.
        removed: rows that the table lost, because their images are gone.
        reasons: of failure, each with its number of images.
    """

    counts: Counter[str]
    left_out: Sequence[LeftOut]
    before: int
    seconds: float
    removed: int = 0
    reasons: Counter[str] | None = None

    def log(self) -> None:
        """Write it as an event."""
        numbers = {kind: self.counts[kind] for kind in ("graded", "ungradable", "failed")}
        logs.event(
            "finished", "info", **numbers, referable=self.counts["referable"],
            left_out=len(self.left_out), earlier=self.before, removed=self.removed,
            seconds=round(self.seconds, 1),
        )  # fmt: skip

    def sentence(self, csv: str, removed_file: str = "") -> str:
        """Say it in a line, after one for each reason of failure."""
        counts = self.counts
        done = counts["graded"] + counts["ungradable"] + counts["failed"]
        failed = f"{counts['failed']} failed" + (" (see 'reason')" if counts["failed"] else "")
        earlier = f" ({self.before} of them in an earlier run)" if self.before else ""
        end = "Nothing was left to do: every image had its row already."
        if done > self.before:
            end = f"{(done - self.before) / max(self.seconds, 1e-3):.1f} images/s."
        return (
            f"{self._failures(csv)}{done} images: {counts['graded']} graded "
            f"({counts['referable']} referable), {counts['ungradable']} ungradable, "
            f"{failed}{earlier}{left_out_in_words(self.left_out, '; ', '')}. "
            f"{self._removed(removed_file)}Written to {clean_name(csv)}. {end}"
        )

    def _failures(self, csv: str) -> str:
        reasons = self.reasons or Counter()
        if not reasons:
            return ""
        lines = [f"  {number} x {reason}" for reason, number in reasons.most_common(_REASONS)]
        more = len(reasons) - _REASONS
        if more > 0:
            lines.append(f"  and {more} other reason{'s' if more > 1 else ''}")
        where = "the rows whose 'status' is 'failed'"
        if not csv.lower().endswith(".parquet") and "://" not in csv:
            where += f" (grep ,failed, {clean_name(csv)})"
        return "\n".join([f"Failed, see {where}:", *lines, ""])

    def _removed(self, file: str) -> str:
        if not self.removed:
            return ""
        one = self.removed == 1
        what = "row of an image that is" if one else "rows of images that are"
        return (
            f"{self.removed} {what} gone {'was' if one else 'were'} moved to {clean_name(file)} "
            "(--keep-missing keeps such rows). "
        )


def reasons_of(rows: Iterable[Row]) -> Counter[str]:
    """Count the reasons of failed rows, without the names of the files.

    Args:
        rows: with the columns image, status and reason; the first ten thousand that failed count.

    Returns:
        Number of images by sentence.
    """
    failed = (row for row in rows if row["status"] == "failed")
    return Counter(_without_name(row["reason"]) for row in islice(failed, 10_000))


def _without_name(reason: str) -> str:
    """`eye.jpg: the file is empty. Export it again.` as `the file is empty`."""
    _, colon, told = reason.partition(": ")
    sentence = (told if colon else reason).partition(". ")[0].rstrip(".")
    return cell(sentence.partition(" (")[0])[:120]


def print_inputs(inputs: Inputs) -> int:
    """Print what would be read, and what was understood from its name."""
    for item in inputs.photographs:
        known = item.identity
        values = {"eye": known.laterality, "patient": known.patient, "date": known.exam_date}
        told = [f"{key}={cell(value)}" for key, value in values.items() if value]
        source = [f"from: {known.source}"] if known.source else []
        problem = [f"failed: {' '.join(item.problem.split())}"] if item.problem else []
        print("\t".join([cell(item.image), *told, *source, *problem]))
    for left in inputs.left_out:
        print(f"left out, {left.reason}: {cell(left.path)}", file=sys.stderr)
    print(
        f"{len(inputs.photographs)} images{left_out_in_words(inputs.left_out, '; ', '')}.",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    return 0


def left_out_in_words(left_out: Sequence[LeftOut], before: str, after: str) -> str:
    """Say how many files were left out and why."""
    if not left_out:
        return ""
    reasons = Counter(left.reason for left in left_out)
    parts = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common())
    return f"{before}{len(left_out)} left out: {parts}{after}"
