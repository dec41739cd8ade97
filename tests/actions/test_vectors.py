from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.actions import Action, Lattice, Pseudoscalar, Pseudovector, Vector, by_name
from lightning_symmetry.exceptions import ActionMismatch, DimensionMismatch
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import GL, SE, Dihedral, E, Group, O, Translation
from lightning_symmetry.testing import ActionContract


class TestPseudovector(ActionContract):
    subject = Pseudovector

    def make(self) -> Action:
        return Pseudovector()

    def group(self) -> Group:
        return E(3)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 5, 6, dtype=torch.float64)


class TestPseudoscalar(ActionContract):
    subject = Pseudoscalar
    any_map = False

    def make(self) -> Action:
        return Pseudoscalar()

    def group(self) -> Group:
        return E(2)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 5, dtype=torch.float64)


class TestPseudoscalarInMirrors(TestPseudoscalar):
    def group(self) -> Group:
        return Dihedral(3)


class TestLattice(ActionContract):
    subject = Lattice

    def make(self) -> Action:
        return Lattice()

    def group(self) -> Group:
        return SE(3)

    def data(self, rows: int) -> Tensor:
        return torch.eye(3).double() + 0.2 * self.rng().normal(rows, 3, 3, dtype=torch.float64)


def draw(rows: int, *shape: int) -> Tensor:
    return Rng(3).normal(rows, *shape, dtype=torch.float64)


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_cross_product_of_vectors_is_a_pseudovector(mirrored: bool) -> None:
    a, b = draw(4, 2, 3).unbind(1)
    group = O(3).double()
    g = group.exp(draw(4, 3)) @ group.discrete[[int(mirrored)] * 4]
    moved = torch.linalg.cross(Vector().act(g, a), Vector().act(g, b))
    torch.testing.assert_close(Pseudovector().act(g, torch.linalg.cross(a, b)), moved)


def test_the_determinant_of_two_vectors_of_the_plane_is_a_pseudoscalar() -> None:
    pair = draw(8, 2, 2)
    g = Dihedral(4).double().discrete
    moved = torch.linalg.det(Vector().act(g, pair))
    torch.testing.assert_close(Pseudoscalar().act(g, torch.linalg.det(pair)), moved)


def test_pseudovectors_are_those_of_space() -> None:
    with pytest.raises(DimensionMismatch):
        Pseudovector().act(torch.eye(2)[None], torch.ones(1, 3))
    with pytest.raises(ActionMismatch, match="multiple of 3"):
        Pseudovector().check(torch.ones(1, 4))


def test_a_crystal_turns_as_one_piece() -> None:
    """Cartesian positions are fractional ones times the cell, before and after."""
    cell, fractional = draw(4, 3, 3), draw(4, 7, 3)
    g = GL(3).double().exp(0.3 * draw(4, 9))
    torch.testing.assert_close(fractional @ Lattice().act(g, cell), by_name("points").act(g, fractional @ cell))
    shift = Translation(3).double().exp(draw(4, 3))
    assert torch.equal(Lattice().act(shift, cell), cell)


def test_cells_of_another_shape_are_refused() -> None:
    with pytest.raises(ActionMismatch, match="view"):
        Lattice().check(torch.ones(6, 3))
    with pytest.raises(ActionMismatch):
        Lattice().check(torch.ones(2, 2, 3))
