"""Principal axes, whitening, nearest rotations: derivatives against differences, and where eigenvalues coincide."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.functional.frames import inverse_sqrt, nearest_rotation, principal_axes
from lightning_symmetry.functional.random import Rng


@pytest.fixture
def a() -> Tensor:
    return Rng(0).normal(5, 3, 3, dtype=torch.float64).requires_grad_()


def axes(matrix: Tensor) -> tuple[Tensor, Tensor]:
    values, vectors = principal_axes(matrix + matrix.mT)
    return values, vectors * vectors[..., :1, :].sign()


def positive(matrix: Tensor) -> Tensor:
    return matrix @ matrix.mT + torch.eye(3, dtype=matrix.dtype)


def test_axes_diagonalise(a: Tensor) -> None:
    values, vectors = axes(a)
    torch.testing.assert_close(vectors @ torch.diag_embed(values) @ vectors.mT, a + a.mT)


def test_derivatives_of_axes_are_right_to_second_order(a: Tensor) -> None:
    assert torch.autograd.gradcheck(axes, a, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(axes, a)


def test_derivatives_of_axes_stay_finite_where_they_are_equal() -> None:
    matrix = torch.eye(3, dtype=torch.float64).requires_grad_()
    _, vectors = principal_axes(matrix)
    vectors.sum().backward()
    assert matrix.grad is not None and float(matrix.grad.abs().max()) < 1e-6


def test_whitening(a: Tensor) -> None:
    root = inverse_sqrt(positive(a))
    torch.testing.assert_close(root @ positive(a) @ root, torch.eye(3, dtype=a.dtype).expand(5, -1, -1))
    assert torch.autograd.gradcheck(lambda m: inverse_sqrt(positive(m)), a, check_forward_ad=True)
    # the derivative of C^(-1/2) at the identity is -1/2, although all its eigenvalues are equal
    equal = torch.eye(3, dtype=a.dtype).requires_grad_()
    (slope,) = torch.autograd.grad(inverse_sqrt(equal)[0, 1], equal)
    torch.testing.assert_close(
        slope + slope.T, -0.5 * (torch.eye(3).to(slope)[[1, 0, 2]] * (slope != 0)), atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("mirrors", [False, True])
def test_the_nearest_rotation_is_nearer_than_any_other(a: Tensor, mirrors: bool) -> None:
    rotation, _ = nearest_rotation(a, mirrors)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=a.dtype).expand(5, -1, -1))
    determinant = torch.linalg.det(rotation)
    assert bool((determinant > 0).all()) or (mirrors and bool((determinant * torch.linalg.det(a) > 0).all()))
    skew = 0.1 * Rng(1).normal(200, 1, 3, 3, dtype=a.dtype)
    others = torch.linalg.matrix_exp(skew - skew.mT) @ rotation
    assert bool(((others - a).square().sum((-1, -2)) > (rotation - a).square().sum((-1, -2))).all())
    assert torch.autograd.gradcheck(lambda m: nearest_rotation(m, mirrors)[0], a, check_forward_ad=True)


def test_an_undefined_rotation_is_told() -> None:
    line = torch.diag(torch.tensor([1.0, 0.0, 0.0]))
    plane = torch.diag(torch.tensor([1.0, 0.5, 0.0]))
    assert float(nearest_rotation(line)[1]) == 0 and float(nearest_rotation(plane)[1]) > 0.4
    assert float(nearest_rotation(plane, mirrors=True)[1]) == 0


def test_second_derivatives_are_refused_rather_than_wrong(a: Tensor) -> None:
    (slope,) = torch.autograd.grad(nearest_rotation(a)[0].pow(3).sum(), a, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
