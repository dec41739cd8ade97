"""The strength that needs no constant."""

from __future__ import annotations

import math

import pytest

from lightning_symmetry.balancing import Constraint
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.testing import BalancerContract


class TestConstraint(BalancerContract):
    subject = Constraint

    def make(self) -> Constraint:
        return Constraint()


def teach(constraint: Constraint, batches: int, unmoved: float, moved: float) -> list[float]:
    """Tell it steady losses; returns the strength on each moved batch."""
    strengths = []
    for step in range(batches):
        still = constraint.is_reference(step)
        strengths += [] if still else constraint.strengths(1, step)
        constraint.observe(unmoved if still else moved, moved=not still)
    return strengths


def test_what_costs_little_keeps_the_strength_and_what_costs_too_much_loses_it() -> None:
    held = teach(Constraint(share=0.2), 400, unmoved=1.0, moved=1.1)
    broken = teach(Constraint(share=0.2), 400, unmoved=1.0, moved=1.5)
    assert held[-1] == held[0] == 1.0
    assert broken == sorted(broken, reverse=True) and broken[-1] == pytest.approx(0.003)


def test_the_stronger_the_less_is_allowed() -> None:
    """A steady cost settles where strength times cost is the slack."""
    for cost in (0.001, 0.004):
        strength = teach(Constraint(share=0.0, slack=1e-4, every=2), 2000, unmoved=1.0, moved=1.0 + cost)[-1]
        assert strength * cost == pytest.approx(1e-4, rel=0.1)


def test_a_strength_that_was_lowered_comes_back() -> None:
    constraint = Constraint()
    assert teach(constraint, 200, unmoved=1.0, moved=3.0)[-1] < 0.01
    assert teach(constraint, 800, unmoved=1.0, moved=1.0)[-1] == 1.0


def test_both_means_are_over_the_same_past() -> None:
    """Of a loss that falls fast, moved and unmoved alike, nothing is held against the moved data."""
    constraint = Constraint(share=0.2)
    for step in range(400):
        constraint.observe(math.exp(-step / 40), moved=not constraint.is_reference(step))
    assert constraint.strengths(1, 401)[0] == 1.0


def test_losses_below_zero_are_allowed_to_rise_too() -> None:
    assert teach(Constraint(share=0.2), 400, unmoved=-2.0, moved=-1.9)[-1] == 2.0
    assert teach(Constraint(share=0.2), 400, unmoved=-2.0, moved=-1.0)[-1] < 2.0


def test_on_batches_for_comparison_everything_is_off() -> None:
    constraint = Constraint(every=5)
    constraint.observe(1.0, moved=False)
    assert [bool(constraint.strengths(1, step)[0]) for step in range(6)] == [False, True, True, True, True, False]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constraint(share=-0.1),
        lambda: Constraint(share=0.0, slack=0.0),
        lambda: Constraint(every=1),
    ],
)
def test_settings_without_sense_are_refused(make) -> None:
    with pytest.raises(InvalidSetting, match="got .*expected "):
        make()
