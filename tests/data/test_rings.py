"""Points lie on their rings, at the angles that were asked for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_symmetry.data import Rings
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng


def everything(loader: DataLoader) -> tuple[Tensor, Tensor]:
    x, y = zip(*loader, strict=True)
    return torch.cat(x), torch.cat(y)


def parts(**kwargs: object) -> list[tuple[Tensor, Tensor]]:
    data = Rings(**kwargs)
    data.setup("fit")
    return [everything(loader) for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())]


def test_the_radius_tells_the_ring() -> None:
    for x, y in parts(samples=4000):
        offset = x.norm(dim=1) - torch.tensor([0.5, 1.5, 2.5])[y]
        assert float(offset.abs().max()) <= 0.3 + 1e-6
        # the mean of a uniform law on +-0.3 lies within five of its standard deviations
        assert float(offset.abs().max()) > 0.29 and abs(float(offset.mean())) < 5 * 0.3 / math.sqrt(3 * len(x))
        assert float(torch.bincount(y, minlength=3).min()) / len(y) > 0.28


@pytest.mark.parametrize(("sector", "widest"), [(None, 180), (45, 45), (180, 180)])
def test_training_keeps_to_its_sector_and_the_test_does_not(sector: float | None, widest: float) -> None:
    degrees = [torch.rad2deg(torch.atan2(x[:, 1], x[:, 0])) for x, _ in parts(sector=sector, samples=2000)]
    for angle, expected in zip(degrees, (widest, widest, 180), strict=True):
        assert 0.97 * expected < float(angle.max()) <= expected + 1e-3
        assert -expected - 1e-3 <= float(angle.min()) < -0.97 * expected


def test_turning_keeps_the_answer_and_shifting_or_scaling_does_not() -> None:
    x, y = parts()[0]
    truth = Rings().truth().bind(x, y)
    moved = truth.move_input(truth.sample(x, 1, Rng(0))[0], x)

    def nearest(points: Tensor) -> Tensor:
        return (points.norm(dim=1, keepdim=True) - torch.tensor([0.5, 1.5, 2.5])).abs().argmin(1)

    assert torch.equal(nearest(moved), y)
    for other in (x * math.e**0.5, x + torch.tensor([1.0, 0.5])):
        assert float((nearest(other) == y).float().mean()) < 0.8


def test_sizes_and_seeds() -> None:
    assert [len(y) for _, y in parts(samples=10)] == [10, 500, 2000]
    (a, _), (b, _), (c, _) = (parts(seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize("kwargs", [{"sector": 181}, {"sector": -1}, {"samples": 0}])
def test_senseless_settings_are_refused(kwargs: dict[str, float]) -> None:
    with pytest.raises(InvalidSetting, match="sector"):
        Rings(**kwargs)
