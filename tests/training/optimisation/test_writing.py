"""Training the detector of writing: squares and their targets, and weights as published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

import drcore
from drcore.export.writing import graph
from drcore.preprocessing.field_of_view import find_field_of_view
from training.data.writing_squares import Fonts, Squares
from training.optimisation.writing import WritingNetwork, publish, train
from training.synthetic.burnt_in import burn_in, fonts_in, random_line

FONTS = Path(drcore.__file__).parent / "fonts"


@pytest.fixture(scope="module")
def files(phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(2):
        Image.fromarray(np.array(phantom(seed=seed).rgb)).save(folder / f"{seed}.png")
    return sorted(folder.iterdir())


def test_squares_say_where_the_writing_is(files):
    squares = Squares(files, Fonts(FONTS), seed=0)
    marked = 0
    for _ in range(12):
        written, plain = squares.draw(written=True), squares.draw(written=False)
        assert written.rgb.shape == plain.rgb.shape == (208, 208, 3)
        assert written.target.shape == (52, 52)
        assert set(np.unique(written.target)) <= {-1, 0, 1}
        assert not plain.target.any()
        marked += (written.target == 1).sum()
    assert marked > 12 * 20


def test_same_seed_same_squares(files):
    first, second = (Squares(files, Fonts(FONTS), seed=4) for _ in range(2))
    for _ in range(3):
        assert np.array_equal(first.draw(written=True).rgb, second.draw(written=True).rgb)


def test_training_and_published_weights(files, tmp_path):
    torch.manual_seed(1)
    network = train(files, FONTS, tmp_path / "state.safetensors", steps=3, batch=4)
    publish(network, tmp_path, 0.7)
    compiled = openvino.Core().compile_model(
        graph(load_file(tmp_path / "writing.safetensors")), "CPU"
    )
    rgb = np.random.default_rng(0).integers(0, 256, (1, 96, 128, 3), np.uint8)
    with torch.no_grad():
        wanted = network(torch.from_numpy(rgb).permute(0, 3, 1, 2) / 255).sigmoid()[0]
    assert compiled(rgb)[0].shape == (24, 32)
    assert np.abs(compiled(rgb)[0] - wanted.numpy()).max() < 0.01
    assert isinstance(network, WritingNetwork)


def test_a_line_lies_on_the_retina_as_a_whole(phantom):
    rgb, rng = np.array(phantom(seed=1).rgb), np.random.default_rng(0)
    view, fonts = find_field_of_view(rgb), fonts_in(FONTS)
    inside = view.mask(320, 320)
    for script in ("Latin", "Thai", "Date"):
        line = random_line(rng, fonts, script, (12, 13))
        written, (left, top, right, bottom) = burn_in(rgb, line, view, rng)
        changed = (written != rgb).any(axis=2)
        assert changed.any()
        assert not changed[~inside].any()
        assert inside[top:bottom, left:right].all()
        if line.style != "box":
            assert changed[top:bottom, left:right].sum() >= 0.5 * changed.sum()
