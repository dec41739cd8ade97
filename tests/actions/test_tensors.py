"""Tensors of several ranks: the laws, and what is known of vectors, matrices and permutations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.actions import Action, Pseudovector, Tensors, Vector
from lightning_symmetry.exceptions import ActionMismatch, DimensionMismatch, SentenceError
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SE, SO, Group, Lorentz, O, Permutations, by_name
from lightning_symmetry.symmetry import Symmetry
from lightning_symmetry.testing import ActionContract


class TestTensors(ActionContract):
    subject = Tensors

    def make(self) -> Action:
        return Tensors("2x0 + 2x1 + 1x2")

    def group(self) -> Group:
        return SO(3)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 17, dtype=torch.float64)


class TestPseudoTensors(TestTensors):
    def make(self) -> Action:
        return Tensors("2x0 + 1x0p + 1x1p + 1x1 + 1x2p + 1x0")

    def group(self) -> Group:
        return O(3)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 5, 19, dtype=torch.float64)


class TestTensorsOfSpacetime(TestTensors):
    def make(self) -> Action:
        return Tensors("1x2 + 1x1 + 1x0")

    def group(self) -> Group:
        return Lorentz(4)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 21, dtype=torch.float64)


class TestTensorsOfRigidMotions(TestTensors):
    def group(self) -> Group:
        return SE(3)


class TestTensorsOfPermutedAxes(TestTensors):
    def make(self) -> Action:
        return Tensors("1x0 + 2x1 + 1x2 + 1x1p")

    def group(self) -> Group:
        return Permutations(4)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 1 + 8 + 16 + 4, dtype=torch.float64)


def test_a_tensor_is_moved_index_by_index() -> None:
    matrix, x = Rng(0).normal(3, 3, 3, dtype=torch.float64), Rng(1).normal(3, 1 + 6 + 9 + 27, dtype=torch.float64)
    moved = Tensors("1x0 + 2x1 + 1x2 + 1x3").act(matrix, x)
    for b in range(3):
        m, (scalar, vectors, square, cube) = matrix[b], x[b].split([1, 6, 9, 27])
        expected = torch.cat(
            [
                scalar,
                (vectors.view(2, 3) @ m.mT).flatten(),
                (m @ square.view(3, 3) @ m.mT).flatten(),
                torch.einsum("ai,bj,ck,ijk->abc", m, m, m, cube.view(3, 3, 3)).flatten(),
            ]
        )
        torch.testing.assert_close(moved[b], expected)


def test_vectors_and_axial_vectors_are_tensors_of_rank_one() -> None:
    x, g = Rng(0).normal(5, 6), O(3).sample(5, Rng(1), 3.0)
    torch.testing.assert_close(Tensors("2x1").act(g, x), Vector(3).act(g, x))
    torch.testing.assert_close(Tensors("2x1p").act(g, x), Pseudovector().act(g, x))


def test_permutations_exchange_every_index() -> None:
    symmetry = Symmetry.parse("permutations on tensors('1x1 + 1x2') -> tensors('1x1')")
    x = Rng(0).normal(2, 6)
    g, _ = symmetry.bind(x, x[:, :2]).sample(x, 1, Rng(4))
    moved = symmetry.move_input(g, x)
    for b, order in enumerate(g.order):
        torch.testing.assert_close(moved[b, :2], x[b, :2][order])
        torch.testing.assert_close(moved[b, 2:].view(2, 2), x[b, 2:].view(2, 2)[order][:, order])


def test_scaling_acts_by_the_rank() -> None:
    group = by_name("SO(3) * scale")
    slope = Tensors("1x0 + 1x1 + 1x2").lie(group, torch.ones(1, 13))[0, 3]
    assert slope.tolist() == [0.0] + [1.0] * 3 + [2.0] * 9


def test_a_symmetry_finds_the_dimension_from_the_width() -> None:
    symmetry = Symmetry.parse("SO on tensors('5x0 + 5x1') -> tensors('1x2')")
    symmetry.bind(torch.zeros(4, 20), torch.zeros(4, 9))
    assert symmetry.group.dim == 3
    assert Symmetry.parse(symmetry.sentence).sentence == symmetry.sentence


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ActionMismatch, match="20 in 3"):
        Tensors("5x0 + 5x1").check(torch.zeros(2, 21))
    with pytest.raises(ActionMismatch, match="24 in 3"):
        Tensors("8x1", dim=3).check(torch.zeros(2, 16))
    with pytest.raises(SentenceError, match="copies x rank"):
        Tensors("5 scalars")
    both = by_name("SO(3) * permutations")
    with pytest.raises(DimensionMismatch, match="two symmetries"):
        Tensors("2x1").bind(torch.zeros(2, 6), both.bind(3))
