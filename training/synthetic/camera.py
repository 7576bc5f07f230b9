"""From a synthetic retina to a photograph."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthetic.anatomy import DISC_RADIUS, Eye, bump, fibre_label, rgb_levels, smooth_noise
from training.synthetic.recipe import BoolImage, FloatImage, PhantomRecipe


def paint_fundus(eye: Eye, pigment: float, rng: np.random.Generator) -> FloatImage:
    """The fundus without vessels and disc: (H, W, 3) float32, 0 to about 255."""
    to_disc, to_fovea = eye.distance(eye.disc), eye.distance(eye.fovea)
    base = (1 - pigment) * rgb_levels(226, 122, 60) + pigment * rgb_levels(150, 64, 18)
    light = 1 + 0.13 * bump(to_disc, 0.55) + 0.07 * bump(to_fovea, 0.9)
    light += 0.05 * smooth_noise(rng, eye, 4) + 0.03 * smooth_noise(rng, eye, 9)
    # The macula holds yellow pigment and denser epithelium; the fovea is darkest.
    dim = 0.18 * bump(to_fovea, 0.32) + 0.2 * bump(to_fovea, 0.14) + 0.12 * bump(to_fovea, 0.05)
    grain = 0.007 * smooth_noise(rng, eye, 57) + 0.009 * smooth_noise(rng, eye, 151)
    grain += 0.008 * smooth_noise(rng, eye, 331)
    # Choroidal vessels: the crests of smooth noise form a net, seen best in pale fundi.
    net = 1 - np.abs(smooth_noise(rng, eye, 22) + 0.5 * smooth_noise(rng, eye, 45))
    choroid = np.float32(0.035 + 0.05 * (1 - pigment)) * np.clip(net, -0.3, 1)
    choroid *= np.clip(0.35 + 0.35 * smooth_noise(rng, eye, 3), 0, 1) * (1 - bump(to_fovea, 0.35))
    # Sheen of the nerve fibres, striped, strongest above and below the disc.
    label = fibre_label(eye.x - eye.disc[0], eye.y - eye.disc[1])
    stripes = np.interp(label, np.linspace(-np.pi, np.pi, 420), rng.standard_normal(420))
    sheen = bump(to_disc, 0.5) * (0.25 + 0.75 * np.square(np.sin(label)))
    sheen *= (0.1 + 0.035 * stripes.astype(np.float32)) * (1 - 0.6 * np.float32(pigment))
    planes = [
        base[c] * np.power(light, power) * (1 + grain * fine + choroid * deep + sheen * pale_)
        * np.exp(-dim * absorbed)
        for c, (power, fine, deep, pale_, absorbed) in enumerate(
            ((0.8, 0.7, 1.0, 0.5, 0.6), (1.1, 1.2, 0.7, 1.6, 1.0), (1.3, 1.4, 0.4, 2.6, 1.2))
        )
    ]  # fmt: skip
    return np.stack(planes, axis=2).astype(np.float32)


def paint_disc(rgb: FloatImage, eye: Eye, pigment: float, rng: np.random.Generator) -> BoolImage:
    """Paint the optic disc into `rgb` and return its mask."""
    dx, dy = eye.x - np.float32(eye.disc[0]), eye.y - np.float32(eye.disc[1])
    tilt, size = rng.normal(0, 0.25), DISC_RADIUS * rng.uniform(0.93, 1.07)
    u = (math.cos(tilt) * dx + math.sin(tilt) * dy) / (size * 0.92)
    v = (math.cos(tilt) * dy - math.sin(tilt) * dx) / (size * 1.06)
    r = np.hypot(u, v) + 0.02 * smooth_noise(rng, eye, 40)
    cup_size = rng.uniform(0.32, 0.5)
    cup_r = np.hypot(u + 0.16, v) / np.float32(cup_size)
    disc = np.clip((1 - r) / 0.13 + 0.5, 0, 1)
    cup = np.clip((1 - cup_r) / 0.55 + 0.5, 0, 1)
    # The nasal rim is thicker and pinker than the temporal one.
    nasal = np.clip(0.45 + 0.35 * u, 0, 1)[..., None]
    rim = rgb_levels(285, 200, 126) * (1 - nasal) + rgb_levels(270, 164, 102) * nasal
    colour = rim + cup[..., None] * (rgb_levels(295, 236, 165) - rim)
    # In a dark fundus the disc is dimmer and more orange.
    colour = colour * (1 - pigment * rgb_levels(0.03, 0.18, 0.44))
    halo = 0.1 * bump(np.maximum(r - 1, 0).astype(np.float32), 0.25)
    rgb *= 1 + halo[..., None]
    rgb += disc[..., None].astype(np.float32) * (colour - rgb)
    return np.asarray(disc > 0.5)


def take_photograph(
    rgb: FloatImage, eye: Eye, recipe: PhantomRecipe, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], BoolImage]:
    """Take the photograph: light, defocus, the rim of the field and sensor noise."""
    scale = recipe.size / 1024
    r = np.hypot(eye.x, eye.y)
    # An eye off the optical axis gets its light from one side.
    side = rng.uniform(0, math.tau)
    lean = 0.1 * (math.cos(side) * eye.x + math.sin(side) * eye.y)
    light = np.float32(recipe.exposure) * (1 + lean) * (1 - recipe.vignetting * np.power(r, 3.2))
    gain = np.clip(light, 0, None)[..., None] * np.array(recipe.tint, np.float32)
    sigma = max(0.35, math.hypot(0.8, recipe.blur) * scale)
    rgb = np.asarray(cv2.GaussianBlur(rgb * gain, (0, 0), sigma), np.float32)
    # A soft shoulder, as in a camera's tone curve, keeps the disc from burning out.
    rgb = np.minimum(rgb, 255 - 40 * np.exp((215 - np.maximum(rgb, 215)) / 40))
    edge = np.float32(max(1.0, 4 * scale) / eye.radius)
    field_alpha = np.clip((1 - r) / edge + 0.5, 0, 1)
    if recipe.notch:
        px, py = eye.x * eye.side, eye.y  # the tab belongs to the camera, not to the eye
        turn = math.radians(-41)
        out = math.cos(turn) * px + math.sin(turn) * py
        across = math.cos(turn) * py - math.sin(turn) * px
        tab = np.minimum(1.028 - out, 0.03 - np.abs(across)) / edge + 0.5
        field_alpha = np.maximum(field_alpha, np.where(out > 0, np.clip(tab, 0, 1), 0))
    photo = field_alpha[..., None] * rgb + 3
    noise = rng.standard_normal((eye.height, eye.width, 3), dtype=np.float32)
    noise += rng.standard_normal((eye.height, eye.width, 1), dtype=np.float32)
    photo += np.float32(recipe.noise * 0.7) * noise * (0.3 + 0.7 * field_alpha[..., None])
    return np.clip(photo + 0.5, 0, 255).astype(np.uint8), field_alpha > 0.5
