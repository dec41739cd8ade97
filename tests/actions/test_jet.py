from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lightning_symmetry.actions import Action, Jet
from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.functional.polynomials import list_monomials
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Affine, AffineMap, Given, Group, PolynomialField, by_name
from lightning_symmetry.symmetry import Symmetry
from lightning_symmetry.testing import ActionContract

KDV = Jet("t x", "u", "u_x u_xx u_xxx u_t")


class TestJet(ActionContract):
    subject = Jet
    width = 0.1

    def make(self) -> Action:
        return Jet("t x", "u", 2)

    def group(self) -> Group:
        return Affine(3)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 8, dtype=torch.float64)


class TestJetOfAnOrdinaryEquation(TestJet):
    def make(self) -> Action:
        return Jet("x", "u", "u_x u_xx u_xxx")

    def group(self) -> Group:
        return Affine(2)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 5, dtype=torch.float64)


class TestJetOfTwoFields(TestJet):
    width = 0.05

    def make(self) -> Action:
        return Jet("t x", "u v", 1)

    def group(self) -> Group:
        return Affine(4)


class TestJetAlongFlows(TestJet):
    # integration of quadratic fields, differentiated twice
    tolerance = 1e-3
    any_map = False

    def group(self) -> Group:
        return PolynomialField(2, 3, coefficients=0.05 * self.rng(7).normal(2, 3, 10, dtype=torch.float64), radius=None)


class TestJetWithoutMixedDerivatives(TestJet):
    """Of KdV: its own group needs no derivative by both time and space."""

    any_map = False

    def make(self) -> Action:
        return Jet("t x", "u", "u_x u_xx u_xxx u_t")

    def group(self) -> Group:
        return kdv()

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 7, dtype=torch.float64)


def fields(*fields: list[tuple[int, tuple[int, ...], float]], degree: int = 1) -> PolynomialField:
    """Fields of (t, x, u) by their terms (component, factors, coefficient)."""
    names = list_monomials(3, degree)
    numbers = torch.zeros(len(fields), 3, len(names), dtype=torch.float64)
    for k, terms in enumerate(fields):
        for component, factors, value in terms:
            numbers[k, component, names.index(factors)] = value
    return PolynomialField(degree, coefficients=numbers, radius=None)


def kdv() -> Given:
    """d/dx, d/dt, t d/dx + d/du and x d/dx + 3 t d/dt - 2 u d/du, as matrices."""
    basis = torch.zeros(4, 4, 4)
    basis[0, 1, 3] = basis[1, 0, 3] = basis[2, 1, 0] = basis[2, 2, 3] = basis[3, 1, 1] = 1
    basis[3, 0, 0], basis[3, 2, 2] = 3, -2
    return Given(basis, affine=True)


def draw(*shape: int, counter: int = 0) -> Tensor:
    return Rng(5, counter).normal(*shape, dtype=torch.float64)


def test_the_prolongations_of_kdv_are_those_of_the_textbook() -> None:
    x = draw(5, 7)
    t, _, u, u_x, u_xx, u_xxx, u_t = x.unbind(-1)
    zero, one = torch.zeros_like(t), torch.ones_like(t)
    expected = torch.stack(
        [
            torch.stack((zero, one, zero, zero, zero, zero, zero), -1),
            torch.stack((one, zero, zero, zero, zero, zero, zero), -1),
            torch.stack((zero, t, one, zero, zero, zero, -u_x), -1),
            torch.stack((3 * t, x[:, 1], -2 * u, -3 * u_x, -4 * u_xx, -5 * u_xxx, -5 * u_t), -1),
        ],
        1,
    )
    torch.testing.assert_close(KDV.lie(kdv(), x), expected)


def test_the_projective_field_of_the_heat_equation_is_that_of_the_textbook() -> None:
    # 4 x t d/dx + 4 t^2 d/dt - (x^2 + 2 t) u d/du, of degree three
    field = fields([(1, (0, 1), 4.0), (0, (0, 0), 4.0), (2, (1, 1, 2), -1.0), (2, (0, 2), -2.0)], degree=3)
    jet = Jet("t x", "u", "u_t u_x u_xx")
    x = draw(5, 6)
    t, s, u, u_t, u_x, u_xx = x.unbind(-1)
    f = -(s**2 + 2 * t)
    expected = torch.stack(
        (
            4 * t**2,
            4 * s * t,
            f * u,
            f * u_t - 2 * u - 4 * s * u_x - 8 * t * u_t,
            f * u_x - 2 * s * u - 4 * t * u_x,
            f * u_xx - 4 * s * u_x - 2 * u - 8 * t * u_xx,
        ),
        -1,
    )
    torch.testing.assert_close(jet.lie(field, x)[:, 0], expected)
    # a symmetry of u_t = u_xx: its residual changes by a multiple of itself
    change = expected[:, 3] - expected[:, 5]
    torch.testing.assert_close(change, (f - 8 * t) * (u_t - u_xx))


def test_a_field_that_mixes_everything_follows_the_general_formula() -> None:
    # u d/dt: phi = 0, xi^t = u, so that u_x moves by -u_x u_t and u_xx by -2 u_x u_tx - u_xx u_t
    jet = Jet("t x", "u", 2)
    x = draw(5, 8)
    u, u_t, u_x, u_tt, u_tx, u_xx = x[:, 2:].unbind(-1)
    expected = torch.stack(
        (
            u,
            0 * u,
            0 * u,
            -u_t * u_t,
            -u_x * u_t,
            -3 * u_t * u_tt,
            -u_x * u_tt - 2 * u_t * u_tx,
            -2 * u_x * u_tx - u_xx * u_t,
        ),
        -1,
    )
    torch.testing.assert_close(jet.lie(fields([(0, (2,), 1.0)]), x)[:, 0], expected)


