from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.actions import Image, Points, Vector
from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.polynomials import list_monomials
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SO, Affine, Element, Flow, Group, PolynomialField, by_name, restore
from lightning_symmetry.testing import ElementContract, GroupContract


class TestFlow(ElementContract):
    subject = Flow
    # integration of quadratic fields; rounding is far below
    tolerance = 1e-5

    def make(self, rows: int, counter: int) -> Element:
        group = PolynomialField(2, 2, count=2, affine=True, scale=0.1)
        return group.exp(self.rng(counter).normal(rows, 2, dtype=torch.float64))


class TestPolynomialField(GroupContract):
    subject = PolynomialField
    affine = True
    # integration: order eight, in steps that are as long as the field allows
    precisions = ((torch.float32, 2e-4), (torch.float64, 1e-5))

    def make(self) -> Group:
        return PolynomialField(2, count=2, scale=0.1)


class TestCubicFieldOfSpace(TestPolynomialField):
    dim = 3
    affine = False

    def make(self) -> Group:
        return PolynomialField(3, scale=0.02)


class TestGivenField(TestPolynomialField):
    affine = None

    def make(self) -> Group:
        return PolynomialField(2, coefficients=[[[0, -1, 0, 0.1, 0, 0], [1, 0, 0, 0, 0, -0.1]]])


