"""The card of an algebra: its brackets are those of the vector fields that it lists."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import jacrev, vmap

from lightning_symmetry.discovery.algebra import name_algebra
from lightning_symmetry.functional.polynomials import degree_of, evaluate_monomials
from lightning_symmetry.groups import GL, SE, SO, Given, Group, Lorentz, PolynomialField
from lightning_symmetry.report.algebras import draw_algebra_sheet, find_brackets, write_basis, write_brackets
from lightning_symmetry.report.formulas import label_axes, name_coordinates, to_mathtext, write_formulas
from lightning_symmetry.symmetry import Symmetry
from tests.report.discoveries import EXTRACTIONS, make_discovery, make_spectrum, normal


def galilei() -> Group:
    """Give d/dx, d/dt, t d/dx + d/du and a scaling of (t, x, u)."""
    coefficients = torch.zeros(4, 3, 10)
    coefficients[0, 1, 3] = coefficients[1, 0, 3] = coefficients[2, 1, 0] = coefficients[2, 2, 3] = 1
    coefficients[3, 0, 0], coefficients[3, 1, 1], coefficients[3, 2, 2] = 3, 1, -2
    return PolynomialField(2, coefficients=coefficients)


GROUPS = {
    "so(3)": lambda: SO(3).bind(3),
    "se(2)": lambda: SE(2).bind(2),
    "so(1,3)": lambda: Lorentz(4).bind(4),
    "gl(2)": lambda: GL(2).bind(2),
    "galilei": galilei,
}


def velocity(generator: Tensor, affine: bool, p: Tensor) -> Tensor:
    """Give the field of a generator at one point, (d,)."""
    dim = len(p)
    if generator.shape[0] == generator.shape[1]:
        return generator[:dim, :dim] @ p + (generator[:dim, dim] if affine else 0)
    return generator @ evaluate_monomials(p, degree_of(dim, generator.shape[1]))


@pytest.mark.parametrize("name", GROUPS)
def test_brackets_are_those_of_the_fields(name: str) -> None:
    """[X, Y] = (DY) X - (DX) Y, by automatic differentiation at random points."""
    group = GROUPS[name]()
    algebra = name_algebra(group)
    constants = find_brackets(algebra)
    points = normal(5, group.dim or 0).double()
    fields = [lambda p, g=g: velocity(g, algebra.affine, p) for g in algebra.basis]
    values = [vmap(f)(points) for f in fields]
    slopes = [vmap(jacrev(f))(points) for f in fields]
    for i in range(algebra.dim):
        for j in range(algebra.dim):
            bracket = (slopes[j] @ values[i][..., None] - slopes[i] @ values[j][..., None])[..., 0]
            written = sum(c * v for c, v in zip(constants[i, j], values, strict=True))
            torch.testing.assert_close(written, bracket, atol=1e-6, rtol=1e-6)


def test_rotations_have_the_brackets_of_the_textbook() -> None:
    brackets = write_brackets(name_algebra(SO(3)))
    for i, row in enumerate(brackets):
        assert row[i] == "0"
        for j, cell in enumerate(row):
            other = brackets[j][i]
            assert cell == other == "0" or cell.lstrip("-") == other.lstrip("-") and cell != other
    assert sorted(cell.lstrip("-") for row in brackets for cell in row if cell != "0") == sorted(2 * ["X1", "X2", "X3"])


def test_noise_is_not_written() -> None:
    basis = SO(3).bind(3).basis().double()
    noisy = basis + 0.004 * normal(*basis.shape).double()
    words = {cell for row in write_brackets(name_algebra(noisy)) for cell in row}
    assert words <= {"0", *(f"{sign}X{i}" for sign in ("", "-") for i in (1, 2, 3))}


@pytest.mark.parametrize("name", ["so(3)", "galilei"])
def test_the_card_shows_name_basis_and_brackets(name: str) -> None:
    group = GROUPS[name]()
    algebra = name_algebra(group)
    symmetry = Symmetry.parse("points -> scalar", over=group).bind(normal(4, 3))
    figure = draw_algebra_sheet(algebra, symmetry)
    texts = [text.get_text() for part in figure.subfigs for text in part.texts]
    texts += [text.get_text() for part in figure.subfigs[1].subfigs for text in part.texts]
    assert algebra.conclusion in texts
    for index, formula in enumerate(write_basis(algebra, symmetry)):
        assert to_mathtext(f"X{index + 1} = {formula}") in texts
    cells = [text.get_text() for axes in figure.subfigs[1].subfigs[1].axes for text in axes.texts]
    for row in write_brackets(algebra):
        assert all(cell == "0" or to_mathtext(cell) in cells for cell in row)


def test_a_span_that_is_no_algebra_has_a_card_without_a_killing_form() -> None:
    open_span = name_algebra(SO(3).bind(3).basis()[:2])
    symmetry = Symmetry.parse("points -> scalar", over=Given(open_span.basis)).bind(normal(4, 3))
    assert open_span.killing is None
    assert len(draw_algebra_sheet(open_span, symmetry).subfigs[1].subfigs[1].axes) == 1


def test_variables_of_an_equation_keep_their_names() -> None:
    x = normal(8, 7)
    jets = "jet('t x', 'u', 'u_t u_x u_xx u_xxx') -> scalar"
    found = make_discovery(jets, galilei(), make_spectrum([0.001, 0.002, 0.003, 0.004, 0.5], 4), x)
    assert name_coordinates(found.symmetry) == ["t", "x", "u"]
    assert write_formulas(found)[:3] == ["d/dx", "d/dt", "t d/dx + d/du"]


def test_what_changes_values_is_written_in_values() -> None:
    basis = torch.zeros(2, 5, 5)
    basis[0, 0, 1], basis[0, 1, 0], basis[1, 3, 4] = -1, 1, 1
    x = normal(4, 1, 8, 8)
    group = Given(basis, affine=True, values=True)
    found = make_discovery("image -> label", group, make_spectrum([0.01, 0.02, 0.5], 2), x)
    assert write_formulas(found) == ["x d/dy - y d/dx", "d/dv"]


@pytest.mark.parametrize("name", ["lorentz", "cloud", "fields"])
def test_formulas_can_be_typeset(name: str) -> None:
    from matplotlib.mathtext import MathTextParser

    for formula in write_formulas(EXTRACTIONS[name]()[0]):
        assert MathTextParser("agg").parse(to_mathtext(formula)).width > 0


def test_axes_are_labelled_as_formulas_name_them() -> None:
    assert label_axes(3) == ["x", "y", "z"] and label_axes(5)[4] == to_mathtext("x4")
