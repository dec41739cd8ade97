"""A target that repeats in seven sectors has seven turns, and no other."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_symmetry.data import RepeatedSectors
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng


def turn(x: torch.Tensor, angle: float) -> torch.Tensor:
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.stack((cos * x[:, 0] - sin * x[:, 1], sin * x[:, 0] + cos * x[:, 1], x[:, 2]), 1)


def test_the_target_is_what_a_plain_loop_says() -> None:
    data = RepeatedSectors()
    x = data.draw(Rng(0), 200)
    for (a, b, c), value in zip(x.tolist(), data.target(x).squeeze(1).tolist(), strict=True):
        assert value == pytest.approx(c / (1 + math.atan2(b, a) % (2 * math.pi / 7)))


@pytest.mark.parametrize("order", [3, 7])
def test_whole_sectors_leave_the_target_alone_and_nothing_else_does(order: int) -> None:
    data = RepeatedSectors(order=order)
    x = data.draw(Rng(0), 500)
    for k in range(1, order):
        # a point on the border of two sectors may fall to either side by rounding
        same = (data.target(turn(x, k * data.angle)) - data.target(x)).abs().squeeze(1) < 1e-9
        assert float(same.double().mean()) > 0.99
    for share in (0.5, 1 / 3, 0.1):
        change = data.target(turn(x, share * data.angle)) - data.target(x)
        assert float(change.square().mean() / data.target(x).var()) > 0.01


def test_the_truth_moves_pairs_onto_pairs() -> None:
    data = RepeatedSectors(double=True)
    data.setup("fit")
    x, y = (part[:300] for part in next(iter(data.val_dataloader())))
    truth = data.truth().bind(x, y)
    g, _ = truth.sample(x, 1, Rng(0))
    same = (data.target(truth.move_input(g, x)) - truth.move_output(g, y)).abs().squeeze(1) < 1e-6
    # the truth's generator is single precision, so that borders between sectors are missed by as much
    assert float(same.double().mean()) > 0.99


@pytest.mark.parametrize("kwargs", [{"order": 1}, {"samples": 0}])
def test_senseless_settings_are_refused(kwargs: dict[str, int]) -> None:
    with pytest.raises(InvalidSetting, match=next(iter(kwargs))):
        RepeatedSectors(**kwargs)
