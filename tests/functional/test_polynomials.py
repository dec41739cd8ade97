from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.functional.polynomials import degree_of, evaluate_monomials, list_monomials, write_monomial


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("dim", "degree"), [(1, 4), (2, 1), (2, 3), (3, 2), (4, 3)])
def test_monomials_are_the_products_of_their_factors(dim: int, degree: int) -> None:
    p, names = normal(5, 3, dim), list_monomials(dim, degree)
    assert len(set(names)) == len(names) and degree_of(dim, len(names)) == degree
    expected = torch.stack([p[..., list(name)].prod(-1) for name in names], -1)
    torch.testing.assert_close(evaluate_monomials(p, degree), expected)


def test_affine_monomials_come_first() -> None:
    assert list_monomials(3, 2)[:4] == ((0,), (1,), (2,), ())


def test_damping_leaves_the_ball_and_the_affine_part_alone_and_bounds_growth() -> None:
    p = normal(200, 2)
    near = p / p.norm(dim=1, keepdim=True).clamp_min(1)
    torch.testing.assert_close(evaluate_monomials(near, 3, radius=1.0), evaluate_monomials(near, 3))
    far = 1e3 * p
    damped = evaluate_monomials(far, 3, radius=1.0)
    assert torch.equal(damped[:, :3], evaluate_monomials(far, 1))
    assert bool((damped.abs() <= 1.5 * far.norm(dim=1, keepdim=True) + 1).all())


def test_damping_is_smooth_at_the_radius() -> None:
    assert torch.autograd.gradgradcheck(
        lambda p: evaluate_monomials(p, 3, radius=1.0),
        torch.tensor([[1.0, 1e-4], [0.6, 0.9]]).double().requires_grad_(),
    )


def test_monomials_in_words() -> None:
    assert [write_monomial(m, "xy") for m in list_monomials(2, 2)] == ["x", "y", "", "x^2", "x y", "y^2"]
