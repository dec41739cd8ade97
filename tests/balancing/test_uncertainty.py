"""Uncertainty weighting: its fixed point, and what it depends on."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_symmetry.balancing import Uncertainty
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.testing import BalancerContract


class TestUncertainty(BalancerContract):
    subject = Uncertainty

    def make(self) -> Uncertainty:
        return Uncertainty()


def teach(balancer: Uncertainty, batches: int, values: list[float], loss: float | None = None) -> list[float]:
    for step in range(batches):
        if loss is not None:
            balancer.observe(loss, moved=False)
        balancer.track(torch.tensor(values, dtype=torch.float64), step)
    return balancer.strengths(len(values), batches)


def test_it_settles_at_the_inverse_of_the_value() -> None:
    """From wherever it begins: the minimum of exp(-s) v + s is at exp(s) = v."""
    balancer = Uncertainty(rate=0.05)
    teach(balancer, 1, [5.0, 0.2])
    assert teach(balancer, 400, [0.25, 0.5]) == pytest.approx([4.0, 2.0], rel=1e-3)


def test_it_settles_at_the_mean_of_values_that_vary() -> None:
    """Stochastic gradients: E exp(-s) v = 1, so that exp(s) = E v."""
    balancer = Uncertainty(rate=0.01)
    values = 0.2 + 0.2 * torch.rand(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for step, value in enumerate(values):
        balancer.track(value[None], step)
    # noise of the descent: its standard deviation is sqrt(rate / 2) times that of v / E v, 0.014
    assert balancer.strengths(1, 4000)[0] == pytest.approx(1 / 0.3, rel=0.05)


def test_the_task_weighs_1_and_strengths_are_in_its_units() -> None:
    assert teach(Uncertainty(), 400, [0.25, 0.5], loss=3.0) == pytest.approx([12.0, 6.0])
    assert teach(Uncertainty(), 400, [0.25, 0.5], loss=3e-4) == pytest.approx([12e-4, 6e-4])


def test_a_value_in_other_units_gets_a_strength_in_inverse_units() -> None:
    generator = torch.Generator().manual_seed(0)
    values = 0.1 + torch.rand(50, generator=generator, dtype=torch.float64)
    plain, scaled = Uncertainty(), Uncertainty()
    for step, value in enumerate(values):
        plain.track(value[None], step)
        scaled.track(7.0 * value[None], step)
    assert scaled.strengths(1, 50)[0] == pytest.approx(plain.strengths(1, 50)[0] / 7.0)


def test_what_vanishes_gets_a_bounded_strength_and_an_outlier_moves_little() -> None:
    assert teach(Uncertainty(most=50.0), 10, [0.0])[0] == pytest.approx(50.0)
    balancer = Uncertainty(rate=0.01)
    before = teach(balancer, 10, [0.25])[0]
    assert teach(balancer, 1, [1e9])[0] == pytest.approx(before * math.exp(-0.01))


def test_what_was_not_measured_stays() -> None:
    balancer = Uncertainty()
    before = teach(balancer, 5, [0.25, 0.5])
    after = teach(balancer, 50, [0.1, math.nan])
    assert after[0] > before[0] and after[1] == before[1]
    assert teach(Uncertainty(), 3, [math.nan, 0.5]) == pytest.approx([0.0, 2.0])


@pytest.mark.parametrize("settings", [{"rate": 0}, {"most": -1}])
def test_settings_without_sense_are_refused(settings) -> None:
    with pytest.raises(InvalidSetting, match="got .*expected "):
        Uncertainty(**settings)
