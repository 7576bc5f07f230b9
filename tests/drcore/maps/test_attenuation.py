"""Where the score is a healthy eye's, a map is its mean; everywhere its mean stays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from drcore.errors import DrcoreError
from drcore.maps.attenuation import Attenuation, attenuate
from drcore.maps.fusion import covered_mean

RAMP = Attenuation(1.0, 1.4)


@pytest.mark.parametrize(
    ("score", "share"), [(-0.3, 0), (1.0, 0), (1.1, 0.25), (1.4, 1), (4.2, 1), (math.nan, 0)]
)
def test_the_share_rises_between_the_two_scores(score: float, share: float) -> None:
    assert RAMP.share(score) == pytest.approx(share)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_mean_over_the_retina_stays(share: float) -> None:
    rng = np.random.default_rng(1)
    ram = rng.normal(0.4, 8, (32, 32)).astype(np.float32)
    coverage = rng.random((32, 32), dtype=np.float32) * (rng.random((32, 32)) > 0.3)
    result = attenuate(ram, coverage.astype(np.float32), share)
    assert covered_mean(result, coverage) == pytest.approx(covered_mean(ram, coverage), abs=1e-5)
    spread = float(np.ptp(result)) / float(np.ptp(ram))
    assert spread == pytest.approx(share, abs=1e-5)


def test_numbers_that_make_no_ramp_are_refused() -> None:
    with pytest.raises(DrcoreError):
        Attenuation(2.0, 1.0)
