"""Strengths that are said beforehand: their contracts, and how a ramp rises."""

from __future__ import annotations

import pytest

from lightning_symmetry.balancing import Fixed, Ramp
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.testing import BalancerContract


class TestFixed(BalancerContract):
    subject = Fixed

    def make(self) -> Fixed:
        return Fixed([1.0, 0.0, 0.5])


class TestRamp(BalancerContract):
    subject = Ramp

    def make(self) -> Ramp:
        return Ramp([1.0, 0.0, 0.5], start=5, length=10)


def test_a_ramp_is_off_then_rises_then_stays() -> None:
    ramp = Ramp(2.0, start=10, length=4)
    assert [ramp.strengths(1, step)[0] for step in (0, 9, 10, 11, 12, 14, 99)] == [0, 0, 0, 0.5, 1, 2, 2]
    assert [Ramp(2.0, start=10).strengths(1, step)[0] for step in (9, 10)] == [0, 2]


def test_strengths_repeat_for_every_symmetry() -> None:
    assert Fixed([1.0, 2.0]).strengths(4, 0) == [1.0, 2.0, 1.0, 2.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Fixed(-1.0),
        lambda: Fixed([1.0, float("nan")]),
        lambda: Fixed([]),
        lambda: Ramp(1.0, start=-1),
        lambda: Fixed([1.0, 2.0]).strengths(3, 0),
    ],
)
def test_strengths_without_sense_are_refused(make) -> None:
    with pytest.raises(InvalidSetting, match="got .*expected "):
        make()
