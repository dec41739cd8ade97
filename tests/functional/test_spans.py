"""Spans of generators: laws and known truths."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lightning_symmetry.functional.spans import (
    canonical_basis,
    cosine_to_span,
    lie_closure_residual,
    orthonormal_span,
    principal_cosines,
    unit_speed,
)
from lightning_symmetry.groups import SE, SO, Affine, Group, Lorentz, Symplectic, Translation

TURN = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def mix(basis: Tensor, seed: int) -> Tensor:
    """Another orthogonal mixture of the same span."""
    basis = orthonormal_span(basis)
    rotation = torch.linalg.qr(normal(len(basis), len(basis), seed=seed))[0]
    return torch.einsum("kl,lij->kij", rotation, basis)


def test_an_orthonormal_span_is_orthonormal_and_drops_what_depends() -> None:
    a = normal(3, 4, 4)
    rows = orthonormal_span(torch.cat((a, a[:2] + a[1:]))).flatten(1)
    assert rows.shape == (3, 16)
    torch.testing.assert_close(rows @ rows.mT, torch.eye(3, dtype=torch.float64))
    assert orthonormal_span(torch.zeros(2, 3, 3)).shape == (0, 3, 3)
    assert orthonormal_span(torch.zeros(0, 3, 3)).shape == (0, 3, 3)


def test_principal_cosines_know_the_angle_between_lines_and_planes() -> None:
    a = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    b = torch.tensor([[3.0, 0.0, 0.0], [0.0, math.cos(0.3), math.sin(0.3)]])
    torch.testing.assert_close(principal_cosines(a, b).float(), torch.tensor([1.0, math.cos(0.3)]))
    torch.testing.assert_close(principal_cosines(b, a), principal_cosines(a, b))


@pytest.mark.parametrize("seed", range(3))
def test_principal_cosines_see_spans_only(seed: int) -> None:
    a, b = normal(3, 4, 4, seed=seed), normal(5, 4, 4, seed=seed + 100)
    remixed = torch.einsum("kl,lij->kij", normal(3, 3, seed=seed + 200), a)
    torch.testing.assert_close(principal_cosines(remixed, b), principal_cosines(a, b))
    assert principal_cosines(a[:2], torch.cat((b, a))).min() > 1 - 1e-9


def test_a_missing_direction_counts_as_zero() -> None:
    found = principal_cosines(torch.stack([TURN, 2 * TURN]), torch.stack([TURN, torch.eye(2)]))
    assert found.tolist() == pytest.approx([1.0, 0.0])


def test_cosine_to_span_is_the_length_of_the_projection() -> None:
    a, span = normal(4, 3, 3), normal(2, 3, 3, seed=1)
    flat, rows = a.flatten(1), span.flatten(1)
    projected = flat @ torch.linalg.pinv(rows) @ rows
    torch.testing.assert_close(cosine_to_span(a, span), projected.norm(dim=1) / flat.norm(dim=1))
    assert cosine_to_span(torch.zeros(1, 3, 3), span).item() == 0


@pytest.mark.parametrize(
    "group", [SO(3), SO(4), SE(2), SE(3), Lorentz(4), Symplectic(4)], ids=lambda g: type(g).__name__
)
def test_algebras_are_closed_and_parts_of_them_are_not(group: Group) -> None:
    assert lie_closure_residual(mix(group.basis(), 1)) < 1e-10
    assert lie_closure_residual(SO(3).basis()[1:]) == pytest.approx(1.0)


def test_closure_equals_a_plain_loop() -> None:
    a = normal(3, 3, 3)
    rows = orthonormal_span(a)
    inside = whole = 0.0
    for x in rows:
        for y in rows:
            bracket = x @ y - y @ x
            rest = bracket - sum((bracket * e).sum() * e for e in rows)
            inside, whole = inside + float(rest.square().sum()), whole + float(bracket.square().sum())
    assert lie_closure_residual(a) == pytest.approx(math.sqrt(inside / whole))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("group", [SO(2), SO(3), SO(4), SO(5), SE(2), SE(3), Translation(3)], ids=lambda g: g.sentence)
def test_the_canonical_basis_of_rotations_and_translations_is_the_textbook_one(group: Group, seed: int) -> None:
    found = canonical_basis(7 * mix(group.basis(), seed), group.affine)
    torch.testing.assert_close(found, group.basis().double(), atol=1e-7, rtol=0)


@pytest.mark.parametrize("group", [Lorentz(4), Affine(2), Symplectic(4)], ids=lambda g: g.sentence)
def test_the_canonical_basis_depends_on_the_span_alone(group: Group) -> None:
    found = [canonical_basis(mix(group.basis(), seed), group.affine) for seed in range(3)]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-7, rtol=0)
    assert principal_cosines(found[0], group.basis()).min() > 1 - 1e-9


def test_noise_moves_the_canonical_basis_little() -> None:
    found = canonical_basis(mix(SO(3).basis(), 0) + 0.01 * normal(3, 3, 3))
    assert (found - SO(3).basis()).flatten(1).norm(dim=1).max() < 0.1


def test_unit_speed_makes_the_coefficient_of_a_rotation_its_angle() -> None:
    planes = torch.block_diag(*[TURN] * 4)
    assert unit_speed(3 * planes[None])[0].norm().item() == pytest.approx(math.sqrt(8))
    centred = torch.zeros(3, 3, dtype=torch.float64)
    centred[:2, :2], centred[:2, 2] = TURN, torch.tensor([0.5, 0.2])
    torch.testing.assert_close(unit_speed(5 * centred[None], affine=True)[0], centred)
    for plain in (torch.eye(3), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 0.0]])):
        torch.testing.assert_close(unit_speed(4 * plain[None])[0], plain)
    assert not unit_speed(torch.zeros(1, 2, 2)).any()


def test_nothing_spans_nothing() -> None:
    assert canonical_basis(torch.zeros(2, 3, 3)).shape == (0, 3, 3)
    assert lie_closure_residual(torch.zeros(2, 3, 3)) == 0.0
