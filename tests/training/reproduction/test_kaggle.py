"""The competition's files as they come, and every way in which they may not be trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data.labels import Labelled, LabelsError
from training.reproduction.kaggle import eye_of, pair_eyes, read_any, read_kaggle, split_patients

GRADES = [(0, 0), (0, 0), (0, 0), (0, 0), (0, 1), (1, 1), (0, 2), (2, 2), (3, 2), (3, 3), (4, 4),
          (4, 3)]  # fmt: skip
"""Of the left and the right eye, of twelve patients numbered from 10."""

TRAIN = [f"{n}_{eye},{g}" for n, both in enumerate(GRADES, start=10)
         for eye, g in zip(("left", "right"), both, strict=True)]  # fmt: skip
TEST = ["90_left,0,Public", "90_right,1,Private", "91_left,4,Private"]
HEADS = {"trainLabels.csv": "image,level", "retinopathy_solution.csv": "image,level,Usage"}


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    disc = np.zeros((48, 64, 3), np.uint8)
    cv2.circle(disc, (32, 24), 20, (40, 80, 180), -1)
    return cv2.imencode(".jpeg", disc)[1].tobytes()


def write(folder: Path, table: str, lines: Sequence[str], head: str | None = None) -> Path:
    file = folder / table
    file.write_text("\n".join([HEADS[table] if head is None else head, *lines]) + "\n")
    return file


@pytest.fixture
def folder(tmp_path: Path, jpeg: bytes) -> Path:
    """Twelve patients to train on, two to test on."""
    for part, table, lines in (
        ("train", "trainLabels.csv", TRAIN),
        ("test", "retinopathy_solution.csv", TEST),
    ):
        (tmp_path / part).mkdir()
        write(tmp_path, table, lines)
        for line in lines:
            (tmp_path / part / f"{line.partition(',')[0]}.jpeg").write_bytes(jpeg)
    return tmp_path


def splits(rows: Sequence[Labelled]) -> list[tuple[str, str]]:
    return [(row.path.stem, row.split) for row in rows]


def many(count: Sequence[int]) -> list[Labelled]:
    """So many patients of each grade, with the worse eye on the right or on the left."""
    rows = []
    for grade, number in enumerate(count):
        for k in range(number):
            patient = f"{grade}{k:03d}"
            for eye, level in (("left", grade * (k % 2)), ("right", grade)):
                path = Path(f"{patient}_{eye}.jpeg")
                rows.append(Labelled(path, level, "kaggle", "train", patient))
    return rows


# Reading.


def test_the_files_as_they_come(folder: Path) -> None:
    rows = read_kaggle(folder, validation=0.25)
    assert [row.path.stem for row in rows] == [s.partition(",")[0] for s in TRAIN + TEST]
    assert [row.grade for row in rows[:24]] == [g for both in GRADES for g in both]
    assert all(row.path.is_file() for row in rows)
    assert {(row.dataset, row.split) for row in rows[:24]} == {
        ("kaggle", "train"),
        ("kaggle", "val"),
    }
    assert [(row.dataset, row.split, row.grade, row.patient) for row in rows[24:]] == [
        ("public", "test", 0, "90"),
        ("private", "test", 1, "90"),
        ("private", "test", 4, "91"),
    ]


@pytest.mark.parametrize("gone", ["retinopathy_solution.csv", "test"])
def test_without_the_test_set(folder: Path, gone: str) -> None:
    (folder / gone).rename(folder / "elsewhere")
    assert {row.split for row in read_kaggle(folder, validation=0.5)} == {"train", "val"}


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "png"])
def test_other_endings_are_found(folder: Path, ending: str) -> None:
    (folder / "train" / "10_left.jpeg").rename(folder / "train" / f"10_left.{ending}")
    assert read_kaggle(folder)[0].path.name == f"10_left.{ending}"


def test_a_table_saved_by_a_spreadsheet(folder: Path) -> None:
    # Byte order mark and carriage returns; further columns are no business of ours.
    lines = ["\ufeffimage,level,note", *(f'{line},"a, b"' for line in TRAIN)]
    (folder / "trainLabels.csv").write_bytes("\r\n".join(lines).encode())
    assert len(read_kaggle(folder)) == len(TRAIN) + len(TEST)


# Splitting.


def test_a_patient_is_on_one_side() -> None:
    sides: dict[str, set[str]] = {}
    for row in split_patients(many([200, 40, 40, 20, 20]), 0.3, 0):
        sides.setdefault(row.patient, set()).add(row.split)
    assert all(len(side) == 1 for side in sides.values())
    assert {s for side in sides.values() for s in side} == {"train", "val"}


def test_each_grade_gives_its_share_by_the_worse_eye() -> None:
    rows = split_patients(many([200, 40, 60, 20, 10]), 0.1, 3)
    # The patient's number begins with the grade of the worse eye.
    aside = Counter(row.patient[0] for row in rows if row.split == "val")
    assert aside == {"0": 40, "1": 8, "2": 12, "3": 4, "4": 2}  # two eyes each


def test_the_split_depends_on_the_seed_alone(folder: Path) -> None:
    first = splits(read_kaggle(folder, validation=0.5, seed=1))
    assert first == splits(read_kaggle(folder, validation=0.5, seed=1))
    others = [splits(read_kaggle(folder, validation=0.5, seed=seed)) for seed in range(2, 6)]
    assert any(other != first for other in others)
    write(folder, "trainLabels.csv", TRAIN[::-1])
    again = read_kaggle(folder, validation=0.5, seed=1)
    assert sorted(splits(again)) == sorted(first)  # nor on the order of the table


def test_small_files_have_validation_patients_too() -> None:
    # A tenth of each grade is half a patient: rounded grade by grade, nobody would be put aside.
    rows = split_patients(many([5, 4, 3, 4, 4]), 0.1, 0)
    assert len({row.patient for row in rows if row.split == "val"}) == 2


def test_fixed_test_rows_stay_test_rows() -> None:
    rows = [*many([8, 8, 8, 0, 0]), Labelled(Path("t_left.jpeg"), 4, "kaggle", "test", "t")]
    again = split_patients(rows, 0.5, 0)
    assert again[-1] == rows[-1]
    assert Counter(row.split for row in again) == {"train": 24, "val": 24, "test": 1}


@pytest.mark.parametrize("share", [-0.1, 10, float("nan")])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(LabelsError, match="not between 0 and 1"):
        split_patients(many([5, 5, 5, 5, 5]), share, 0)


def test_nobody_put_aside() -> None:
    rows = many([5, 5, 5, 5, 5])
    assert {row.split for row in split_patients(rows, 0.0, 0)} == {"train"}
    assert [row.path for row in split_patients(rows, 1.0, 0)] == [row.path for row in rows]


# Pairing.


@pytest.mark.parametrize(
    ("name", "eye"),
    [
        ("10_left.jpeg", "left"),
        ("eyepacs_10_RIGHT.JPG", "right"),
        ("10.jpeg", None),
        ("leftover.jpeg", None),
        ("10_left_2.jpeg", None),
    ],
)
def test_eye_of(name: str, eye: str | None) -> None:
    assert eye_of(name) == eye


def labelled(name: str, patient: str, dataset: str = "kaggle") -> Labelled:
    return Labelled(Path(name), 0, dataset, "train", patient)


def test_pairs_and_odd_eyes() -> None:
    rows = [
        labelled("1_right.jpeg", "1"),
        labelled("2_left.jpeg", "2"),  # alone
        labelled("1_left.jpeg", "1"),
        labelled("3.jpeg", "3"),  # says no side
        labelled("4_left.jpeg", "4"),
        labelled("4b_left.jpeg", "4"),  # two of one side
        labelled("4_right.jpeg", "4"),
        labelled("1_left.jpeg", "1", "other"),  # same number, other people
    ]
    assert pair_eyes(rows).tolist() == [2, 1, 0, 3, 6, 5, 4, 7]
    assert pair_eyes([]).tolist() == []


def test_several_photographs_of_both_eyes_stay_in_order() -> None:
    names = ["a_left.jpg", "b_left.jpg", "a_right.jpg", "b_right.jpg"]
    assert pair_eyes([labelled(name, "1") for name in names]).tolist() == [2, 3, 0, 1]


def test_eyes_of_the_competition(folder: Path) -> None:
    rows = read_kaggle(folder, validation=0.5)
    partner = pair_eyes(rows)
    assert partner[:24].tolist() == [i ^ 1 for i in range(24)]
    assert partner[24:].tolist() == [25, 24, 26]  # across public and private; one is alone
    assert all(rows[i].split == rows[j].split for i, j in enumerate(partner))
    assert np.array_equal(partner[partner], np.arange(len(rows)))


# Refusals.


@pytest.mark.parametrize(
    ("table", "lines", "message"),
    [
        ("trainLabels.csv", [*TRAIN, "30_left,1"],
         r"trainLabels\.csv, line 26: there is no photograph of '30_left' in train/"),
        ("trainLabels.csv", ["10_left,7"], r"trainLabels\.csv, line 2: grade '7' of '10_left'"),
        ("trainLabels.csv", ["10_left,0", "10_right,"], r"line 3: grade '' of '10_right'"),
        ("trainLabels.csv", ["10_left"], r"line 2: grade ''"),
        ("trainLabels.csv", ["10_left,1.0"], r"line 2: grade '1\.0'"),
        ("trainLabels.csv", ["10_left,\u0663"], r"line 2: grade '\u0663'"),
        ("trainLabels.csv", ["10_left,0", "11_left,0", "10_left,0"],
         r"line 4: '10_left' stands already in trainLabels\.csv, line 2"),
        ("trainLabels.csv", ["10_left,0", "", "", "11_left,9"], r"line 5: grade '9'"),
        ("trainLabels.csv", [], r"trainLabels\.csv: there are no rows"),
        ("retinopathy_solution.csv", ["90_left,0,Public", "90_right,0,Secret"],
         r"retinopathy_solution\.csv, line 3: usage 'Secret' of '90_right'"),
        ("retinopathy_solution.csv", ["90_left,0"], r"line 2: usage ''"),
        ("retinopathy_solution.csv", ["90_left,5,Public"],
         r"retinopathy_solution\.csv, line 2: grade '5'"),
        ("retinopathy_solution.csv", ["10_left,0,Public"],
         r"retinopathy_solution\.csv, line 2: '10_left' stands already in trainLabels\.csv, "
         r"line 2"),
        ("retinopathy_solution.csv", ["92_left,0,Public"], r"'92_left' in test/"),
    ],
)  # fmt: skip
def test_bad_tables_name_line_and_reason(
    folder: Path, table: str, lines: list[str], message: str
) -> None:
    write(folder, table, lines)
    with pytest.raises(LabelsError, match=message):
        read_kaggle(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../train/10_left",
        "sub/10_left",
        "sub\\10_left",
        "/etc/10_left",
        "..",
        ".10_left",
        "10_left.jpeg",
        "10_left\x00",
        "10_left ",
        '"10_left\n"',
        "10_Left",
        "_left",
        "10",
        "=cmd_left",
        "\u0661\u0660_left",
        "",
    ],
)
def test_hostile_names_are_refused_as_names(folder: Path, jpeg: bytes, name: str) -> None:
    (folder / "train" / "sub").mkdir()
    (folder / "train" / "sub" / "10_left.jpeg").write_bytes(jpeg)
    write(folder, "trainLabels.csv", [f"{name},0", "11_left,0"])
    with pytest.raises(LabelsError, match=r"line [23]: '.*' is not a name like 10_left"):
        read_kaggle(folder)


def test_a_name_that_differs_in_case_alone_stands_twice(folder: Path, jpeg: bytes) -> None:
    # On some file systems both are one file, and the same photograph would count twice.
    for name in ("a-1_left", "A-1_left"):
        (folder / "train" / f"{name}.jpeg").write_bytes(jpeg)
    write(folder, "trainLabels.csv", ["a-1_left,0", "A-1_left,0"])
    with pytest.raises(LabelsError, match=r"line 3: 'A-1_left' stands already in .*, line 2"):
        read_kaggle(folder)


@pytest.mark.parametrize("table", list(HEADS))
def test_a_missing_column_is_named(folder: Path, table: str) -> None:
    write(folder, table, ["10_left,0"], head="image,grade")
    with pytest.raises(LabelsError, match=rf"{table}: column\(s\) missing: .*level"):
        read_kaggle(folder)


def test_a_solution_without_usage(folder: Path) -> None:
    write(folder, "retinopathy_solution.csv", ["90_left,0"], head="image,level")
    with pytest.raises(LabelsError, match=r"column\(s\) missing: Usage"):
        read_kaggle(folder)


@pytest.mark.parametrize("blank", [0, 2])
def test_a_patient_on_both_sides(folder: Path, jpeg: bytes, blank: int) -> None:
    # The other eye of patient 12: its name stands once, the patient twice.
    (folder / "test" / "12_right.jpeg").write_bytes(jpeg)
    train = [line for line in TRAIN if not line.startswith("12_right")]
    write(folder, "trainLabels.csv", train)
    lines = ["90_left,0,Public", *[""] * blank, "12_right,0,Public"]
    write(folder, "retinopathy_solution.csv", lines)
    with pytest.raises(LabelsError, match=rf"solution\.csv, line {3 + blank}: patient '12'"):
        read_kaggle(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"column\(s\) missing: image, level"),
        (b"image,level\n\xff\xfe_left,0\n", "cannot be read"),
        (b'image,level\n"' + b"1" * 200_000 + b'",0\n', "cannot be read"),
    ],
)
def test_files_that_are_no_table(folder: Path, content: bytes, message: str) -> None:
    (folder / "trainLabels.csv").write_bytes(content)
    with pytest.raises(LabelsError, match=rf"trainLabels\.csv: {message}"):
        read_kaggle(folder)


def test_missing_folder_of_photographs(folder: Path) -> None:
    (folder / "train").rename(folder / "elsewhere")
    with pytest.raises(LabelsError, match="The folder train/ cannot be listed"):
        read_kaggle(folder)


def test_two_photographs_of_one_name(folder: Path, jpeg: bytes) -> None:
    (folder / "train" / "10_left.png").write_bytes(jpeg)
    with pytest.raises(LabelsError, match=r"both '10_left\.jpeg' and '10_left\.png'"):
        read_kaggle(folder)


def test_a_folder_of_a_photographs_name_is_no_photograph(folder: Path) -> None:
    (folder / "train" / "10_left.jpeg").unlink()
    (folder / "train" / "10_left.jpeg").mkdir()
    with pytest.raises(LabelsError, match="line 2: there is no photograph of '10_left'"):
        read_kaggle(folder)


def test_missing_table(folder: Path) -> None:
    (folder / "trainLabels.csv").unlink()
    with pytest.raises(LabelsError, match=r"trainLabels\.csv: cannot be read"):
        read_kaggle(folder)


# Either kind of data.


def test_read_any_tells_the_two_layouts_apart(folder: Path, tmp_path: Path, jpeg: bytes) -> None:
    assert read_any(folder) == read_kaggle(folder)
    own = tmp_path / "own"
    (own / "images").mkdir(parents=True)
    (own / "images" / "a.jpg").write_bytes(jpeg)
    (own / "labels.csv").write_text("image,grade,dataset,split,patient\na.jpg,2,d,val,p\n")
    expected = [Labelled(own / "images" / "a.jpg", 2, "d", "val", "p")]
    assert read_any(own / "labels.csv") == expected
    assert read_any(own) == expected
    # Where a folder holds both, the competition's own table is meant.
    (folder / "labels.csv").write_text("image,grade,dataset,split,patient\n")
    assert read_any(folder) == read_kaggle(folder)


def test_read_any_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"labels\.csv is not there: give"):
        read_any(tmp_path / "labels.csv")
    with pytest.raises(LabelsError, match=r"has neither labels\.csv nor .* trainLabels\.csv"):
        read_any(tmp_path)
