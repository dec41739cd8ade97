"""Losses: their contracts, and their values against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SE, Given, Learned
from lightning_symmetry.losses import (
    Call,
    Equivariance,
    InfinitesimalEquivariance,
    NormReward,
    OrbitCosine,
    Orthogonality,
    Sparsity,
    WidthReward,
)
from lightning_symmetry.samplers import OneHot, Uniform
from lightning_symmetry.symmetry import Symmetry
from lightning_symmetry.testing import LossContract


class TestEquivariance(LossContract):
    subject = Equivariance
    measures_map = True

    def make(self) -> Equivariance:
        return Equivariance()


class TestEquivarianceOfSeveralViews(LossContract):
    subject = Equivariance
    measures_map = True

    def make(self) -> Equivariance:
        return Equivariance(views=3)


class TestInfinitesimalEquivariance(LossContract):
    subject = InfinitesimalEquivariance
    measures_map = True

    def make(self) -> InfinitesimalEquivariance:
        return InfinitesimalEquivariance()


class TestNormReward(LossContract):
    subject = NormReward
    lower_bound = -math.sqrt(2) * math.pi / 2

    def make(self) -> NormReward:
        return NormReward()


class TestWidthReward(LossContract):
    subject = WidthReward
    learns = "widths"
    lower_bound = -2 * math.pi

    def make(self) -> WidthReward:
        return WidthReward()


class TestLogWidthReward(LossContract):
    subject = WidthReward
    learns = "widths"
    lower_bound = -math.log(math.pi)

    def make(self) -> WidthReward:
        return WidthReward("log")


class TestOrbitCosine(LossContract):
    subject = OrbitCosine

    def make(self) -> OrbitCosine:
        return OrbitCosine()


class TestOrthogonality(LossContract):
    subject = Orthogonality

    def make(self) -> Orthogonality:
        return Orthogonality()


class TestSparsity(LossContract):
    subject = Sparsity

    def make(self) -> Sparsity:
        return Sparsity()


def call_with(group, law=OneHot, rows=16, draws=1, net=None, output="scalar", width=1.0):
    symmetry = Symmetry(law(group, width=width), "vector(2)", output)
    x = Rng(0).normal(rows, 4, dtype=torch.float64)
    net = net or (lambda v: v[:, :2].square())
    y = net(x)
    symmetry.bind(x, y)
    g, weights = symmetry.sample(x, draws, Rng(1))
    return Call(net, x, y, g, weights, symmetry, Rng(2), 0)


def test_equivariance_is_the_mean_squared_difference_in_units_of_the_outputs_variance() -> None:
    call = call_with(Learned(2, 2, affine=False), draws=2, output="vector(2)")
    value = Equivariance(views=2)(call)
    variance = (call.y - call.y.mean(0)).square().mean()
    for b in range(16):
        total = 0.0
        for j in range(2):
            matrix = call.g[b * 2 + j].linear[0]
            moved = torch.cat([matrix @ call.x[b, :2], matrix @ call.x[b, 2:]])
            total += 0.5 * (moved[:2].square() - matrix @ call.y[b]).square().mean() / variance
        torch.testing.assert_close(value[b], total)


def test_equivariance_does_not_depend_on_the_targets_units() -> None:
    group = Learned(2, 2, affine=False)
    small = call_with(group, net=lambda v: v[:, :2].square())
    large = call_with(group, net=lambda v: 50 * v[:, :2].square() + 7)
    torch.testing.assert_close(Equivariance()(small), Equivariance()(large))


def test_class_distributions_are_compared_by_kl() -> None:
    call = call_with(Learned(2, 1, affine=False), net=lambda v: v)
    value = Equivariance("kl")(call)
    p, q = (t.softmax(1) for t in (call.y, call.answers[0]))
    torch.testing.assert_close(value, (p * (p / q).log()).sum(1))


def test_infinitesimal_equivariance_is_the_limit_of_the_finite_one() -> None:
    group = Given([[[0.0, -1.0], [1.0, 0.0]]], affine=False)
    exact = InfinitesimalEquivariance()(call_with(group)).mean()
    step = 1e-3
    finite = Equivariance()(call_with(group, law=Uniform, width=step)).mean() / (step**2 / 3)
    # one uniform draw a sample: a Monte-Carlo estimate of E[t^2] = width^2 / 3 over 16 rows
    assert 0.3 < float(finite / exact) < 3


def test_the_norm_reward_is_linear_and_capped() -> None:
    for scale, expected in ((0.5, -0.5 * math.sqrt(2)), (100.0, -math.sqrt(2) * math.pi / 2)):
        group = Given([[[0.0, -scale], [scale, 0.0]]], affine=False)
        assert float(NormReward()(call_with(group))) == pytest.approx(expected)


def test_the_norm_reward_pulls_as_hard_at_the_origin_as_elsewhere() -> None:
    for scale in (1e-4, 0.3):
        group = Learned(2, 1, affine=False, scale=scale)
        NormReward()(call_with(group)).backward()
        assert float(group.weight.grad.norm()) == pytest.approx(1.0, rel=1e-5)


def test_the_cosine_is_taken_for_each_active_generator() -> None:
    call = call_with(Learned(2, 3, affine=False), rows=60)
    expected = []
    for k in range(3):
        rows = [b for b in range(60) if call.g.coordinates[b, k] != 0]
        cosines = [torch.nn.functional.cosine_similarity(call.views[0].x[b], call.x[b], dim=0) for b in rows]
        expected.append(torch.stack(cosines).mean().abs())
    torch.testing.assert_close(OrbitCosine()(call), torch.stack(expected).mean())


def test_the_cosine_vanishes_on_a_uniform_law_of_rotations() -> None:
    group = Given([[[0.0, -math.pi], [math.pi, 0.0]]], affine=False)
    assert float(OrbitCosine()(call_with(group, law=Uniform, rows=4000))) < 0.03


def test_orthogonality_sees_directions_only() -> None:
    parallel = Given([[[0.0, -1.0], [1.0, 0.0]], [[0.0, -9.0], [9.0, 0.0]]], affine=False)
    apart = Given([[[0.0, -1.0], [1.0, 0.0]], [[9.0, 0.0], [0.0, 9.0]]], affine=False)
    assert float(Orthogonality()(call_with(parallel))) == pytest.approx(1.0)
    assert float(Orthogonality()(call_with(apart))) == pytest.approx(0.0)


def test_sparsity_is_the_entrywise_norm() -> None:
    group = Given([[[0.0, -3.0], [4.0, 0.0]]], affine=False)
    assert float(Sparsity()(call_with(group))) == pytest.approx(7.0)
    assert float(Sparsity(p=2)(call_with(group))) == pytest.approx(5.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Equivariance("cosine"),
        lambda: Equivariance(views=0),
        lambda: NormReward(cap=-1),
        lambda: Sparsity(p=0.5),
    ],
)
def test_settings_without_sense_are_refused(make) -> None:
    with pytest.raises(InvalidSetting, match="got .*expected "):
        make()


def test_views_are_shared() -> None:
    calls = []
    call = call_with(Learned(2, 2, affine=False), net=lambda v: (calls.append(1), v[:, :2])[1])
    calls.clear()
    Equivariance()(call), OrbitCosine()(call), Equivariance("kl")(call)
    assert len(calls) == 1


def reward_of(widths: list[float], form: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The reward of a law on SE(2) (a rotation, two translations), and its slope in the half-widths."""
    symmetry = Symmetry(Uniform(SE(2), widths, learnable=True), "points(2)", "label")
    x = torch.zeros(4, 3, 2)
    g, weights = symmetry.bind(x).sample(x, 1, Rng(0))
    call = Call(lambda v: v, x, x, g, weights, symmetry, Rng(0), 0)
    value = WidthReward(form)(call)
    value.backward()
    # the widths are softplus of the parameters
    return value.detach(), symmetry.sampler.raw_width.grad / torch.sigmoid(symmetry.sampler.raw_width.detach())


