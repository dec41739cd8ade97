"""Groups of rotations are recognised in any basis, about any centre, and in any mixture; others are refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import (
    GL,
    SE,
    SL,
    SO,
    AffineMap,
    Cyclic,
    Dihedral,
    E,
    Given,
    Group,
    Lorentz,
    O,
    Permutations,
    PolynomialField,
    Scale,
    Symplectic,
    Translation,
    by_name,
)
from lightning_symmetry.groups.compact import read_compact
from lightning_symmetry.groups.discrete import FinitePlaneGroup

TURN = SO(2).basis()[0].double()
STRETCH = torch.tensor([[1.5, 0.3, 0.0], [0.2, 0.8, 0.1], [0.0, 0.4, 1.0]]).double()


def conjugate(basis: Tensor, change: Tensor) -> Tensor:
    return change @ basis.double() @ torch.linalg.inv(change)


def about(linear: Tensor, centre: Tensor) -> Tensor:
    """Move a generator to another centre, homogeneous."""
    top = torch.cat((linear, -(linear @ centre)[:, None]), 1)
    return torch.cat((top, torch.zeros(1, len(linear) + 1).double()))


@pytest.mark.parametrize("name", ["C1", "C2", "C3", "C4", "D1", "D2", "D3", "D4", "SO(2)", "O(2)", "SO(3)", "O(3)"])
def test_textbook_groups_are_themselves(name: str) -> None:
    found = read_compact(by_name(name))
    assert found.name == name and found.is_plain and found.translations == 0


@pytest.mark.parametrize(
    ("group", "name", "translations"),
    [
        (SE(2), "SO(2)", 2),
        (E(3), "O(3)", 3),
        (Translation(2), "C1", 2),
        (Cyclic(4) * Translation(2), "C4", 2),
        (SO(2) * Dihedral(4), "O(2)", 0),
        (Given(torch.zeros(1, 2, 2), affine=False), "C1", 0),
    ],
)
def test_translations_are_told_apart(group: Group, name: str, translations: int) -> None:
    found = read_compact(group)
    assert (found.name, found.translations, found.is_plain) == (name, translations, True)


@pytest.mark.parametrize("seed", range(3))
def test_mixtures_of_generators_do_not_matter(seed: int) -> None:
    mixing = Rng(seed).normal(4, 3, dtype=torch.float64)
    found = read_compact(Given(torch.einsum("kl,lij->kij", mixing, SO(3).basis().double()), affine=False))
    assert found.name == "SO(3)" and found.is_plain


def test_what_is_near_enough_is_taken_as_meant() -> None:
    """A squeeze beside the rotation makes its orbits ellipses; a scaling beside it makes them spirals."""
    squeeze, scaling = torch.diag(torch.tensor([1.0, -1.0]).double()), torch.eye(2).double()
    for size, plain in ((0.1, True), (0.3, False)):  # cosines 0.995 and 0.958
        assert read_compact(Given((TURN + size * squeeze)[None], affine=False)).is_plain == plain
    assert read_compact(Given((TURN + 0.1 * scaling)[None], affine=False)).is_plain
    with pytest.raises(InvalidSetting, match="stretches"):
        read_compact(Given((TURN + 0.3 * scaling)[None], affine=False))
    assert read_compact(Given((TURN + 0.3 * scaling)[None], affine=False), cosine=0.95).is_plain


@pytest.mark.parametrize(
    ("basis", "change"),
    [
        (SO(2).basis(), STRETCH[:2, :2]),
        (SO(3).basis(), STRETCH),
        (SO(3).basis()[:1], STRETCH),
        (torch.block_diag(TURN, -2 * TURN, torch.zeros(1, 1))[None], torch.eye(5).double()),
    ],
)
def test_the_basis_carries_the_named_group_to_the_group_itself(basis: Tensor, change: Tensor) -> None:
    generators = conjugate(basis, change)
    found = read_compact(Given(generators, affine=False))
    named = by_name(found.name).double()
    step, rng = 1e-5, Rng(1)
    t = step * rng.normal(4, named.count, dtype=torch.float64)
    slopes = (found.represent(named.exp(t).linear) - found.represent(named.exp(-t).linear)) / (2 * step)
    span = generators.flatten(1)
    inside = torch.linalg.lstsq(span.mT, slopes.flatten(1).mT).solution
    torch.testing.assert_close(span.mT @ inside, slopes.flatten(1).mT, atol=1e-6, rtol=0)
    g, h = (named.exp(rng.normal(3, named.count, dtype=torch.float64)).linear for _ in range(2))
    torch.testing.assert_close(found.represent(g @ h), found.represent(g) @ found.represent(h))


def test_planes_turn_at_whole_multiples_of_one_speed() -> None:
    both = read_compact(Given(torch.block_diag(2 * TURN, 3 * TURN)[None], affine=False))
    assert sorted(both.speeds) == [2, 3]
    with pytest.raises(InvalidSetting, match="whole multiples"):
        read_compact(Given(torch.block_diag(TURN, math.sqrt(2) * TURN)[None], affine=False))


def test_the_centre_is_found() -> None:
    place = torch.tensor([0.5, -0.4]).double()
    found = read_compact(Given(about(TURN, place)[None], affine=True))
    torch.testing.assert_close(found.centre, place)
    place = torch.tensor([0.5, -0.4, 2.0]).double()
    generators = torch.stack([about(basis, place) for basis in SO(3).basis().double()])
    found = read_compact(Given(generators, affine=True))
    assert found.name == "SO(3)"
    torch.testing.assert_close(found.centre, place)


class Tilted(FinitePlaneGroup):
    """A square that stands askew."""

    @property
    def discrete(self) -> AffineMap:
        turn = SO(2).double().exp(torch.tensor([[0.2]]).double()).linear[0]
        return AffineMap(conjugate(Dihedral(4).double().discrete.linear, turn))


def test_mirrors_along_other_axes_turn_the_basis() -> None:
    group = Tilted(4)
    found = read_compact(group)
    assert found.name == "D4" and not found.is_plain
    carried = conjugate(group.discrete.linear, found.change)
    known = Dihedral(4).double().discrete.linear
    assert float((carried[:, None] - known).abs().amax((2, 3)).amin(1).max()) < 1e-9


def test_a_polynomial_field_of_degree_one_is_a_matrix() -> None:
    coefficients = torch.tensor([[[0.0, -1.0, 0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]]])
    assert read_compact(PolynomialField(dim=2, degree=2, coefficients=coefficients)).name == "SO(2)"
    coefficients[0, 0, 3] = 1.0
    with pytest.raises(InvalidSetting, match="no affine maps"):
        read_compact(PolynomialField(dim=2, degree=2, coefficients=coefficients))


@pytest.mark.parametrize(
    ("group", "said"),
    [
        (Scale(2), "stretches"),
        (GL(2), "more than turn"),
        (SL(2), "more than turn"),
        (Lorentz(2), "stretches"),
        (Lorentz(3), "no lengths"),
        (Lorentz(4), "more than turn"),
        (Symplectic(2), "more than turn"),
        (SO(2) * Scale(2), "more than turn"),
        (Given([[[0.0, 1.0], [0.0, 0.0]]], affine=False), "shears"),
        (SO(2) | Dihedral(4), "union"),
        (SO(3) * Permutations(), "reorders nodes"),
    ],
)
def test_other_groups_are_refused(group: Group, said: str) -> None:
    with pytest.raises(InvalidSetting, match=f"{said}.*expected C_n.*[Aa]verage"):
        read_compact(group)


def test_a_screw_leaves_no_point() -> None:
    screw = torch.zeros(1, 4, 4).double()
    screw[0, :2, :2], screw[0, 2, 3] = TURN, 1.0
    with pytest.raises(InvalidSetting, match="no point"):
        read_compact(Given(screw, affine=True))


def test_a_dimension_is_needed() -> None:
    with pytest.raises(DimensionMismatch, match="dimension"):
        read_compact(O())
