from __future__ import annotations

import pytest
import torch

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.groups import SE, SO, Affine, AffineMap, Element, Learned, as_element
from lightning_symmetry.testing import ElementContract


class TestAffineMap(ElementContract):
    subject = AffineMap

    def make(self, rows: int, counter: int) -> Element:
        group = Affine(3).double()
        return group.exp(0.5 * self.rng(counter).normal(rows, group.count, dtype=torch.float64))


class TestLinearMap(ElementContract):
    subject = AffineMap

    def make(self, rows: int, counter: int) -> Element:
        return Learned(2, affine=False).exp(self.rng(counter).normal(rows, 1, dtype=torch.float64))


class TestLargeMap(ElementContract):
    subject = AffineMap

    def make(self, rows: int, counter: int) -> Element:
        linear = torch.eye(6, dtype=torch.float64) + 0.1 * self.rng(counter).normal(rows, 6, 6, dtype=torch.float64)
        return AffineMap(linear, self.rng(counter).normal(rows, 6, dtype=torch.float64))


def test_matrix_of_a_product_is_the_product_of_the_matrices() -> None:
    g, h = (SE(3).exp(torch.randn(4, 6, generator=torch.Generator().manual_seed(i))) for i in range(2))
    torch.testing.assert_close((g @ h).matrix, g.matrix @ h.matrix)


def test_linear_and_affine_maps_compose() -> None:
    turn, move = SO(2).exp(torch.tensor([[0.4]])), SE(2).exp(torch.tensor([[0.0, 1.0, 2.0]]))
    p = torch.tensor([[[0.5, -1.0]]])
    torch.testing.assert_close((turn @ move)(p), turn(move(p)))
    torch.testing.assert_close((move @ turn)(p), move(turn(p)))


def test_one_map_composes_with_many() -> None:
    one, many = SE(2).exp(torch.tensor([[0.4, 1.0, 2.0]])), SO(2).exp(torch.tensor([[0.1], [0.2], [0.3]]))
    p = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))
    for product, expected in ((one @ many, one(many(p))), (many @ one, many(one(p)))):
        assert len(product) == 3
        torch.testing.assert_close(product(p), expected)
        torch.testing.assert_close(product[1](p[1:2]), expected[1:2])


def test_raw_matrices_are_elements() -> None:
    g = SE(2).exp(torch.tensor([[0.4, 1.0, 2.0]]))
    p = torch.randn(1, 5, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(as_element(g.matrix, 2)(p), g(p))
    torch.testing.assert_close(as_element(g.linear, 2)(p), g.push(p))
    assert as_element(g, 2) is g
    assert as_element(g.matrix).dim == 3


@pytest.mark.parametrize(
    "raw", [torch.eye(4)[None], torch.eye(2), torch.eye(2).long()[None], torch.ones(1, 3, 3), torch.ones(1, 2, 3)]
)
def test_other_tensors_are_refused(raw: torch.Tensor) -> None:
    with pytest.raises(DimensionMismatch):
        as_element(raw, 2)


def test_elements_of_another_space_are_refused() -> None:
    with pytest.raises(DimensionMismatch, match="dimension 3"):
        as_element(AffineMap.identity(1, 3), 2)
    with pytest.raises(DimensionMismatch):
        AffineMap.identity(1, 3) @ AffineMap.identity(1, 2)
    with pytest.raises(DimensionMismatch):
        AffineMap.identity(1, 3)(torch.zeros(1, 1, 2))


def test_maths_stays_in_full_precision_under_autocast() -> None:
    group = Affine(2)
    t = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    p = torch.randn(3, 9, 2, generator=torch.Generator().manual_seed(1))
    expected = (~(group.exp(t) @ group.exp(-2 * t)))(p)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = (~(group.exp(t) @ group.exp(-2 * t)))(p)
        assert group.field(p).dtype == torch.float32
    assert torch.equal(got, expected)
