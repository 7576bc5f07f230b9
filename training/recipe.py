"""What a training run does, in one frozen object a preset."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["RECIPES", "Augmentation", "Recipe"]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes a photograph goes through before it is shown to the network.

    Attributes:
        rotation: largest turn to either side, degrees.
        zoom: largest factor, either way, log-uniform.
        shift: largest shift, share of the width.
        flip: probability of mirroring.
        gamma: largest log of the exponent of all channels.
        gain: largest log of the brightness factor of all channels.
        colour: largest log of the factor of each single channel.
        blur: probability of a Gaussian blur, sigma up to `blur_sigma` of the width.
        coarse: probability of losing resolution, by a factor up to `coarse_factor`.
        noise: probability of sensor noise of up to `noise_sigma` grey levels.
    """

    rotation: float = 180.0
    zoom: float = 1.15
    shift: float = 0.05
    flip: float = 0.5
    gamma: float = 0.3
    gain: float = 0.25
    colour: float = 0.10
    blur: float = 0.25
    blur_sigma: float = 1 / 350
    coarse: float = 0.15
    coarse_factor: float = 2.0
    noise: float = 0.2
    noise_sigma: float = 4.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training run, apart from the data.

    Attributes:
        preset: network, a key of `drcore.network.PRESETS`.
        warm_start: "imagenet", "none", "bundled" (the weights that ship), or the preset whose
            finished run in the same folder gives the first weights (128 -> 256 -> 512, Wang &
            Yang 2017, section 3).
        epochs: passes; an epoch draws as many photographs as the training split has.
        batch: photographs a step.
        rate: largest learning rate of AdamW, reached after `warmup` of the steps, cosine to 1 %.
        weight_decay: decoupled, on convolution and linear weights only.
        average: decay a step of the exponential moving average of weights.
        class_power: photographs of a grade are drawn with weight (1 / its frequency) ** power.
        datasets: extra weight of photographs by dataset.
        sparsity: weight of mean(log(1 + |map|)) in the loss. Only the mean of the map is graded,
            so cells may cancel each other, or all rise alike, at will. This makes cancelling cost
            and, being concave, concentrating pay: the same grade is cheaper from a few cells that
            see a lesion than from all cells a little.
        frozen: blocks from the input that stay as they are, the stem with them; all norms then
            keep their statistics, too. What is left to learn needs a third of the time. 0: nothing
            is frozen.
        augmentation: random changes.
        seed: seed of everything random.
    """

    preset: str
    warm_start: str = "none"
    epochs: int = 6
    batch: int = 32
    rate: float = 6e-4
    warmup: float = 0.05
    weight_decay: float = 0.02
    average: float = 0.995
    class_power: float = 0.5
    datasets: tuple[tuple[str, float], ...] = (("idrid", 2.0),)
    sparsity: float = 0.2
    frozen: int = 0
    augmentation: Augmentation = Augmentation()
    seed: int = 0


_LONGER_512 = Recipe(
    "ram-512",
    warm_start="bundled",
    epochs=3,
    batch=24,
    rate=4e-4,
    # Most APTOS photographs here are 224 px high and show nothing new at 512 px.
    datasets=(("idrid", 4.0), ("eyepacs", 1.5), ("aptos2019", 0.6)),
    seed=1,
)

RECIPES: dict[str, Recipe] = {
    "ram-128": Recipe("ram-128", warm_start="imagenet", epochs=4, rate=1e-3),
    "ram-256": Recipe("ram-256", warm_start="ram-128", epochs=5, rate=6e-4),
    "ram-512": Recipe("ram-512", warm_start="ram-256", epochs=2, batch=24, rate=4e-4),
    "ram-512-longer": _LONGER_512,
    "ram-512-late": replace(_LONGER_512, epochs=4, frozen=5, seed=2),
    "ram-256-longer": Recipe("ram-256", warm_start="bundled", epochs=8, rate=6e-4, seed=1),
    "tiny-128": Recipe("tiny-128", epochs=10, batch=16, rate=3e-3, average=0.95),
}
