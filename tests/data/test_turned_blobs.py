"""Blobs keep their class when they are turned by less than a known angle, and only then."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_symmetry.actions import Image
from lightning_symmetry.data import TurnedBlobs
from lightning_symmetry.data.turned_blobs import INTRICATE, PLAIN, Shape, draw_shapes
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.groups import SO


def make(degrees: float, intricate: bool = False) -> tuple[TurnedBlobs, torch.Tensor, torch.Tensor]:
    data = TurnedBlobs(degrees=degrees, samples=400, intricate=intricate)
    data.setup("fit")
    return data, data.parts["train"].x, data.parts["train"].y


def nearest_angle(
    shapes: tuple[Shape, ...], image: torch.Tensor, shape: int, angles: torch.Tensor
) -> tuple[float, float]:
    """The angle at which a shape looks most like an image, and how much they differ there."""
    templates = draw_shapes(shapes, torch.full((len(angles),), shape), angles)
    distances = (templates - image).square().mean((1, 2, 3))
    return float(angles[distances.argmin()]), float(distances.min())


@pytest.mark.parametrize("intricate", [False, True])
@pytest.mark.parametrize("degrees", [45.0, 22.5])
def test_labels_say_which_shape_and_which_way_up(degrees: float, intricate: bool) -> None:
    _, x, y = make(degrees, intricate)
    shapes = INTRICATE if intricate else PLAIN
    grid = torch.arange(-180, 180, 1.0).deg2rad()
    for image, label in zip(x[:40], y[:40].tolist(), strict=True):
        (angle, near), (_, far) = (nearest_angle(shapes, image, s, grid) for s in (label // 2, 1 - label // 2))
        # all that is left is the noise, of variance 0.02^2, and half a degree
        assert near < 6e-4 < far
        away = math.degrees(abs(math.remainder(angle - math.pi * (label % 2), 2 * math.pi)))
        assert away <= degrees + 1


def test_the_widest_law_just_keeps_the_classes_apart() -> None:
    for degrees in (45.0, 22.5):
        data = TurnedBlobs(degrees=degrees)
        assert math.radians(degrees) + data.widest == pytest.approx(math.pi / 2)
    assert 2 * TurnedBlobs(degrees=22.5).widest == pytest.approx(2.356, abs=1e-3)


def test_shapes_turn_as_images_do() -> None:
    chosen, angles = torch.tensor([0, 1, 0, 1]), torch.tensor([0.0, 0.5, math.pi / 2, -2.0])
    drawn = draw_shapes(INTRICATE, chosen, angles)
    turned = Image().act(SO(2).exp(angles[:, None]), draw_shapes(INTRICATE, chosen, torch.zeros(4)))
    # bilinear resampling errs by at most h^2 / 8 times both second differences: 0.125^2 / 8 * 2 * 0.7 / 0.14^2 = 0.14
    assert (drawn - turned)[:, :, 3:-3, 3:-3].abs().max() < 0.14


def test_classes_are_balanced_and_parts_differ() -> None:
    data, x, y = make(45.0)
    assert bool((y.bincount(minlength=4) > 70).all()) and x.shape == (400, 1, 16, 16)
    assert not torch.equal(data.parts["val"].x[:10], x[:10])


@pytest.mark.parametrize("settings", [{"degrees": 90.0}, {"degrees": -1.0}, {"samples": 3}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InvalidSetting, match="got .*expected "):
        TurnedBlobs(**settings)