class TestAllFields(TestPolynomialField):
    affine = None

    def make(self) -> Group:
        return by_name("polynomials(2, radius=4.0)")

    def _coordinates(self, group: Group, counter: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        # twelve quadratic fields at once are fast
        return 0.2 * super()._coordinates(group, counter, dtype)


class TestAllFieldsOfSpaceWithoutConstants(TestAllFields):
    dim = 3

    def make(self) -> Group:
        return PolynomialField(1, count="all", affine=False, radius=None)


def quadratic(*terms: tuple[int, tuple[int, ...], float]) -> PolynomialField:
    """One quadratic field of the plane by its terms (component, monomial, coefficient)."""
    numbers = torch.zeros(1, 2, 6)
    for component, monomial, value in terms:
        numbers[0, component, list_monomials(2, 2).index(monomial)] = value
    return PolynomialField(2, coefficients=numbers)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("degree", [1, 3])
def test_affine_fields_are_the_affine_group(degree: int) -> None:
    affine = Affine(2)
    numbers = torch.zeros(6, 2, len(list_monomials(2, degree)))
    numbers[..., :3] = affine.basis()[:, :2]
    group = PolynomialField(degree, coefficients=numbers)
    t, p = 0.4 * normal(5, 6), normal(5, 7, 2, seed=1)
    # the error of integration
    torch.testing.assert_close(group.exp(t)(p), affine.exp(t)(p), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(group.field(p), affine.field(p))


def test_a_full_turn_leads_back() -> None:
    turn = quadratic((0, (1,), -1.0), (1, (0,), 1.0))
    p = normal(1, 9, 2)
    torch.testing.assert_close(turn.exp(torch.full((1, 1), 2 * torch.pi).double())(p), p, atol=1e-5, rtol=0)


def test_a_projective_field_has_its_closed_form() -> None:
    # dx/dt = x^2, dy/dt = x y carries p to p / (1 - t x)
    field = quadratic((0, (0, 0), 1.0), (1, (0, 1), 1.0))
    p, t = normal(1, 50, 2).clamp(-1, 1), torch.tensor([[0.5]]).double()
    torch.testing.assert_close(field.exp(t)(p), p / (1 - 0.5 * p[..., :1]), atol=1e-4, rtol=1e-4)


def test_what_would_blow_up_stays_finite_and_comes_back() -> None:
    # without damping, x = 3 would be at infinity after a third of the time
    field = quadratic((0, (0, 0), 1.0))
    p = torch.tensor([[[3.0, 0.0], [-3.0, 1.0], [30.0, -40.0]]]).double()
    g = field.exp(torch.ones(1, 1).double())
    far = g(p)
    assert bool(far.isfinite().all()) and float(far[0, 0, 0]) > 4
    # such speeds are integrated coarsely
    torch.testing.assert_close((~g)(far), p, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("value", [1e3, float("nan")])
def test_hopeless_coefficients_cost_no_more_and_raise_nothing(value: float) -> None:
    g = quadratic((0, (0, 0), 1.0)).exp(torch.full((1, 1), value))
    assert max(g.steps) <= 32 and g(torch.ones(1, 3, 2)).shape == (1, 3, 2)


def test_vectors_need_their_points() -> None:
    g = quadratic((0, (0, 0), 1.0)).exp(torch.ones(1, 1))
    with pytest.raises(DimensionMismatch, match="at="):
        g.push(torch.ones(1, 3, 2))
    with pytest.raises(DimensionMismatch, match="length 3"):
        g(torch.ones(1, 3, 3))
    with pytest.raises(DimensionMismatch, match="AffineMap"):
        g @ SO(2).exp(torch.ones(1, 1))


def test_free_vectors_are_refused() -> None:
    field = quadratic((0, (0, 0), 1.0))
    for attempt in (
        lambda: Vector(2).lie(field, torch.ones(1, 2)),
        lambda: Vector(2).act(field.exp(torch.ones(1, 1)), torch.ones(1, 2)),
    ):
        with pytest.raises(DimensionMismatch, match="points"):
            attempt()


def test_one_flow_composes_with_many() -> None:
    group = PolynomialField(2, 2, count=1, affine=True, scale=0.1)
    one, many = group.exp(torch.tensor([[0.5]]).double()), group.exp(normal(4, 1))
    p = normal(4, 3, 2, seed=2)
    product = one @ many
    assert len(product) == 4
    torch.testing.assert_close(product(p), one(many(p)))
    torch.testing.assert_close(product[2](p[2:3]), one(many(p))[2:3])
    assert len(one[torch.tensor([0, 0])]) == 2


def test_gradients_of_the_push_reach_the_coefficients() -> None:
    group = PolynomialField(2, 2, count=1, affine=True, scale=0.1)
    p = normal(3, 4, 2).float()
    group.exp(torch.ones(3, 1)).push(p, p).square().sum().backward()
    assert group.weight is not None and group.weight.grad is not None
    assert bool((group.weight.grad[..., 3:] != 0).any())


def test_images_flow() -> None:
    turn, image = quadratic((0, (1,), -1.0), (1, (0,), 1.0)), torch.rand(2, 1, 9, 9)
    t = torch.tensor([[0.3], [-0.7]])
    torch.testing.assert_close(Image().act(turn.exp(t), image), Image().act(SO(2).exp(t), image), atol=1e-4, rtol=0)
    torch.testing.assert_close(Image().lie(turn, image), Image().lie(SO(2), image))


def test_points_follow_the_field() -> None:
    group, p = quadratic((0, (0, 1), 1.0), (1, (), 2.0)), normal(3, 4, 2)
    velocity = Points().lie(group, p)[:, 0]
    torch.testing.assert_close(velocity, torch.stack((p[..., 0] * p[..., 1], torch.full_like(p[..., 0], 2)), -1))


def test_a_loaded_weight_decides_what_was_open() -> None:
    saved = PolynomialField(2, 2, count=3, affine=False, seed=3).state_dict()
    group = PolynomialField(2)
    group.load_state_dict(saved)
    assert group.bind(2, affine=True).count == 3 and not group.affine
    with pytest.raises(DimensionMismatch):
        PolynomialField(2, 2, count=3, affine=False).bind(3)


def test_fields_are_no_matrices() -> None:
    with pytest.raises(InvalidSetting, match="no matrices"):
        PolynomialField(2, 2, affine=True).basis()


@pytest.mark.parametrize(
    "settings",
    [{"degree": 0}, {"degree": 2, "count": 0}, {"degree": 2, "radius": 0.0}]
    + [{"degree": 1, "count": "all", "coefficients": [[[0.0, 1.0]]]}, {"degree": 1, "count": "some"}]
    + [{"degree": 2, "coefficients": [[[1.0]]]}, {"degree": 1, "coefficients": [[[float("inf"), 0.0]]]}],
)
def test_settings_that_make_no_sense_are_refused(settings: dict) -> None:
    with pytest.raises(InvalidSetting):
        PolynomialField(**settings)


def test_all_fields_are_all_products_of_a_monomial_and_an_axis() -> None:
    group = by_name("polynomials(2)").bind(2)
    p = 20 * normal(3, 4, 2)
    x, y = p.unbind(-1)
    monomials, zero = torch.stack((x, y, torch.ones_like(x), x * x, x * y, y * y), -1), torch.zeros(3, 4, 6)
    # far from the origin too: nothing is damped
    expected = torch.stack((torch.cat((monomials, zero), -1), torch.cat((zero, monomials), -1)), -1)
    torch.testing.assert_close(group.field(p), expected.double(), rtol=0, atol=0)
    assert group.degrees().tolist() == 2 * [1, 1, 0, 2, 2, 2]
    assert not group.learnable and group.affine and not list(group.parameters())


def test_all_fields_without_constants_stay_at_the_origin() -> None:
    group = by_name("polynomials(3, affine=False)").bind(2)
    assert group.count == 18 and not bool(group.field(torch.zeros(1, 1, 2)).any()) and not group.affine
    assert int(group.degrees().min()) == 1


@pytest.mark.parametrize(
    "words", ["polynomials(2)", "polynomials(1, dim=3)", "polynomials(2, affine=False, radius=3.0)"]
)
def test_all_fields_are_said_in_words(words: str) -> None:
    group = by_name(words)
    assert group.sentence == words and restore(group.dump()).sentence == words
    fixed = group.bind(3).fix()
    written = restore(fixed.dump())
    p = normal(2, 3, 3)
    torch.testing.assert_close(written.field(p), group.field(p), rtol=0, atol=0)
    assert (written.affine, written.radius) == (group.affine, group.radius)


def test_exact_fields_have_exact_flows() -> None:
    # dx/dt = x^2 leads from 5 to 5 / (1 - 5 t), outside of the radius of the others
    field = PolynomialField(2, coefficients=quadratic((0, (0, 0), 1.0)).coefficients(), radius=None)
    p = field.exp(torch.tensor([[0.04]]).double())(torch.tensor([[[5.0, 1.0]]]).double())
    torch.testing.assert_close(p, torch.tensor([[[6.25, 1.0]]]).double(), atol=1e-4, rtol=0)


def test_draws_do_not_depend_on_the_global_generator() -> None:
    group = PolynomialField(2, 2, affine=True)
    p = normal(3, 4, 2)
    first = group.sample(3, Rng(0))(p)
    torch.manual_seed(5)
    assert torch.equal(group.sample(3, Rng(0))(p), first)
