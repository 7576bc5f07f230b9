"""`drcore calibrate`: the bundle in use is fitted to a site's labels or decisions."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from drcore.errors import CheckpointError, DrcoreError
from drcore.evaluation.graded import LabelledInputs, Stopped, find_labelled, graded_rows
from drcore.evaluation.outcomes import read_results
from drcore.evaluation.references import (
    References,
    references_from_decisions,
    references_from_labels,
)
from drcore.evaluation.site_calibration import (
    Change,
    Changes,
    changes_of,
    compare,
    fit_site,
    require_enough,
    site_bundle,
)
from drcore.grading.installed import installed_models
from drcore.model.bundle import bundled_folder, load_bundle, save_bundle
from drcore.model.manifest import MANIFEST

if TYPE_CHECKING:
    from drcore.model.bundle import Bundle
    from drcore.model.calibration import GradeCalibration

__all__ = ["calibrate"]


def calibrate(
    given: LabelledInputs, out: Path, *, decisions: str | None = None, masked_only: bool = True
) -> int:
    """Run `drcore calibrate`.

    Args:
        given: photographs, labels and weights; the labels do not count where `decisions` is given.
        out: folder for the new bundle; must not hold one.
        decisions: database of the readers' decisions; None to use labels.
        masked_only: only decisions that were taken blind to the model.

    Returns:
        Exit code: 0 done, 3 some photographs could not be fetched, 130 interrupted.

    Raises:
        MissingInputError: what was named is not there.
        DrcoreError: there is too little to calibrate on, or the bundle cannot be written.
    """
    if (out / MANIFEST).exists():
        raise DrcoreError(f"{out.name} holds a bundle already. Give another folder to --out.")
    if given.weights is not None and str(given.weights) in installed_models():
        raise DrcoreError(f"{given.weights} is an installed model: only bundles are calibrated.")
    folder = given.weights or bundled_folder()
    parent = load_bundle(folder)
    if parent.certainty is None:
        raise CheckpointError(
            f"{parent.name} {parent.version} has no probabilities to start from. Use other weights."
        )
    try:
        if decisions is None:
            references = _from_labels(given, parent)
        else:
            references = _from_decisions(given, parent, decisions, masked_only=masked_only)
    except Stopped as stopped:
        print(f"drcore: {stopped}", file=sys.stderr)
        return stopped.code
    require_enough(references)
    scored = references.scored
    fitted = fit_site(scored, parent.certainty)
    compared = compare(scored, parent.certainty, parent.thresholds)
    bundle = site_bundle(parent, _manifest_hash(folder), references, fitted, compared)
    try:
        save_bundle(bundle, out)
    except OSError as error:
        raise DrcoreError(
            f"{out.name}: the bundle cannot be written ({error.strerror or error}). Check the "
            "folder and the free space."
        ) from error
    changes = changes_of(scored, parent.thresholds, fitted)
    print(_told(references, parent, bundle, fitted, compared, changes, out))
    return 0


def _from_labels(given: LabelledInputs, parent: Bundle) -> References:
    labels, _, _ = find_labelled(given)
    with graded_rows(given, labels, f"{parent.name} {parent.version}", None) as rows:
        return references_from_labels(rows, labels, parent.certainty)


def _from_decisions(
    given: LabelledInputs, parent: Bundle, url: str, *, masked_only: bool
) -> References:
    from drcore.reviews.store import ReviewStore

    if given.paths:
        raise DrcoreError(
            "With --decisions, give the results of the photographs (--results), not the "
            "photographs: run drcore grade first."
        )
    if "://" not in url and not Path(url).is_file():
        raise DrcoreError(f"{Path(url).name}: there is no such record. Check the path or URL.")
    rows = [] if given.results is None else read_results(given.results)
    with ReviewStore(url) as store:
        made = store.decisions()
    site = parent.training.get("site")
    own = f"{parent.name} {parent.version}"
    # Calibrating changes no score, so those of the parent's parent count as well.
    models = {own, *([str(site.get("parent", own))] if isinstance(site, dict) else [])}
    return references_from_decisions(made, rows, frozenset(models), masked_only=masked_only)


def _manifest_hash(folder: Path) -> str:
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def _told(
    references: References,
    parent: Bundle,
    bundle: Bundle,
    fitted: GradeCalibration,
    compared: list[Change],
    changes: Changes,
    out: Path,
) -> str:
    scored = references.scored
    lines = [
        f"{parent.name} {parent.version}, calibrated on {len(scored)} photographs of "
        f"{len(set(scored.patient.tolist()))} patients ({references.source}).",
        *(f"Left out: {n} {reason}." for reason, n in references.left_out.items() if n),
        "",
        "Cross-validated by patient         before   after   gain (95 % interval)",
    ]
    for change in compared:
        low, high = change.gain
        lines.append(
            f"  {change.title:<32}{change.before:>7.3f} {change.after:>7.3f}   "
            f"{change.after - change.before:+.3f} ({low:+.3f} to {high:+.3f})"
        )
    cuts = ", ".join(f"{cut:.3f}" for cut in fitted.cuts)
    lines += [
        "",
        f"Grades begin at {cuts}; before at {', '.join(f'{t:.3f}' for t in parent.thresholds)}.",
        f"Of these {changes.photographs} photographs {changes.other_grade} get another grade, "
        f"{changes.newly_referred} are newly referred, {changes.no_longer} no longer.",
        f"Written to {out}: {bundle.name} {bundle.version}. Use it with --weights or "
        "DRCORE_WEIGHTS.",
    ]
    kappa = compared[0]
    if not kappa.gain[0] > 0:
        lines.append(
            "Kappa does not rise beyond chance on these photographs: compare before you switch."
        )
    return "\n".join(lines)
