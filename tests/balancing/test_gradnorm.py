"""Gradient normalisation: gradients of known size become equal, or as unequal as the training rates say."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_symmetry.balancing import GradNorm
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.testing import BalancerContract


class TestGradNorm(BalancerContract):
    subject = GradNorm

    def make(self) -> GradNorm:
        return GradNorm()


def teach(balancer: GradNorm, step: int, task: tuple[float, float], errors: list[tuple[float, float]]) -> list[float]:
    """Tell it one batch: pairs of a value and the size of its gradient."""
    balancer.observe(task[0], moved=False)
    values, sizes = torch.tensor(errors, dtype=torch.float64).T
    balancer.compare(task[1], sizes, step)
    balancer.track(values, step)
    return balancer.strengths(len(errors), step + 1)


def test_quadratic_losses_of_known_scales_get_gradients_of_equal_size() -> None:
    """Losses c |theta - target|^2 with c = 1, 30 and 0.01, descended together: gradients are 2 c |theta - target|."""
    scales = torch.tensor([1.0, 30.0, 0.01], dtype=torch.float64)
    targets = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]], dtype=torch.float64)
    theta, balancer = torch.zeros(2, dtype=torch.float64), GradNorm(alpha=0.0)
    strengths = [0.0, 0.0]
    for step in range(1000):
        gradients = 2 * scales[:, None] * (theta - targets)
        losses, sizes = scales * (theta - targets).square().sum(1), gradients.norm(dim=1)
        balancer.observe(float(losses[0]), moved=False)
        balancer.compare(float(sizes[0]), sizes[1:], step)
        balancer.track(losses[1:], step)
        strengths = balancer.strengths(2, step + 1)
        weights = torch.tensor([1.0, *strengths], dtype=torch.float64)
        theta = theta - 0.01 * (weights @ gradients)
    weighted = weights * (2 * scales[:, None] * (theta - targets)).norm(dim=1)
    assert torch.allclose(weighted, weighted.mean().expand(3), rtol=0.05)


def test_it_begins_with_equal_gradients() -> None:
    assert teach(GradNorm(), 0, (1.0, 6.0), [(0.3, 2.0), (0.9, 0.5)]) == pytest.approx([3.0, 12.0])


def test_it_settles_where_weighted_gradients_go_as_a_power_of_the_training_rate() -> None:
    """Halved, unchanged and quartered losses: G_i ~ r_i^alpha, in the proportion of the ratios L_i / L_i(0)."""
    for alpha in (0.0, 0.5, 1.5):
        balancer = GradNorm(alpha=alpha)
        teach(balancer, 0, (1.0, 6.0), [(0.4, 2.0), (0.8, 0.5)])
        for step in range(1, 600):
            strengths = teach(balancer, step, (0.5, 5.0), [(0.4, 1.0), (0.2, 0.1)])
        weighted = [5.0, strengths[0] * 1.0, strengths[1] * 0.1]
        expected = [r**alpha for r in (0.5, 1.0, 0.25)]
        assert [w / weighted[0] for w in weighted] == pytest.approx([e / expected[0] for e in expected], rel=1e-3)


def test_weights_have_a_mean_of_1_with_the_task_among_them() -> None:
    balancer = GradNorm()
    for step in range(5):
        teach(balancer, step, (1.0 / (step + 1), 6.0), [(0.3, 2.0 + step), (0.9, 0.5)])
        assert float(balancer.weights.exp().sum()) == pytest.approx(3.0)


def test_a_value_in_other_units_gets_a_strength_in_inverse_units() -> None:
    plain, scaled = GradNorm(), GradNorm()
    for step in range(20):
        value, size = 1.0 / (step + 2), 0.5 + 0.1 * (step % 3)
        left = teach(plain, step, (1.0, 2.0), [(value, size), (0.3, 0.3)])
        right = teach(scaled, step, (1.0, 2.0), [(7 * value, 7 * size), (0.3, 0.3)])
    assert right == pytest.approx([left[0] / 7, left[1]])


def test_of_what_was_not_measured_the_last_value_counts() -> None:
    """Losses in turns settle where losses measured together do, and nothing happens before all were measured."""
    turns, together = GradNorm(alpha=0.0), GradNorm(alpha=0.0)
    nothing = (math.nan, math.nan)
    assert teach(turns, 0, (1.0, 2.0), [(0.5, 1.0), nothing]) == [0.0, 0.0]
    assert teach(turns, 1, (1.0, 2.0), [nothing, (0.5, 4.0)]) == pytest.approx([2.0, 0.5])
    for step in range(2, 400):
        first = teach(turns, step, (1.0, 2.0), [(0.5, 3.0), nothing] if step % 2 else [nothing, (0.5, 4.0)])
        second = teach(together, step, (1.0, 2.0), [(0.5, 3.0), (0.5, 4.0)])
    assert first == pytest.approx(second, rel=1e-3)


def test_a_gradient_that_vanishes_gets_a_bounded_strength() -> None:
    balancer = GradNorm(alpha=0.0, rate=0.5, most=10.0)
    assert teach(balancer, 0, (1.0, 2.0), [(0.5, 0.0), (0.5, 0.0)]) == [0.0, 0.0]
    assert teach(balancer, 1, (1.0, 2.0), [(0.5, 4.0), (0.5, 0.0)]) == pytest.approx([0.5, 500.0])
    for step in range(2, 200):
        strengths = teach(balancer, step, (1.0, 2.0), [(0.5, 0.0), (0.5, 0.0)])
    assert strengths == pytest.approx([5.0, 5000.0])


@pytest.mark.parametrize("settings", [{"alpha": -1}, {"rate": 0}, {"most": 0.5}])
def test_settings_without_sense_are_refused(settings) -> None:
    with pytest.raises(InvalidSetting, match="got .*expected "):
        GradNorm(**settings)
