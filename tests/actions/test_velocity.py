from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.actions import Action, Points, Velocity
from lightning_symmetry.exceptions import ActionMismatch, AmbiguousPath
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SE, SO, Affine, Given, Group, Permutations, PolynomialField
from lightning_symmetry.symmetry import Symmetry
from lightning_symmetry.testing import ActionContract


class TestVelocity(ActionContract):
    subject = Velocity

    def make(self) -> Action:
        return Velocity()

    def group(self) -> Group:
        return Affine(3)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 2, 3, dtype=torch.float64)


class TestVelocitiesOfManyPoints(TestVelocity):
    def group(self) -> Group:
        return SE(2) * Permutations(5)

    def make(self) -> Action:
        return Velocity(2)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 2, 5, 2, dtype=torch.float64)


class TestVelocityAlongFlows(TestVelocity):
    # integration
    tolerance = 1e-4
    any_map = False

    def group(self) -> Group:
        return PolynomialField(2, 2, coefficients=0.1 * self.rng(7).normal(2, 2, 6, dtype=torch.float64))

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 2, 2, dtype=torch.float64)


def hopf(x: Tensor) -> Tensor:
    turned = torch.stack((-x[..., 1], x[..., 0]), -1)
    return x * (1 - x.square().sum(-1, keepdim=True)) + turned


def draw(*shape: int) -> Tensor:
    return Rng(1).normal(*shape, dtype=torch.float64)


def test_vectors_are_carried_by_the_jacobian_at_their_points() -> None:
    group = PolynomialField(2, coefficients=0.2 * draw(1, 2, 6))
    x, t = draw(6, 2, 2), torch.full((6, 1), 0.5, dtype=torch.float64)
    g, moved, step = group.exp(t), Velocity().act(group.exp(t), x), 1e-5
    p, v = x[:, :1], x[:, 1:]
    torch.testing.assert_close(moved[:, :1], g(p))
    torch.testing.assert_close(moved[:, 1:], (g(p + step * v) - g(p - step * v)) / (2 * step), rtol=1e-6, atol=1e-8)


def test_the_derivative_is_the_bracket_with_the_field_of_the_equation() -> None:
    group, x = Affine(2), draw(5, 2)
    symmetry = Symmetry(group, "points", "velocity")
    f = symmetry.lift(hopf)
    y = f(x)
    slopes = Velocity().lie(group, y)
    for k in range(group.count):
        zeta = group.field(x[:, None])[:, 0, k]
        pushed = torch.func.jvp(f, (x,), (zeta,))[1]
        matrix = group.basis()[k, :2, :2].double()
        bracket = torch.func.jvp(hopf, (x,), (zeta,))[1] - hopf(x) @ matrix.mT
        torch.testing.assert_close(pushed[:, 0], slopes[:, k, 0])
        torch.testing.assert_close(Velocity().compared(pushed - slopes[:, k]), bracket)


def test_an_equation_that_turns_with_its_state_is_equivariant() -> None:
    x = draw(5, 2)
    for group, same in ((SO(2), True), (Given([[[1.0, 0.0], [0.0, 1.0]]]).bind(2), False)):
        symmetry = Symmetry(group, "points", "velocity")
        f = symmetry.lift(hopf)
        symmetry.bind(x, f(x))
        g = group.exp(torch.full((5, 1), 0.4, dtype=torch.float64))
        moved, answer = f(symmetry.move_input(g, x)), symmetry.move_output(g, f(x))
        assert torch.allclose(moved, answer) == same
        assert torch.allclose(moved[:, 0], answer[:, 0])


def test_other_outputs_are_not_lifted() -> None:
    assert Symmetry.parse("SO(2) on points -> vector").lift(hopf) is hopf


def test_vectors_are_found_by_their_shape_or_their_name() -> None:
    x = {"pos": draw(4, 3, 2), "mass": draw(4, 3)}
    symmetry = Symmetry.parse("SO(2) on pos=points -> velocity")
    f = symmetry.lift(lambda data: {"force": hopf(data["pos"]), "energy": data["mass"].sum(-1)})
    y = f(x)
    assert y["force"].shape == (4, 2, 3, 2) and torch.equal(y["force"][:, 0], x["pos"]) and y["energy"].shape == (4,)
    symmetry.bind(x, y)
    assert symmetry.output.sentence == "force=velocity"
    assert symmetry.lift(lambda data: {"force": hopf(data["pos"]), "other": data["pos"]})(x)["other"].shape == (4, 3, 2)


def test_what_is_not_clear_is_refused() -> None:
    x = draw(4, 2)
    with pytest.raises(AmbiguousPath, match="0 tensors of the shape"):
        Symmetry.parse("SO(2) on points -> velocity").lift(lambda x: x.sum(-1))(x)
    with pytest.raises(AmbiguousPath, match="2 tensors of the shape"):
        Symmetry.parse("SO(2) on points -> velocity").lift(lambda x: (x, x))(x)
    with pytest.raises(AmbiguousPath, match="0 tensors of points"):
        Symmetry.parse("SO(2) on vector(2) -> velocity").lift(hopf)(x)
    with pytest.raises(ActionMismatch, match="lift"):
        Velocity().act(torch.eye(2)[None], x.float())


def test_points_alone_are_compared_as_they_are() -> None:
    y = draw(4, 2)
    assert Points().compared(y) is y and not Points.attached and Velocity.attached
