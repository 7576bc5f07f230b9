"""A synthetic fundus photograph with exact lesion masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthetic.anatomy import DISC_RADIUS, make_eye, rgb_levels
from training.synthetic.camera import paint_disc, paint_fundus, take_photograph
from training.synthetic.lesions import (
    PaintedLesions,
    paint_haemorrhages,
    paint_hard_exudates,
    paint_microaneurysms,
    paint_soft_exudates,
)
from training.synthetic.recipe import LESIONS, SEVERE_PER_QUADRANT, BoolImage, PhantomRecipe, Point
from training.synthetic.vessels import ARTERIAL, CLOTTED, VENOUS, draw_vessels, vessel_tree


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic fundus photograph and the truth about it.

    Arguments:
        rgb: the picture, (H, W, 3) uint8, sRGB.
        masks: bool (H, W) each, True where the named thing is visibly painted: microaneurysms,
            haemorrhages, hard_exudates, soft_exudates, optic_disc, vessels, field_of_view.
        grade: ICDR grade of what was painted: 0 nothing; 1 microaneurysms only; 2 more than
            microaneurysms; 3 more than 20 haemorrhages in each of the four quadrants of the
            field. Never 4: proliferative disease means new vessels or a vitreous or preretinal
            haemorrhage, and these are not painted.
        dme: risk of macular oedema as IDRiD defines it: 0 no hard exudates; 1 hard exudates more
            than one (typical) disc diameter from the fovea; 2 nearer.
        centre: centre (x, y) of the field of view in px; the top left pixel's middle is (0.5, 0.5).
        radius: radius of the field of view in px.
        fovea: position (x, y) of the fovea in px.
    """

    rgb: NDArray[np.uint8]
    masks: dict[str, BoolImage]
    grade: int
    dme: int
    centre: Point
    radius: float
    fovea: Point


def _grade(lesions: PaintedLesions) -> int:
    """ICDR grade of the painted lesions; see `Phantom`."""
    quadrants = [0, 0, 0, 0]
    for x, y in lesions.centres["haemorrhages"]:
        quadrants[(x > 0) + 2 * (y > 0)] += 1
    if min(quadrants) > SEVERE_PER_QUADRANT:
        return 3
    if any(lesions.masks[name].any() for name in LESIONS[1:]):
        return 2
    return int(lesions.masks["microaneurysms"].any())


def make_phantom(recipe: PhantomRecipe) -> Phantom:
    """Draw the phantom of a recipe.

    Returns:
        The picture with its masks, grade and geometry. The same recipe gives the same pixels.
    """
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(recipe.seed).spawn(8)]
    anatomy, background, tree, soft, blood, hard, dots, camera = streams
    eye = make_eye(recipe, anatomy)
    rgb = paint_fundus(eye, recipe.pigment, background)
    disc = paint_disc(rgb, eye, recipe.pigment, anatomy)
    vessels = vessel_tree(eye, tree)
    veins, arteries = draw_vessels(eye, vessels)

    taken = (np.hypot(eye.x, eye.y) > 0.97) | (eye.distance(eye.disc) < 1.2 * DISC_RADIUS) | disc
    lesions = PaintedLesions(eye, taken)
    paint_soft_exudates(lesions, recipe.soft_exudates, soft, vessels)
    paint_haemorrhages(lesions, recipe.haemorrhages, blood, recipe.haemorrhage_quadrants)
    # Smaller lesions keep off the larger vessels, where they could not be seen.
    lesions.taken |= np.maximum(veins, arteries) > 0.5
    paint_hard_exudates(lesions, recipe.hard_exudates, hard)
    lesions.taken |= lesions.masks["hard_exudates"]
    paint_microaneurysms(lesions, recipe.microaneurysms, dots)

    layers = lesions.layers
    # Order of depth: waxy exudates lie deep, blood filters the light from below, cotton wool spots
    # lie on top. Lesions take their light from the fundus around them.
    wax = layers["hard_exudates"][..., None]
    rgb += wax * (rgb * rgb_levels(0.24, 0.85, 0.75) + rgb_levels(10, 16, 4))
    bleeding = 0.55 * layers["haemorrhages"] + 0.34 * layers["microaneurysms"]
    blood_layers = ((0.42 * veins, VENOUS), (0.3 * arteries, ARTERIAL), (bleeding, CLOTTED))
    rgb *= np.exp(-sum(layer[..., None] * rgb_levels(*colour) for layer, colour in blood_layers))
    wool = layers["soft_exudates"][..., None]
    rgb += wool * (rgb * rgb_levels(0.08, 0.42, 0.8) + rgb_levels(10, 22, 28))
    picture, field_of_view = take_photograph(rgb, eye, recipe, camera)

    hard_mask = lesions.masks["hard_exudates"]
    near = bool((hard_mask & (eye.distance(eye.fovea) <= 2 * DISC_RADIUS)).any())
    masks = {
        **lesions.masks,
        "optic_disc": disc & field_of_view,
        "vessels": (np.maximum(veins, arteries) > 0.3) & field_of_view,
        "field_of_view": field_of_view,
    }
    fovea_x, fovea_y = eye.to_px(*eye.fovea)
    return Phantom(
        rgb=picture,
        masks=masks,
        grade=_grade(lesions),
        dme=2 if near else int(hard_mask.any()),
        centre=eye.centre,
        radius=eye.radius,
        fovea=(float(fovea_x), float(fovea_y)),
    )
