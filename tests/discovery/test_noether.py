"""Conserved quantities: those of textbooks, and none where none belongs to the symmetry."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_symmetry.discovery import check_drift, generates, noether_charge
from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.polynomials import list_monomials
from lightning_symmetry.groups import SE, SO, Symplectic

TURN = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
# all positions (x, y), then all momenta, of three bodies
TURN_ALL = torch.block_diag(*[TURN] * 6)
PERIOD = 5.0


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def pull(_: float, z: np.ndarray) -> np.ndarray:
    q = z[:6].reshape(3, 2)
    apart = q[None] - q[:, None]
    distances = np.sqrt((apart**2).sum(-1) + np.eye(3))
    return np.concatenate((z[6:], (apart / distances[..., None] ** 3).sum(1).ravel()))


def energy(z: Tensor) -> Tensor:
    q = z[..., :6].unflatten(-1, (3, 2))
    pairs = [(q[..., i, :] - q[..., j, :]).norm(dim=-1) for i, j in ((0, 1), (0, 2), (1, 2))]
    return z[..., 6:].square().sum(-1) / 2 - sum(1 / distance for distance in pairs)


def momentum(z: Tensor) -> Tensor:
    q, p = z[..., :6].unflatten(-1, (3, 2)), z[..., 6:].unflatten(-1, (3, 2))
    return (q[..., 0] * p[..., 1] - q[..., 1] * p[..., 0]).sum(-1)


@cache
def orbits() -> Tensor:
    """Three bodies that attract one another (G = m = 1), near the equilateral solution: (8, 101, 12)."""
    integrate = pytest.importorskip("scipy.integrate")
    rng = np.random.default_rng(0)
    corners = np.array([[math.cos(a), math.sin(a)] for a in (0, 2 * math.pi / 3, 4 * math.pi / 3)])
    runs = []
    for _ in range(8):
        q = corners + 0.03 * rng.normal(size=(3, 2))
        v = 0.75 * np.stack((-q[:, 1], q[:, 0]), 1) + 0.03 * rng.normal(size=(3, 2))
        start = np.concatenate((q.ravel(), (v - v.mean(0)).ravel()))
        times = np.linspace(0, PERIOD, 101)
        solved = integrate.solve_ivp(pull, (0, PERIOD), start, "DOP853", times, rtol=1e-11, atol=1e-11)
        runs.append(solved.y.T)
    return torch.tensor(np.stack(runs))


def test_turning_everything_conserves_the_angular_momentum() -> None:
    charge = noether_charge(TURN_ALL)
    assert charge
    assert charge.defect == 0
    torch.testing.assert_close(charge(orbits()), momentum(orbits()), rtol=0, atol=1e-14)
    assert charge.formula() == "q0 p1 + q2 p3 + q4 p5 - q1 p0 - q3 p2 - q5 p4"


def test_the_true_charge_drifts_no_more_than_the_energy() -> None:
    found = check_drift(noether_charge(TURN_ALL), orbits(), energy=energy, truth=momentum)
    assert found.conserved
    # published 6e-12, with the same tolerance of the integrator
    assert found.charge < 1e-10
    assert found.charge == pytest.approx(found.truth)
    assert found.charge < 10 * found.energy
    assert found.random > 0.5


@pytest.mark.parametrize(("noise", "expected"), [(0.001, 0.00055), (0.01, 0.0044), (0.05, 0.025)])
def test_charges_of_noisy_generators_drift_as_published(noise: float, expected: float) -> None:
    drifts = []
    for seed in range(16):
        direction = normal(12, 12, seed=seed)
        charge = noether_charge(TURN_ALL + noise * TURN_ALL.norm() * direction / direction.norm())
        drifts.append(check_drift(charge, orbits()).charge)
    assert expected / 2 < float(np.median(drifts)) < 2 * expected


def test_turning_one_body_only_conserves_nothing() -> None:
    still = torch.zeros(2, 2, dtype=torch.float64)
    one = torch.block_diag(TURN, still, still, TURN, still, still)
    found = check_drift(noether_charge(one), orbits())
    assert not found.conserved
    assert 0.18 / 2 < found.charge < 0.18 * 2


def test_a_scaling_is_not_canonical_and_has_no_charge() -> None:
    charge = noether_charge(torch.diag(torch.tensor([1.0] * 6 + [-0.5] * 6)))
    assert not charge
    assert charge.defect == pytest.approx(0.632, abs=1e-3)
    assert "canonical" in charge.reason
    with pytest.raises(InvalidSetting, match="not canonical"):
        charge(torch.zeros(12))


def test_translations_conserve_the_momentum() -> None:
    shift = torch.zeros(12)
    shift[[0, 2, 4]] = 1
    charge = noether_charge(shift)
    torch.testing.assert_close(charge(orbits()), orbits()[..., 6::2].sum(-1))
    homogeneous = torch.zeros(13, 13)
    homogeneous[:12, 12] = shift
    torch.testing.assert_close(noether_charge(homogeneous, affine=True)(orbits()), charge(orbits()))


def test_a_motion_of_positions_is_lifted_to_momenta() -> None:
    z = normal(5, 4)
    q, p = z[:, :2], z[:, 2:]
    for matrix in SE(2).basis():
        charge = noether_charge(matrix, kind="point", affine=True)
        velocity = q @ matrix[:2, :2].double().mT + matrix[:2, 2].double()
        torch.testing.assert_close(charge(z), (p * velocity).sum(1))


def test_the_gradient_of_a_charge_gives_back_its_generator() -> None:
    for matrix in Symplectic(4).basis():
        charge = noether_charge(matrix)
        torch.testing.assert_close(charge.flow()[:, :4], matrix.double())
        assert generates(charge, Symplectic(4)) == pytest.approx(1)
        assert generates(charge, torch.block_diag(TURN, TURN)[None]) < 1


def test_polynomial_fields_have_charges_where_they_are_hamiltonian() -> None:
    # Q = 2 q^3 + q p has q' = q, p' = -6 q^2 - p
    monomials = list_monomials(2, 2)
    field = torch.zeros(2, len(monomials), dtype=torch.float64)
    field[0, monomials.index((0,))] = 1
    field[1, monomials.index((1,))] = -1
    field[1, monomials.index((0, 0))] = -6
    charge = noether_charge(field)
    z = normal(5, 2)
    torch.testing.assert_close(charge(z), 2 * z[:, 0] ** 3 + z[:, 0] * z[:, 1])
    assert charge.formula(["q", "p"]) == "2 q^3 + q p"
    field[0, monomials.index((0, 0))] = 3
    assert not noether_charge(field)


def test_other_orders_of_coordinates_have_another_form() -> None:
    # (q0, p0, q1, p1)
    form = torch.block_diag(-TURN, -TURN)
    order = [0, 2, 1, 3]
    turned = torch.block_diag(TURN, TURN)[order][:, order]
    charge = noether_charge(turned, form=form)
    z = normal(5, 4)
    torch.testing.assert_close(charge(z), z[:, 0] * z[:, 3] - z[:, 2] * z[:, 1])
    # taken for (q0, q1, p0, p1), the same numbers turn positions into momenta
    torch.testing.assert_close(noether_charge(turned)(z), -z.square().sum(1) / 2)


def test_bad_input_is_refused() -> None:
    with pytest.raises(DimensionMismatch, match="even"):
        noether_charge(SO(3).basis()[0])
    with pytest.raises(InvalidSetting, match="kind"):
        noether_charge(TURN, kind="lagrangian")  # type: ignore[arg-type]
    with pytest.raises(InvalidSetting, match="symplectic"):
        noether_charge(TURN, form=torch.eye(2))
    with pytest.raises(DimensionMismatch):
        check_drift(energy, torch.zeros(4, 12))
    assert not noether_charge(torch.zeros(2, 2))