def test_the_norm_reward_of_widths_is_the_published_one() -> None:
    value, slope = reward_of([0.3, 0.4, 1.2], "norm")
    full = 2 * torch.tensor([0.3, 0.4, 1.2])
    torch.testing.assert_close(value, -full.norm())
    torch.testing.assert_close(slope, -2 * full / full.norm(), rtol=1e-4, atol=1e-6)


def test_under_the_log_every_width_gains_the_same_by_a_share() -> None:
    widths = torch.tensor([0.01, 0.4, 1.2])
    value, slope = reward_of(widths.tolist(), "log")
    torch.testing.assert_close(value, -widths.log().mean(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(slope * widths, torch.full((3,), -1 / 3), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("form", ["norm", "log"])
def test_a_width_beyond_its_bound_stops_earning_and_the_others_go_on(form: str) -> None:
    """A full turn is as wide as rotations get; one width at its bound must not silence the rest."""
    _, slope = reward_of([3.5, 0.4, 1.2], form)
    assert slope[0] == 0 and bool((slope[1:] < 0).all())
    _, slope = reward_of([0.3, 6.0, 1.2], form)
    assert slope[1] == 0 and bool((slope[[0, 2]] < 0).all())


def test_an_unknown_reward_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="'square'.*norm"):
        WidthReward("square")
