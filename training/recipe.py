"""What a training run does, in one frozen object a preset."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["GPU_BUNDLE", "RECIPES", "SHIPPED", "Augmentation", "Recipe", "Refit"]

SHIPPED = ("ram-128", "ram-256", "ram-512-lite2")
"""Networks of the bundle that ships, one for each input size."""

GPU_BUNDLE = {
    "ram-1024": 0.45,
    "ram-512-lite2": 0.3,
    "ram-256-lesions": 0.15,
    "ram-128-lesions": 0.1,
}
"""Recipes that train all scales of the bundle that ships on a GPU in one go, those that count most
in the score first, and the share of the time that each may take. `ram-1024`, the finest, has a
recipe of its own, `training.finest_scale.device_training.WHOLE`."""


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
        compression: probability of a JPEG of quality `worst_quality` to 95, at the resolution that
            is left after `coarse`.
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
    compression: float = 0.0
    worst_quality: int = 30


@dataclass(frozen=True, slots=True)
class Refit:
    """How the linear unit is solved for once the descent has ended.

    Attributes:
        ridge: price of leaving the weights that descent found.
        calm: price of variance within a map.
    """

    ridge: float = 1e-2
    calm: float = 1e-4


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training run, apart from the data.

    Attributes:
        preset: network, a key of `drcore.model.network.PRESETS`.
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
        independence: 0 leaves the grades within each dataset as they are; 1 draws them alike from
            every dataset, so that the camera's look says nothing of the grade and one scale of
            scores fits all. See `training.data.sampling.class_weights`.
        sparsity: weight of mean(log(1 + |map|)) in the loss. Only the mean of the map is graded,
            so cells may cancel each other, or all rise alike, at will. This makes cancelling cost
            and, being concave, concentrating pay: the same grade is cheaper from a few cells that
            see a lesion than from all cells a little.
        frozen: blocks from the input that stay as they are, the stem with them; all norms then
            keep their statistics, too. What is left to learn needs a third of the time. 0: nothing
            is frozen.
        keep_norms: whether norms keep the statistics of the first weights.
        depth_drop: probability with which the last residual block is skipped, less towards the
            input (stochastic depth, Huang et al. 2016).
        folded: whether the faster arithmetic of `training.optimisation.arithmetic` is used:
            bfloat16, norms folded into convolutions. On processors, with norms that keep their
            statistics.
        lesions: weight of `lesion_loss` in the loss; 0: masks are not used.
        annotated: photographs with masks a step.
        taught: share of a teacher's score in what is learnt, the rest is the grade; 0: no teacher.
            See `training.optimisation.distillation`.
        refit: how the linear unit is solved for after the last epoch; None leaves it.
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
    independence: float = 0.0
    sparsity: float = 0.2
    frozen: int = 0
    keep_norms: bool = False
    depth_drop: float = 0.0
    folded: bool = False
    lesions: float = 0.0
    annotated: int = 8
    taught: float = 0.0
    refit: Refit | None = None
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

# Poorer cameras than most of the training photographs': half of EyePACS is 400 px, compressed.
_POOR_CAMERAS = Augmentation(
    zoom=1.25, coarse=0.3, coarse_factor=2.5, compression=0.3, blur=0.3, noise=0.25
)
_ALIKE = Recipe(
    "ram-512",
    warm_start="bundled",
    epochs=8,
    batch=24,
    rate=3e-4,
    weight_decay=0.05,
    average=0.998,
    datasets=(("idrid", 5.0), ("eyepacs", 2.0)),
    independence=0.5,
    keep_norms=True,
    augmentation=_POOR_CAMERAS,
    seed=3,
)

_WITH_LESIONS = {"lesions": 1.0, "annotated": 4, "seed": 6}
_LITE2_512 = Recipe(
    "ram-512-lite2",
    warm_start="imagenet",
    epochs=30,
    batch=64,
    rate=8e-4,
    weight_decay=0.05,
    average=0.995,
    datasets=(("idrid", 4.0), ("eyepacs", 2.0)),
    independence=0.5,
    depth_drop=0.2,
    lesions=1.0,
    augmentation=_POOR_CAMERAS,
    seed=4,
)

_TAUGHT = replace(
    _ALIKE,
    epochs=4,
    rate=2.5e-4,
    average=0.995,
    datasets=(("idrid", 3.0), ("eyepacs", 2.0)),
    lesions=1.0,
    annotated=4,
    taught=0.5,
    seed=12,
)

# On from what ships with the photographs added since; see `training.train --further`.
_FURTHER = replace(
    _ALIKE,
    epochs=2,
    average=0.995,
    # Stem and first three stages stay: what is left to learn costs a third less.
    frozen=5,
    datasets=(
        ("idrid", 3.0), ("messidor2", 2.0), ("eyepacs", 1.5), ("healthy", 0.8), ("aptos2019", 0.6),
    ),
    folded=True,
    lesions=1.0,
    annotated=3,
    seed=21,
)  # fmt: skip

RECIPES: dict[str, Recipe] = {
    "ram-128": Recipe("ram-128", warm_start="imagenet", epochs=4, rate=1e-3),
    "ram-256": Recipe("ram-256", warm_start="ram-128", epochs=5, rate=6e-4),
    "ram-512": Recipe("ram-512", warm_start="ram-256", epochs=2, batch=24, rate=4e-4),
    "ram-512-longer": _LONGER_512,
    "ram-512-late": replace(_LONGER_512, epochs=4, frozen=5, seed=2),
    "ram-256-longer": Recipe("ram-256", warm_start="bundled", epochs=8, rate=6e-4, seed=1),
    "ram-128-alike": replace(_ALIKE, preset="ram-128", epochs=8, rate=4e-4),
    "ram-256-alike": replace(_ALIKE, preset="ram-256", epochs=16, rate=4e-4),
    "ram-512-alike": _ALIKE,
    "ram-128-lesions": replace(_ALIKE, preset="ram-128", epochs=10, rate=4e-4, **_WITH_LESIONS),
    "ram-256-lesions": replace(_ALIKE, preset="ram-256", epochs=12, rate=4e-4, **_WITH_LESIONS),
    "ram-256-lite2": replace(_LITE2_512, preset="ram-256-lite2", epochs=7),
    "ram-256-lite2-longer": replace(
        _ALIKE,
        preset="ram-256-lite2",
        warm_start="ram-256-lite2",
        epochs=11,
        rate=4e-4,
        **_WITH_LESIONS,
    ),
    "ram-512-lite2": _LITE2_512,
    "ram-512-lite2-grades": replace(_LITE2_512, epochs=8, batch=72, lesions=0.0),
    # On from what ships; --teacher names the bundle that teaches.
    "ram-256-taught": replace(
        _TAUGHT, preset="ram-256", epochs=7, rate=3e-4, average=0.998, seed=13
    ),
    "ram-512-lite2-taught": replace(_TAUGHT, preset="ram-512-lite2"),
    "ram-512-lite2-taught-longer": replace(
        _TAUGHT, preset="ram-512-lite2", warm_start="ram-512-lite2", epochs=3, rate=2e-4, seed=14
    ),
    "ram-128-further": replace(_FURTHER, preset="ram-128"),
    "ram-256-further": replace(_FURTHER, preset="ram-256"),
    "ram-512-lite2-further": replace(
        _FURTHER,
        preset="ram-512-lite2",
        frozen=7,
        datasets=(*_FURTHER.datasets[:-1], ("aptos2019", 0.15)),
    ),
    "ram-512-lite2-everything": replace(
        _FURTHER,
        preset="ram-512-lite2",
        epochs=4,
        frozen=0,
        rate=2e-4,
        datasets=(*_FURTHER.datasets[:-1], ("aptos2019", 0.3)),
        seed=51,
    ),
    # The same with everything learnt, and the bundle of four scales that ships as the teacher.
    "ram-256-further-taught": replace(
        _FURTHER, preset="ram-256", epochs=5, frozen=0, taught=0.4, seed=41
    ),
    # Linear unit of the weights that ship, solved for; nothing else changes.
    "ram-512-refit": replace(_ALIKE, epochs=0, refit=Refit()),
    "tiny-128": Recipe("tiny-128", epochs=10, batch=16, rate=3e-3, average=0.95),
}
