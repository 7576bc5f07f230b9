"""Answers of the structured reading, counted."""

from __future__ import annotations

from drcore.agreement.findings import count_findings
from drcore.reviews.findings import Findings
from tests.support.reviews import decision


def test_answers_are_counted_and_compared_between_readers() -> None:
    def read(sha256: str, reader: str, *answers):
        return decision(sha256=sha256 * 32, reader=reader, findings=Findings("F 1", answers))

    drusen = ("other_findings", ("drusen", "cataract"))
    decisions = [
        read("ab", "AR", ("macular_oedema", "none"), drusen),
        read("ab", "BS", ("macular_oedema", "none"), ("other_findings", ("cataract", "drusen"))),
        read("cd", "AR", ("macular_oedema", "present"), ("rescreen_months", 6)),
        read("cd", "BS", ("macular_oedema", "none")),
        read("cd", "ar ", ("macular_oedema", "none")),  # the same reader again
        decision(),
    ]
    oedema, others, months = count_findings(decisions)
    assert (oedema.field, dict(oedema.answers)) == ("macular_oedema", {"none": 4, "present": 1})
    assert (oedema.answered, oedema.read_twice, oedema.alike) == (5, 2, 2)
    assert (dict(others.answers), others.alike) == ({"drusen": 2, "cataract": 2}, 1)
    assert (dict(months.answers), months.read_twice) == ({"6": 1}, 0)
    assert count_findings([decision()]) == []
