"""Evaluate the gradability check: `python -m training.gradability`.

Validation photographs are degraded more and more until two thirds of the grader's accuracy
(quadratic weighted kappa of the fused score) are lost; at that level nearly all of them should be
called ungradable, untouched photographs hardly ever, and what is no retina always.
"""

from __future__ import annotations

from training.cli import measure_sample
from training.evaluation.gradability import measure, table


def main(arguments: list[str] | None = None) -> None:
    """Print the figures from the command line."""
    measure_sample("gradability", __doc__, measure, table, arguments, count=60)


if __name__ == "__main__":
    main()
