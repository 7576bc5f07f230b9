"""`drcore watch` and `drcore plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from drcore.agreement.reading_time import ReadingTimes, times_of
from drcore.errors import DrcoreError
from drcore.evaluation.labels import check_labels, match_labels, read_labels
from drcore.evaluation.outcomes import outcomes_of, read_results
from drcore.evaluation.references import references_from_decisions
from drcore.files import replacing
from drcore.model.bundle import bundled_folder
from drcore.model.manifest import read_manifest
from drcore.monitoring.charts import LIMITS, Chart, charts_csv, charts_of, told
from drcore.monitoring.observations import MEASURES, observations_of
from drcore.monitoring.reference import add_reference, reference_of_bundle
from drcore.monitoring.release import (
    QUEUE,
    SIMULATION,
    Release,
    queue,
    release_plan,
)
from drcore.results.columns import Row
from drcore.text import csv_text

if TYPE_CHECKING:
    import argparse

    from drcore.reviews.decision import Decision

__all__ = ["plan", "plan_from_decisions", "plan_from_labels", "plan_text", "watch"]


def watch(options: argparse.Namespace) -> int:
    """Run `drcore watch`.

    Args:
        options: of the command line.

    Returns:
        Exit code 0, also where a limit was crossed.

    Raises:
        MissingInputError: a table is not there.
        DrcoreError: there is nothing to watch, or something cannot be read or written.
    """
    rows = _rows(options.tables)
    folder = options.weights or bundled_folder()
    if options.write_reference is not None:
        count = add_reference(options.write_reference, rows, "photographs of the site")
        print(f"{options.write_reference.name}: reference of {count:,} photographs written.")
        return 0
    decisions = _decisions(options.record)
    observations = observations_of(rows, decisions)
    if not observations:
        raise DrcoreError("There is nothing to watch. Give tables of results or --record.")
    entry = None if options.own_reference else read_manifest(folder).reference_entry()
    charts = charts_of(observations, reference_of_bundle(entry), since=options.since)
    undated = sum(one.day is None for one in observations)
    if options.since is not None and undated:
        print(f"{undated:,} photographs without a date were left out.")
    print("\n".join([*_chart_lines(charts), "", LIMITS, "", *told(charts)]))
    if options.out is not None:
        _write(options.out, charts_csv(charts))
    return 0


def plan(options: argparse.Namespace) -> int:
    """Run `drcore plan`.

    Args:
        options: of the command line.

    Returns:
        Exit code 0.

    Raises:
        MissingInputError: a table is not there.
        DrcoreError: the data cannot support the limit, or something cannot be read or written.
    """
    if options.out is not None and options.tomorrow is None:
        raise DrcoreError("--out takes the queue of a list. Give the list with --list.")
    rows, decisions = _rows(options.tables), _decisions(options.record)
    if options.labels is not None:
        found = plan_from_labels(
            rows, options.labels, options.miss, skip_invalid=options.skip_invalid
        )
    elif decisions:
        found = plan_from_decisions(
            decisions, rows, options.miss, masked_only=not options.include_unmasked
        )
    else:
        raise DrcoreError(
            "There is no reference. Give --labels with a table of results, or --record with grades."
        )
    print(plan_text(found, times_of(decisions)))
    if options.tomorrow is not None:
        queued = queue(read_results(options.tomorrow), found.threshold)
        unread = sum(row["simulated"] == "would be released" for row in queued)
        print(f"{options.tomorrow.name}: {len(queued):,} photographs, {unread:,} of them unread.")
        text = csv_text(queued, QUEUE)
        if options.out is None:
            print(text, end="")
        else:
            _write(options.out, text)
    return 0


def plan_from_labels(
    rows: list[Row], labels: Path, miss: float, *, skip_invalid: bool = False
) -> Release:
    """Plan from labels and the results of the photographs; see `release_plan`."""
    if not rows:
        raise DrcoreError("Labels need the results of their photographs. Give a table of results.")
    given, problems = read_labels(labels)
    matched, missing = match_labels(labels, given, [row["image"] for row in rows])
    check_labels(labels, matched.values(), [] if skip_invalid else [*problems, *missing])
    outcomes = outcomes_of(rows, matched, None)
    used = outcomes.where(outcomes.graded)
    return release_plan(used.score, used.referable, used.patient, miss)


def plan_from_decisions(
    decisions: list[Decision], rows: list[Row], miss: float, *, masked_only: bool
) -> Release:
    """Plan from the readers' final grades, of the model that the last decision names."""
    model = decisions[-1].model_version
    found = references_from_decisions(
        decisions, rows, frozenset({model}), masked_only=masked_only
    ).scored
    return release_plan(found.score, found.truth >= 2, found.patient, miss)


def plan_text(found: Release, times: ReadingTimes) -> str:
    """Lay out a plan as text.

    Args:
        found: the plan.
        times: reading times of the record; without any the hours are left out.
    """
    low, high = found.interval
    lines = [
        f"Release below score {found.threshold:.4f}:",
        f"  {found.released:,} of {found.healthy:,} not-referable photographs "
        f"({found.released / max(found.healthy, 1):.1%}, 95 % interval {low:.1%} to {high:.1%}), "
        f"{found.share:.1%} of all",
        f"  {found.missed:,} of {found.referable:,} patients with referable photographs missed "
        f"(upper 95 % limit {found.limit:.2%}; allowed {found.miss:.2%})",
    ]
    hours = found.hours(times, found.all_released)
    if hours is None:
        lines.append("  hours saved: not known, the record has no reading times")
    else:
        lines.append(
            f"  hours saved: {hours[0]:.1f} at the median reading time of {times.median:.0f} s "
            f"({hours[1]:.1f} to {hours[2]:.1f} by its quartiles, {times.timed:,} timed reads)"
        )
    return "\n".join([*lines, SIMULATION])


def _chart_lines(charts: list[Chart]) -> list[str]:
    lines = [f"{'measure':<28}{'camera':<20}{'reference':<22}{'watched':>8}{'evidence':>10}"]
    for chart in charts:
        watched = sum(point.count for point in chart.points)
        top = max((point.evidence for point in chart.points), default=0.0)
        reference = "bundle" if not chart.own else f"own first {chart.gathered:,}"
        if chart.histogram is None:
            reference = f"gathering, {chart.gathered:,} so far"
        lines.append(
            f"{MEASURES[chart.name].title:<28}{chart.camera[:18]:<20}{reference:<22}{watched:>8,}"
            f"{top / chart.limit:>10.0%}"
        )
    return [*lines, "Evidence: highest value as a share of the limit."]


def _rows(tables: list[Path]) -> list[Row]:
    return [row for table in tables for row in read_results(table)]


def _decisions(url: str | None) -> list[Decision]:
    if url is None:
        return []
    if "://" not in url and not Path(url).is_file():
        raise DrcoreError(f"{Path(url).name}: there is no such record. Check the path or URL.")
    from drcore.reviews.store import ReviewStore

    with ReviewStore(url) as store:
        return store.decisions()


def _write(path: Path, text: str) -> None:
    try:
        with replacing(path) as file:
            file.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise DrcoreError(
            f"{path.name} cannot be written ({error.strerror or error}). Check the folder."
        ) from error
