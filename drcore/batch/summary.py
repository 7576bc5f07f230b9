"""What a run says at its end, and before it where it is only asked what it would read."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from drcore import logs
from drcore.sources.find import Inputs
from drcore.sources.listing import LeftOut
from drcore.text import cell, clean_name

__all__ = ["Summary", "left_out_in_words", "print_inputs"]


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of a run: every input is accounted for.

    Attributes:
        counts: of `CsvFile.count`.
        left_out: files that were no input.
        before: photographs that had their row already.
        seconds: spent grading.
    """

    counts: Counter[str]
    left_out: Sequence[LeftOut]
    before: int
    seconds: float

    def log(self) -> None:
        """Write it as an event."""
        numbers = {kind: self.counts[kind] for kind in ("graded", "ungradable", "failed")}
        logs.event(
            "finished", "info", **numbers, left_out=len(self.left_out), earlier=self.before,
            seconds=round(self.seconds, 1),
        )  # fmt: skip

    def sentence(self, csv: str) -> str:
        """Say it in one line."""
        counts = self.counts
        done = counts["graded"] + counts["ungradable"] + counts["failed"]
        failed = f"{counts['failed']} failed" + (" (see 'reason')" if counts["failed"] else "")
        earlier = f" ({self.before} of them in an earlier run)" if self.before else ""
        end = "Nothing was left to do."
        if done > self.before:
            end = f"{(done - self.before) / max(self.seconds, 1e-3):.1f} images/s."
        return (
            f"{done} images: {counts['graded']} graded ({counts['referable']} referable), "
            f"{counts['ungradable']} ungradable, {failed}{earlier}"
            f"{left_out_in_words(self.left_out, '; ', '')}. Written to {clean_name(csv)}. {end}"
        )


def print_inputs(inputs: Inputs) -> int:
    """Print what would be read, and what was understood from its name."""
    for item in inputs.photographs:
        known = item.identity
        values = {"eye": known.laterality, "patient": known.patient, "date": known.exam_date}
        told = [f"{key}={cell(value)}" for key, value in values.items() if value]
        problem = [f"failed: {' '.join(item.problem.split())}"] if item.problem else []
        print("\t".join([cell(item.image), *told, *problem]))
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
