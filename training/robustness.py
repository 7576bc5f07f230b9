"""Evaluate robustness to another camera: `python -m training.robustness`.

Validation photographs are graded as they are, and again as if another camera, another light or
another archive had made them: changes that a reader would not mind. What the score then does says
more of photographs from elsewhere than any figure of the photographs themselves, which come from
the cameras that were trained on.
"""

from __future__ import annotations

from training.cli import measure_sample
from training.evaluation.robustness import measure, table


def main(arguments: list[str] | None = None) -> None:
    """Print the figures from the command line."""
    measure_sample("robustness", __doc__, measure, table, arguments, count=150)


if __name__ == "__main__":
    main()
