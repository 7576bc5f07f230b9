"""What a synthetic fundus shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]
BoolImage = NDArray[np.bool_]
Point = tuple[float, float]

LESIONS = ("microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates")
MASK_FLAGS = {
    "microaneurysms": 1,
    "haemorrhages": 2,
    "hard_exudates": 4,
    "soft_exudates": 8,
    "optic_disc": 16,
}
# The ICDR scale calls more than 20 haemorrhages in each of the four quadrants severe. It means
# quadrants of the whole retina; here they are those of the field, as only the field is painted.
SEVERE_PER_QUADRANT = 20


@dataclass(frozen=True)
class PhantomRecipe:
    """Everything that decides the pixels of a phantom.

    Arguments:
        size: width of the picture in px, at least 64; also its height unless the field is cut.
        seed: seed of every random choice, >= 0. Anatomy, lesions and camera have their own random
            streams, so adding a lesion leaves the vessels where they are.
        microaneurysms, haemorrhages: number of lesions to place, >= 0. One that finds no free
            place is left out.
        haemorrhage_quadrants: in how many quadrants of the field haemorrhages lie, 1 to 4.
        hard_exudates: number of clusters or rings of specks, >= 0.
        soft_exudates: number of cotton wool spots, >= 0.
        pigment: fundus pigment, 0 (pale, choroid shows) to 1 (dark brown).
        tint: gain of the R, G and B channels, about 0.6 to 1.6 (white balance of the camera).
        exposure: overall gain, about 0.3 (dark) to 1.2.
        vignetting: loss of light at the rim, 0 to 1.
        blur: extra defocus, Gaussian sigma in px of a 1024 px picture, >= 0.
        noise: sensor noise, standard deviation in grey levels, >= 0.
        cut_above, cut_below: part of the field's diameter hidden by the frame, 0 to 0.3.

    Raises:
        ValueError: a value is outside its range.
    """

    size: int = 1024
    seed: int = 0
    laterality: str = "OD"
    microaneurysms: int = 0
    haemorrhages: int = 0
    haemorrhage_quadrants: int = 4
    hard_exudates: int = 0
    soft_exudates: int = 0
    pigment: float = 0.5
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    exposure: float = 1.0
    vignetting: float = 0.3
    blur: float = 0.0
    noise: float = 1.5
    cut_above: float = 0.0
    cut_below: float = 0.0
    offset: Point = (0.0, 0.0)
    notch: bool = False

    def __post_init__(self) -> None:
        if self.laterality not in ("OD", "OS"):
            raise ValueError(f"laterality must be 'OD' or 'OS', not {self.laterality!r}")
        if self.size < 64:
            raise ValueError(f"size must be at least 64 px, not {self.size}")
        if not 1 <= self.haemorrhage_quadrants <= 4:
            raise ValueError("haemorrhage_quadrants must be 1 to 4")
        if not (0 <= self.cut_above <= 0.3 and 0 <= self.cut_below <= 0.3):
            raise ValueError("cut_above and cut_below must be 0 to 0.3")
        for name in (*LESIONS, "seed", "blur", "noise", "exposure"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")


def random_recipe(
    rng: np.random.Generator, size: int = 1024, grade: int | None = None
) -> PhantomRecipe:
    """Draw a recipe: an eye, a camera and the lesions of an ICDR grade.

    Arguments:
        size: width of the picture in px, at least 64.
        grade: wanted ICDR grade, 0 to 3; None picks one, 0 most often.

    Returns:
        A recipe whose phantom has that grade, unless a tiny picture (below about 256 px) leaves no
        room for the lesions.

    Raises:
        ValueError: the grade is not 0 to 3, or the size is too small.
    """
    if grade is None:
        grade = int(rng.choice(4, p=(0.4, 0.2, 0.25, 0.15)))
    if grade not in (0, 1, 2, 3):
        raise ValueError(f"grade must be 0 to 3, not {grade}")
    # Lowest and highest number of each lesion in the order of LESIONS.
    ranges = {
        0: ((0, 0), (0, 0), (0, 0), (0, 0)),
        1: ((2, 12), (0, 0), (0, 0), (0, 0)),
        2: ((5, 30), (1, 35), (0, 7), (0, 3)),
        3: ((12, 45), (105, 135), (0, 8), (0, 6)),
    }[grade]
    counts = {n: int(rng.integers(a, b + 1)) for n, (a, b) in zip(LESIONS, ranges, strict=True)}
    warm, blue = rng.normal(0, 0.05), rng.choice((1.0, 1.0, 1.2, 1.45)) * rng.uniform(0.8, 1.15)
    cut = float(rng.uniform(0.04, 0.11)) if rng.random() < 0.35 else 0.0
    return PhantomRecipe(
        size=size,
        seed=int(rng.integers(2**31)),
        laterality=str(rng.choice(("OD", "OS"))),
        haemorrhage_quadrants=4 if grade == 3 else int(rng.integers(1, 5)),
        pigment=float(rng.uniform(0, 0.9)),
        tint=(float(1 + warm), float(1 - warm + 0.08 * (blue - 1)), float(blue)),
        exposure=float(rng.uniform(0.72, 1.05)),
        vignetting=float(rng.uniform(0.1, 0.5)),
        blur=float(rng.choice((0.0, 0.0, 0.8, 1.8))),
        noise=float(rng.uniform(1, 3)),
        cut_above=cut,
        cut_below=cut,
        offset=(float(rng.normal(0, 0.012)), float(rng.normal(0, 0.012))),
        notch=bool(rng.random() < 0.4),
        **counts,
    )
