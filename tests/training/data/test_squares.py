"""What would spoil a training is refused before it starts, with the line and the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drcore.preprocessing.network_input import Preprocessing
from training.data.augmentation import augment
from training.data.labels import Labelled, LabelsError, read_labels
from training.data.sampling import class_weights
from training.data.squares import Squares
from training.phantom import write_dataset
from training.recipe import Augmentation

HEAD = "image,grade,dme,dataset,split,patient\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / "images" / name).write_bytes(b"x")
    return tmp_path


def write(folder: Path, *lines: str, head: str = HEAD) -> Path:
    table = folder / "labels.csv"
    table.write_text(head + "\n".join(lines) + "\n")
    return table


def test_good_labels(folder: Path) -> None:
    rows = read_labels(write(folder, "a.jpg,0,,d,train,p1", "b.jpg,4,,d,val,p2"))
    assert [(r.path.name, r.grade, r.split, r.patient) for r in rows] == [
        ("a.jpg", 0, "train", "p1"),
        ("b.jpg", 4, "val", "p2"),
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a.jpg,5,,d,train,p"], r"line 2: grade '5'"),
        (["a.jpg,,,d,train,p"], r"line 2: grade ''"),
        (["a.jpg,1.0,,d,train,p"], r"line 2: grade '1.0'"),
        (["a.jpg,1,,d,training,p"], r"line 2: split 'training'"),
        (["a.jpg,1,,d,train,p", "z.jpg,1,,d,train,q"], r"line 3: there is no photograph 'z.jpg'"),
        (["a.jpg,1,,d,train,p", "a.jpg,1,,d,train,p"], r"line 3: 'a.jpg' stands already on line 2"),
        (["a.jpg,1,,d,train,p", "b.jpg,1,,d,val,p"], r"line 3: patient 'p' is in 'val' here"),
        (["../labels.csv,1,,d,train,p"], r"line 2: there is no photograph"),
        ([], "no rows"),
    ],
)
def test_bad_labels_name_line_and_reason(folder: Path, lines: list[str], message: str) -> None:
    with pytest.raises(LabelsError, match=message):
        read_labels(write(folder, *lines))


def test_same_patient_name_in_two_datasets_is_two_patients(folder: Path) -> None:
    assert len(read_labels(write(folder, "a.jpg,1,,d,train,p", "b.jpg,1,,e,val,p"))) == 2


def test_missing_column_and_missing_file(folder: Path) -> None:
    with pytest.raises(LabelsError, match="patient"):
        read_labels(write(folder, "a.jpg,1,d,train", head="image,grade,dataset,split\n"))
    with pytest.raises(LabelsError, match="cannot be read"):
        read_labels(folder / "nowhere.csv")


def test_squares_are_warped_once_and_found_again(tmp_path: Path) -> None:
    write_dataset(tmp_path, count=2, size=128, seed=0)
    rows = read_labels(tmp_path / "labels.csv")
    first = Squares.build(rows, tmp_path / "cache", Preprocessing(), quiet=True)
    stamp = {f: f.stat().st_mtime_ns for f in (tmp_path / "cache").iterdir()}
    again = Squares.build(rows, tmp_path / "cache", Preprocessing(), quiet=True)
    assert np.array_equal(first.pixels, again.pixels)
    assert stamp == {f: f.stat().st_mtime_ns for f in (tmp_path / "cache").iterdir()}
    # The retina fills the square: bright inside the mask, black in the corners.
    assert first.pixels[0, 256, 256].max() > 60
    assert first.pixels[0, 2, 2].max() < 20
    whole = np.pi / 4 * 0.98**2  # less where the phantom's circle is cut off
    assert 0.6 * whole < first.masks[0].mean() / 255 < whole + 0.01


def test_class_weights() -> None:
    def row(grade: int, dataset: str = "d") -> Labelled:
        return Labelled(Path("x"), grade, dataset, "train", "p")

    rows = [row(0)] * 8 + [row(2)] * 2
    assert class_weights(rows, 0.0, {}) == pytest.approx(np.full(10, 0.1))
    even = class_weights(rows, 1.0, {})
    assert even[:8].sum() == pytest.approx(even[8:].sum())
    double = class_weights([row(0), row(0, "idrid")], 0.5, {"idrid": 2.0})
    assert double[1] == pytest.approx(2 * double[0])


def test_grades_can_be_drawn_alike_from_every_dataset() -> None:
    def rows_of(dataset: str, *counts: int) -> list[Labelled]:
        return [
            Labelled(Path("x"), grade, dataset, "train", "p")
            for grade, count in enumerate(counts)
            for _ in range(count)
        ]

    rows = rows_of("mild", 60, 10, 10) + rows_of("severe", 10, 5, 25)
    grade = np.array([row.grade for row in rows])
    severe = np.array([row.dataset == "severe" for row in rows])

    def shares(independence: float) -> np.ndarray:
        """What part of each grade is drawn from the second dataset."""
        chances = class_weights(rows, 0.5, {}, independence)
        assert chances.sum() == pytest.approx(1)
        return np.array([chances[severe & (grade == g)].sum() / chances[grade == g].sum()
                         for g in range(3)])  # fmt: skip

    assert shares(1.0) == pytest.approx(np.full(3, 40 / 120))
    assert shares(0.0) == pytest.approx([10 / 70, 5 / 15, 25 / 35])
    assert (np.abs(shares(0.5) - 1 / 3) <= np.abs(shares(0.0) - 1 / 3) + 1e-9).all()


def test_compression_leaves_shape_and_place_but_not_every_pixel() -> None:
    rng = np.random.default_rng(0)
    square = rng.integers(0, 256, (128, 128, 3), np.uint8)
    mask = np.full((32, 32), 255, np.uint8)
    still = Augmentation(
        rotation=0, zoom=1, shift=0, flip=0, gamma=0, gain=0, colour=0, blur=0, coarse=0, noise=0,
        compression=1, worst_quality=95,
    )  # fmt: skip
    seen, _ = augment(square, mask, 128, still, rng)
    assert seen.shape == square.shape
    assert not np.array_equal(seen, square)
    flat = np.full((128, 128, 3), (200, 90, 20), np.uint8)
    seen, _ = augment(flat, mask, 128, still, rng)
    np.testing.assert_allclose(seen, flat, atol=3)  # red stays red


def test_augmentation_moves_picture_and_mask_together() -> None:
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:256, :256]
    blob = (np.hypot(xx - 180, yy - 90) < 25).astype(np.uint8) * 255
    still = Augmentation(gamma=0, gain=0, colour=0, blur=0, coarse=0, noise=0)
    for _ in range(5):
        moved, mask = augment(np.repeat(blob[..., None], 3, 2), blob, 256, still, rng)
        overlap = ((moved[..., 0] > 127) & (mask > 127)).sum()
        either = ((moved[..., 0] > 127) | (mask > 127)).sum()
        assert overlap / either > 0.95
        assert not np.array_equal(mask, blob)
