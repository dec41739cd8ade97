"""Dual ascent: problems with a known solution, resilience, units, and the automatic settings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from lightning_symmetry.balancing import Dual
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.testing import BalancerContract


class TestDual(BalancerContract):
    subject = Dual

    def make(self) -> Dual:
        return Dual()


class TestDualOfLosses(TestDual):
    def make(self) -> Dual:
        return Dual(epsilon="auto", resilient=False)


class TestPlainDual(TestDual):
    def make(self) -> Dual:
        return Dual(epsilon=[0.1, 0.01, 0.2], rate=0.3, resilient=False, relative=False, smoothing=0.5)


def minimise(dual: Dual, far: Sequence[float] = (0.0,), batches: int = 800) -> tuple[float, dict[str, list[float]]]:
    """Minimise theta^2 with errors (theta - 1)^2 + far from 0, as a training does; returns theta and the readings."""
    theta = 0.0
    for step in range(batches):
        strengths = dual.strengths(len(far), step)
        dual.track(torch.tensor([(theta - 1) ** 2 + f for f in far], dtype=torch.float64), step)
        theta -= 0.1 * (2 * theta + sum(strengths) * 2 * (theta - 1)) / (1 + sum(strengths))
    return theta, dual.readings(len(far), batches)


def plain(**settings: float) -> Dual:
    return Dual(**{"rate": 0.05, "resilient": False, "relative": False, **settings})


def test_the_toy_problem_meets_its_optimality_conditions() -> None:
    """min theta^2 subject to (theta - 1)^2 <= 0.25: 2 theta = 2 lambda (1 - theta), so theta = 0.5 and lambda = 1."""
    theta, readings = minimise(plain(epsilon=0.25))
    assert theta == pytest.approx(0.5, abs=1e-3)
    assert readings["dual"] == pytest.approx([1.0], abs=1e-2)
    assert readings["slack"] == pytest.approx([0.0], abs=1e-3)
    assert readings["infeasible"] == [0.0] and "relaxed" not in readings


def test_the_multiplier_is_the_sensitivity_of_the_optimum() -> None:
    """lambda = - d P* / d epsilon, by a finite difference of two solutions."""

    def solve(epsilon: float) -> tuple[float, float]:
        theta, readings = minimise(plain(epsilon=epsilon))
        return theta**2, readings["dual"][0]

    (low, _), (_, dual), (high, _) = (solve(epsilon) for epsilon in (0.24, 0.25, 0.26))
    assert dual == pytest.approx((low - high) / 0.02, rel=0.01)


def test_a_constraint_that_holds_anyway_is_free() -> None:
    theta, readings = minimise(plain(epsilon=2.0))
    assert theta == pytest.approx(0.0, abs=1e-6) and readings["dual"] == [0.0]
    assert readings["slack"] == pytest.approx([-1.0])


def test_resilience_settles_where_the_multiplier_is_the_slope_of_the_price() -> None:
    """lambda = 2 a u and v = epsilon + u, with theta stationary: theta = lambda (1 - theta)."""
    for cost, rate in ((0.5, None), (0.5, 0.05), (2.0, None)):
        dual = plain(epsilon=0.1, resilient=True, relax_cost=cost, relax_rate=rate)
        theta, readings = minimise(dual)
        (multiplier,), (relaxed,) = readings["dual"], readings["relaxed"]
        assert multiplier == pytest.approx(2 * cost * relaxed, rel=1e-3)
        assert (theta - 1) ** 2 == pytest.approx(0.1 + relaxed, rel=1e-3)
        assert theta == pytest.approx(multiplier * (1 - theta), rel=1e-3)


def test_what_cannot_be_had_drives_the_plain_multiplier_to_the_clip_and_the_resilient_one_nowhere() -> None:
    """No theta has (theta - 1)^2 + 0.3 <= 0.25; that (theta - 1)^2 <= 0.25 could be had."""
    _, lost = minimise(plain(epsilon=0.25, rate=1.0, most=20.0), far=(0.3, 0.0))
    _, held = minimise(plain(epsilon=0.25, rate=1.0, most=20.0, resilient=True, relax_cost=0.1), far=(0.3, 0.0))
    assert lost["dual"][0] == 20.0 and lost["infeasible"] == [1.0, 0.0]
    # at most the slope of the price at the violation that no constraint would leave
    assert all(0 < dual < 2 * 0.1 * 1.05 for dual in held["dual"])
    assert held["infeasible"] == [1.0, 1.0] and held["relaxed"][0] > held["relaxed"][1]


def test_rare_measurements_and_high_rates_stay_at_the_relaxed_solution() -> None:
    """Where a stride of the ascent would jump across lambda = 2 a slack, it ends there."""
    rare, fast = (plain(epsilon=0.1, resilient=True, warmup=0, rate=r) for r in (0.05, 50.0))
    for dual, every in ((rare, 40), (fast, 1)):
        for step in range(0, 200 * every, every):
            dual.track(torch.tensor([0.5], dtype=torch.float64), step)
        assert dual.strengths(1, 0) == pytest.approx([2 * 0.1 * 0.4])


def test_nothing_happens_in_the_warm_up() -> None:
    dual = plain(epsilon=0.1, warmup=10, smoothing=0.0)
    for step in range(10):
        dual.track(torch.tensor([5.0]), step)
        assert dual.strengths(1, step + 1) == [0.0]
    dual.track(torch.tensor([0.3]), 10)
    assert dual.strengths(1, 11) == pytest.approx([0.05 * 0.2])


def test_the_slack_is_an_exponential_mean_over_what_was_measured() -> None:
    dual = plain(epsilon=0.1, warmup=100, smoothing=0.9)
    for step, value in enumerate([0.5, math.nan, 0.2, math.nan, 0.9]):
        dual.track(torch.tensor([value], dtype=torch.float64), step)
    assert dual.readings(1, 5)["slack"] == pytest.approx([0.9 * (0.9 * 0.4 + 0.1 * 0.1) + 0.1 * 0.8])
    assert math.isnan(Dual().readings(1, 0)["slack"][0])


def test_turns_and_rare_batches_are_as_fast_as_every_batch() -> None:
    always, turns, rare = (plain(epsilon=0.1, warmup=0) for _ in range(3))
    for step in range(300):
        always.track(torch.tensor([0.2, 0.5]), step)
        turns.track(torch.tensor([0.2, math.nan] if step % 2 else [math.nan, 0.5]), step)
        if step % 3 == 0:
            rare.track(torch.tensor([0.2, 0.5]), step)
    expected = always.strengths(2, 300)
    assert expected == pytest.approx([300 * 0.05 * 0.1, 300 * 0.05 * 0.4])
    assert turns.strengths(2, 300) == pytest.approx(expected, rel=0.01)
    assert rare.strengths(2, 300) == pytest.approx(expected, rel=0.02)


def test_the_automatic_rate_reaches_1_in_a_fifth_of_the_training() -> None:
    """For constraints that are violated by what is typical when the warm-up ends."""
    for batches, slack in ((1000, 0.3), (4000, 2.0)):
        dual = Dual(epsilon=0.1, resilient=False, relative=False)
        dual.plan(batches)
        warm = batches // 20
        for step in range(warm + batches // 5):
            dual.track(torch.tensor([0.1 + 0.5 * slack, 0.1 + 1.5 * slack], dtype=torch.float64), step)
        assert dual.strengths(2, 0) == pytest.approx([0.5, 1.5], rel=1e-6)


def test_strengths_of_errors_are_in_units_of_the_tasks_first_loss() -> None:
    relative, absolute = plain(epsilon=0.1, warmup=0, relative=True), plain(epsilon=0.1, warmup=0)
    for step, loss in enumerate((40.0, 3.0, 2.0)):
        for dual in (relative, absolute):
            dual.observe(loss, moved=False)
            dual.track(torch.tensor([0.5]), step)
    assert relative.strengths(1, 3) == pytest.approx([40.0 * absolute.strengths(1, 3)[0]])
    assert relative.readings(1, 3)["dual"] == absolute.readings(1, 3)["dual"]


def test_the_automatic_epsilon_follows_the_unmoved_loss() -> None:
    """(1 + margin) times its running mean plus a share of the first, whatever its sign; moved batches do not count."""
    for sign in (1.0, -1.0):
        dual = Dual(epsilon="auto", margin=0.2, share=0.1)
        for step in range(200):
            dual.observe(sign * (2.0 if step == 0 else 0.5), moved=False)
            dual.observe(77.0, moved=True)
            dual.track(torch.tensor([3.0], dtype=torch.float64), step)
        allowed = sign * 0.5 + 0.2 * 0.5 + 0.1 * 2.0
        assert dual.readings(1, 200)["slack"] == pytest.approx([3.0 - allowed], rel=1e-6)


def test_automatic_multipliers_of_losses_have_no_units() -> None:
    plain_, scaled = (Dual(epsilon="auto") for _ in range(2))
    for dual, unit in ((plain_, 1.0), (scaled, 1e-3)):
        dual.plan(200)
        for step in range(200):
            dual.observe(unit * 2.0 / (1 + step), moved=False)
            dual.track(unit * torch.tensor([0.1, 1.5], dtype=torch.float64), step)
    assert scaled.strengths(2, 200) == pytest.approx(plain_.strengths(2, 200))
    left, right = plain_.readings(2, 200), scaled.readings(2, 200)
    assert right["relaxed"] == pytest.approx([1e-3 * u for u in left["relaxed"]])
    assert left["infeasible"] == right["infeasible"] == [0.0, 1.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Dual(epsilon=-1.0),
        lambda: Dual(epsilon="none"),
        lambda: Dual(rate=0.0),
        lambda: Dual(relax_cost=0.0),
        lambda: Dual(smoothing=1.0),
        lambda: Dual(warmup=-1),
        lambda: Dual(most=0),
        lambda: Dual(epsilon=[0.1, 0.2]).strengths(3, 0),
    ],
)
def test_settings_without_sense_are_refused(make) -> None:
    with pytest.raises(InvalidSetting, match="got .*expected "):
        make()
