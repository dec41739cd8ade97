from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.functional.polynomials import evaluate_monomials, list_monomials
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.series import (
    differentiate_series,
    expand,
    factorials,
    invert_series,
    multiply_series,
)

SPACES = [(1, 4), (2, 3), (3, 2)]


def draw(*shape: int, counter: int = 0) -> Tensor:
    return Rng(3, counter).normal(*shape, dtype=torch.float64)


@pytest.mark.parametrize(("dim", "order"), SPACES)
def test_polynomials_are_their_own_series(dim: int, order: int) -> None:
    numbers = draw(4, len(list_monomials(dim, order)))
    series = expand(lambda s: (evaluate_monomials(s, order) * numbers[:, None]).sum(-1), numbers, dim, order)
    torch.testing.assert_close(series, numbers)


@pytest.mark.parametrize(("dim", "order"), SPACES)
def test_an_exponential_has_its_known_series(dim: int, order: int) -> None:
    k = draw(dim)
    series = expand(lambda s: (s * k).sum(-1).exp(), k[None], dim, order)[0]
    expected = torch.stack(
        [torch.stack([k[i] for i in name]).prod() if name else k.new_ones(()) for name in list_monomials(dim, order)]
    ) / torch.tensor(factorials(dim, order))
    torch.testing.assert_close(series, expected)


@pytest.mark.parametrize(("dim", "order"), SPACES)
def test_products_and_derivatives_are_those_of_the_functions(dim: int, order: int) -> None:
    a, b = (draw(2, len(list_monomials(dim, order)), counter=i) for i in range(2))

    def f(s: Tensor) -> Tensor:
        return (evaluate_monomials(s, order) * a[:, None]).sum(-1)

    def g(s: Tensor) -> Tensor:
        return (evaluate_monomials(s, order) * b[:, None]).sum(-1)

    product = expand(lambda s: f(s) * g(s), a, dim, order)
    torch.testing.assert_close(multiply_series(a, b, dim, order), product)
    below = torch.tensor([len(name) < order for name in list_monomials(dim, order)])
    for axis in range(dim):
        direction = torch.eye(dim, dtype=a.dtype)[axis]
        slope = expand(lambda s, v=direction: torch.func.jvp(f, (s,), (v.expand_as(s),))[1], a, dim, order)
        torch.testing.assert_close(differentiate_series(a, axis, dim, order), slope * below)


def test_an_inverse_undoes_its_matrix_up_to_the_order() -> None:
    dim, order = 2, 3
    a = 0.3 * draw(4, 3, 3, len(list_monomials(dim, order)))
    a[..., dim] += torch.eye(3)
    product = multiply_series(a.unsqueeze(-2), invert_series(a, dim, order).unsqueeze(-4), dim, order).sum(-3)
    expected = torch.zeros_like(product)
    expected[..., dim] = torch.eye(3)
    torch.testing.assert_close(product, expected, atol=1e-10, rtol=0)


def test_gradients_reach_what_is_expanded() -> None:
    k = draw(3).requires_grad_()
    expand(lambda s: (s[..., 0] * k[:, None]).exp(), torch.zeros(3, 1).double(), 1, 3)[:, -1].sum().backward()
    torch.testing.assert_close(k.grad, k.detach() ** 2 / 2)
