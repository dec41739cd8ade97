from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.actions import Field, Image, Mask, Representation, Tokens
from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import (
    SO,
    Affine,
    Cyclic,
    Element,
    Given,
    Group,
    Intensity,
    Permutations,
    PolynomialField,
    Product,
    ProductElement,
    Union,
    ValueMap,
    by_name,
    restore,
)
from lightning_symmetry.samplers import Haar, width_bounds
from lightning_symmetry.symmetry import Symmetry
from lightning_symmetry.testing import ElementContract, GroupContract
from tests.groups.test_classical_groups import gram


class TestValueMap(ElementContract):
    subject = ValueMap

    def make(self, rows: int, counter: int) -> Element:
        return Intensity().exp(0.5 * self.rng(counter).normal(rows, 2, dtype=torch.float64))


class TestProductElementOfAll(ElementContract):
    subject = ProductElement

    def make(self, rows: int, counter: int) -> Element:
        group = (Affine(3) * Permutations(7) * Intensity()).bind(3)
        return group.exp(0.3 * self.rng(counter).normal(rows, 14, dtype=torch.float64))


class TestIntensity(GroupContract):
    subject = Intensity
    dim = 1

    def make(self) -> Group:
        return Intensity()


class TestMixedIntensity(TestIntensity):
    def make(self) -> Group:
        return Intensity([[[1.0, -0.5], [0.0, 0.0]]])


class TestProductWithIntensity(GroupContract):
    subject = Product

    def make(self) -> Group:
        return Intensity() * SO(2) * Cyclic(4)

    def violation(self, matrix: Tensor) -> Tensor:
        return gram(matrix)


class TestAffineMapsWithIntensity(TestProductWithIntensity):
    def make(self) -> Group:
        return Affine(2) * Intensity() * Permutations()

    def violation(self, matrix: Tensor) -> Tensor:
        return (~matrix.isfinite()).double()


class TestUnionWithIntensity(GroupContract):
    subject = Union

    def make(self) -> Group:
        return SO(2) | Intensity() | Cyclic(3)


class TestGivenWithValues(GroupContract):
    """A turn that brightens, and a zoom with contrast."""

    subject = Given

    def make(self) -> Group:
        basis = torch.zeros(2, 5, 5)
        basis[0, 1, 0], basis[0, 0, 1], basis[0, 3, 4] = 1, -1, 0.5
        basis[1, 0, 0], basis[1, 1, 1], basis[1, 1, 2], basis[1, 3, 3] = 1, 1, 0.3, 2
        return Given(basis.tolist(), affine=True, values=True)


def pictures(rows: int = 3) -> Tensor:
    return torch.rand(rows, 2, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_contrast_and_brightness_are_exact() -> None:
    x, a, b = pictures(), 0.3, -0.2
    moved = Image().act(Intensity().exp(torch.tensor([[a, 0.0]])), x)
    torch.testing.assert_close(moved, x * torch.tensor(a).exp().double())
    torch.testing.assert_close(Image().act(Intensity().exp(torch.tensor([[0.0, b]]).double()), x), x + b)
    torch.testing.assert_close(Image().lie(Intensity(), x), torch.stack((x, torch.ones_like(x)), 1))


@pytest.mark.parametrize("words", ["affine * intensity", "intensity * affine", "intensity * SO(2) * translation"])
def test_generators_come_in_the_order_of_the_factors(words: str) -> None:
    x, group = pictures(), by_name(words).bind(2)
    whole = Image().lie(group, x)
    assert whole.shape[1] == group.count == len(group.coefficients())
    space, values = group.part("space"), group.part("values")
    assert space is not None and values is not None
    torch.testing.assert_close(whole[:, group.columns("space")], Image().lie(space, x))
    torch.testing.assert_close(whole[:, group.columns("values")], Image().lie(values, x))
    assert sorted(group.columns("space") + group.columns("values")) == list(range(group.count))


def test_other_data_do_not_change_their_values() -> None:
    x, group = pictures(), (Affine(2) * Intensity()).bind(2)
    t = torch.zeros(3, 8, dtype=torch.float64)
    t[:, 6:] = 0.7
    tokens = x[:, 0].flatten(1).unsqueeze(-1)
    for action, data in ((Field(), x), (Mask(), x), (Tokens(), tokens)):
        torch.testing.assert_close(action.act(group.exp(t), data), data)
        slope = action.lie(group, data)
        assert slope.shape[1] == 8 and not bool(slope[:, 6:].any()) and bool(slope[:, :6].any())


def test_fixed_mixtures_move_places_and_values_together() -> None:
    group = (SO(2) * Intensity()).bind(2)
    mixing = torch.tensor([[1.0, 0.5, -0.25]])
    mixed = group.fix(torch.tensordot(mixing, group.basis(), 1))
    x, t = pictures(), torch.full((3, 1), 0.2, dtype=torch.float64)
    image = Image(padding="border")
    expected = (image.lie(group, x) * mixing.double().reshape(1, 3, 1, 1, 1)).sum(1)
    torch.testing.assert_close(image.lie(mixed, x)[:, 0], expected)
    torch.testing.assert_close(image.act(mixed.exp(t), x), image.act(group.exp(t * mixing), x))
    again = restore(mixed.dump())
    torch.testing.assert_close(image.act(again.exp(t), x), image.act(mixed.exp(t), x))
    assert by_name(mixed.sentence).sentence == mixed.sentence


def test_learned_representations_know_all_coordinates() -> None:
    group, y = (SO(2) * Intensity()).bind(2), torch.ones(3, 4, dtype=torch.float64)
    action = Representation()
    action.bind(y, group)
    action.double()
    assert action.lie(group, y).shape == (3, 3, 4)
    t = torch.eye(3, dtype=torch.float64)
    assert not torch.equal(action.act(group.exp(t), y)[1], action.act(group.exp(0 * t), y)[1])


def test_it_is_said_in_sentences(tmp_path: object) -> None:
    symmetry = Symmetry.parse("affine * intensity on image -> label")
    x = pictures()
    symmetry.bind(x)
    assert symmetry.group.count == 8 and symmetry.sentence == "affine * intensity on image -> label"
    # quarter turns permute pixels, so that the axioms hold exactly
    Symmetry.parse("C4 * intensity on image(padding='border') -> image").check(x, Rng(0))
    alone = Symmetry.parse("intensity on image -> label")
    g, _ = alone.sample(x, 2, Rng(0))
    assert len(g) == 6 and alone.move_input(g[:3], x).shape == x.shape


def test_widths_are_bounded_part_by_part() -> None:
    bounds = width_bounds((SO(2) * Intensity()).bind(2))
    torch.testing.assert_close(bounds, torch.tensor([torch.pi, 5.0, 5.0]))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="changes values"):
        SO(2) * Intensity() * Intensity()
    with pytest.raises(InvalidSetting, match="vector fields"):
        PolynomialField(2) * Intensity()
    with pytest.raises(InvalidSetting, match="last row zero"):
        Intensity([[[0.0, 0.0], [1.0, 0.0]]])
    with pytest.raises(InvalidSetting, match="one of the values"):
        Given(torch.ones(1, 4, 4), affine=False, values=True)
    with pytest.raises(InvalidSetting, match="compact"):
        Haar((SO(2) * Intensity()).bind(2))
    with pytest.raises(DimensionMismatch, match="single numbers"):
        Intensity().bind(2)
    with pytest.raises(DimensionMismatch, match="ValueMap"):
        Intensity().exp(torch.zeros(1, 2)) @ SO(2).exp(torch.zeros(1, 1))