@pytest.mark.parametrize("derivatives", [1, 2, 3])
def test_derivatives_of_a_moved_function_are_those_of_its_graph(derivatives: int) -> None:
    """An oracle that knows no prolongation: a function of one variable, moved, solved for, and differentiated."""
    jet, g = Jet("x", "u", derivatives), AffineMap(torch.tensor([[[1.1, 0.2], [0.3, 0.9]]]).double())
    at = torch.tensor([0.4]).double()

    def graph(s: Tensor) -> Tensor:
        return torch.stack((s, s.sin()), -1).unsqueeze(1)

    def moved(s: Tensor) -> Tensor:
        return g(graph(s)).squeeze(1)

    def slope(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        # du/dx = u'(s) / x'(s)
        def quotient(s: Tensor) -> Tensor:
            rise = torch.func.jvp(f, (s,), (torch.ones_like(s),))[1]
            return rise / torch.func.jvp(lambda s: moved(s)[:, 0], (s,), (torch.ones_like(s),))[1]

        return quotient

    chain: list[Callable[[Tensor], Tensor]] = [lambda s: moved(s)[:, 1]]
    for _ in range(derivatives):
        chain.append(slope(chain[-1]))
    jets = [at, *(torch.sin(at + k * math.pi / 2) for k in range(derivatives + 1))]
    expected = torch.stack([moved(at)[:, 0], *(f(at) for f in chain)], -1)
    torch.testing.assert_close(jet.act(g, torch.stack(jets, -1)), expected)


def test_solutions_of_kdv_are_carried_to_solutions() -> None:
    # u_t + u u_x + u_xxx = 0
    x = draw(6, 7)
    x[:, 6] = -x[:, 2] * x[:, 3] - x[:, 5]
    moved = KDV.act(kdv().exp(0.3 * draw(6, 4, counter=1)), x)
    torch.testing.assert_close(moved[:, 6], -moved[:, 2] * moved[:, 3] - moved[:, 5])


def test_derivatives_that_are_no_columns_are_asked_for() -> None:
    x = draw(5, 7)
    with pytest.raises(ActionMismatch, match=r"u_tx.*jet\('t x', 'u', 3\)"):
        KDV.lie(by_name("polynomials(1)").bind(3), x)
    with pytest.raises(ActionMismatch, match="u_txx"):
        KDV.act(torch.tensor([[[1.0, 0.1, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]).double(), x)
    # with time by itself they do not matter
    KDV.lie(fields([(0, (0, 0), 1.0), (1, (0, 1), 1.0), (2, (2,), 3.0)], degree=2), x)


def test_a_product_of_two_fields_of_a_system_prolongs_each() -> None:
    # the rotation of (u, v) turns every derivative
    jet, turn = Jet("t x", "u v", 1), torch.zeros(1, 4, 4)
    turn[0, 3, 2], turn[0, 2, 3] = 1, -1
    assert jet.columns == ("t", "x", "u", "v", "u_t", "v_t", "u_x", "v_x")
    x = draw(3, 8)
    pairs = x[:, 2:].unflatten(-1, (3, 2))
    expected = torch.cat((torch.zeros(3, 2), torch.stack((-pairs[..., 1], pairs[..., 0]), -1).flatten(1)), -1)
    torch.testing.assert_close(jet.lie(Given(turn, affine=False), x)[:, 0], expected.double())


def test_names_of_derivatives_know_no_order() -> None:
    assert Jet("t x", "u", "u_xt u_tt u_xx u_t u_x").lie(by_name("affine(3)"), draw(2, 8)).shape == (2, 12, 8)
    x = draw(2, 7)
    assert torch.equal(KDV.pick(x, "u_t u"), x[:, [6, 2]]) and KDV.mixes_units
    with pytest.raises(InvalidSetting, match="u_y"):
        KDV.pick(x, "u_y")


def test_it_is_said_in_sentences() -> None:
    words = "polynomials(2) on jet('t x', 'u', 2) -> scalar"
    symmetry = Symmetry.parse(words)
    assert symmetry.sentence == words
    symmetry.bind(draw(4, 8))
    assert symmetry.group.count == 30
    symmetry = Symmetry(kdv(), "jet('t x', 'u', 'u_x u_xx u_xxx u_t')", "scalar")
    symmetry.check(draw(4, 7), Rng(0))


@pytest.mark.parametrize(
    "words",
    [("", "u", "u_x"), ("t x", "", "u_x"), ("tt x", "u", "u_x"), ("x", "u_a", "u_a_x"), ("x", "x", "x_x")]
    + [("x", "u", "u_y"), ("x", "u", "v_x"), ("x", "u", ""), ("x", "u", 0), ("t x", "u", "u_tx u_xt"), ("x", "u", "u")],
)
def test_names_that_make_no_sense_are_refused(words: tuple[str, str, str | int]) -> None:
    with pytest.raises(InvalidSetting):
        Jet(*words)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ActionMismatch, match="u_xxx u_t"):
        KDV.check(draw(4, 6))
