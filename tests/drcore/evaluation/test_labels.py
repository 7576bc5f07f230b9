"""Labels are told by their line before anything is graded."""

from __future__ import annotations

from pathlib import Path

import pytest

from drcore.errors import DrcoreError, MissingInputError
from drcore.evaluation.labels import Label, check_labels, match_labels, read_labels


def written(tmp_path: Path, text: str) -> Path:
    table = tmp_path / "labels.csv"
    table.write_text(text, encoding="utf-8")
    return table


def test_grades_ranges_and_answers_become_labels(tmp_path):
    table = written(
        tmp_path,
        "image;Grade;referable;patient\na.jpg;2;;p1\nb.jpg;3-4;;\nc.jpg;;no;\nd.jpg;;TRUE;p1\n",
    )
    labels, problems = read_labels(table)
    assert not problems
    spans = [(label.low, label.high, label.grade, label.referable) for label in labels]
    assert spans == [(2, 2, 2, True), (3, 4, None, True), (0, 1, None, False), (2, 4, None, True)]
    assert [label.patient for label in labels] == ["p1", "", "", "p1"]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("a.jpg,5,", "not an ICDR grade"),
        ("a.jpg,two,", "not an ICDR grade"),
        ("a.jpg,1-2,", "neither which grade"),
        ("a.jpg,4-3,", "neither which grade"),
        ("a.jpg,1,yes", "contradict"),
        ("a.jpg,,perhaps", "true or false"),
        ("a.jpg,,", "neither a grade"),
        (",1,", "not named"),
        ("x.jpg,1,", "on line 2 already"),
    ],
)
def test_rows_that_cannot_be_used_are_told_by_line(tmp_path, row, sentence):
    table = written(tmp_path, f"image,grade,referable\nx.jpg,0,\n{row}\n")
    labels, problems = read_labels(table)
    assert [label.image for label in labels] == ["x.jpg"]
    assert len(problems) == 1
    assert problems[0].startswith("labels.csv, line 3: ")
    assert sentence in problems[0]
    with pytest.raises(DrcoreError, match=r"1 row\(s\) that cannot be used.*\n.*line 3"):
        check_labels(table, labels, problems)


@pytest.mark.parametrize("text", ["", "name,grade\n", "image,patient\na,b\n"])
def test_what_is_no_table_of_labels_is_refused(tmp_path, text):
    with pytest.raises(DrcoreError, match="It needs 'image' and 'grade'"):
        read_labels(written(tmp_path, text))


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(MissingInputError, match="no such file"):
        read_labels(tmp_path / "labels.csv")


def test_labels_find_photographs_by_path_or_by_a_name_that_is_unique(tmp_path):
    images = ["site/a.jpg", "site/b.jpg", "other/b.jpg", "c.jpg"]
    labels = [
        Label(name, 0, 0, line=line)
        for line, name in enumerate(["a.jpg", "b.jpg", "other/b.jpg", "d.jpg", "site/a.jpg"], 2)
    ]
    matched, problems = match_labels(Path("l.csv"), labels, images)
    assert sorted(matched) == ["other/b.jpg", "site/a.jpg"]
    assert [p.partition(": ")[0] for p in problems] == [
        "l.csv, line 3", "l.csv, line 5", "l.csv, line 6",
    ]  # fmt: skip
    assert "2 photographs are called b.jpg" in problems[0]
    assert "no photograph d.jpg" in problems[1]
    assert "line 2 already" in problems[2]
