from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Element, Group, Permutation, Permutations
from lightning_symmetry.testing import ElementContract, GroupContract


class TestPermutation(ElementContract):
    subject = Permutation

    def make(self, rows: int, counter: int) -> Element:
        # the contract moves seven points
        return Permutations(7).sample(rows, self.rng(counter))


class TestPermutations(GroupContract):
    subject = Permutations
    dim = 4

    def make(self) -> Group:
        return Permutations(4)

    def violation(self, matrix: Tensor) -> Tensor:
        ones = torch.ones_like(matrix[:, 0])
        return torch.cat((matrix.sum(1) - ones, matrix.sum(2) - ones, (matrix * (1 - matrix)).flatten(1)), 1)


def test_a_permutation_is_its_matrix() -> None:
    g, h = (Permutations(5).sample(6, Rng(0, i)) for i in range(2))
    p = torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert isinstance(g, Permutation) and isinstance(h, Permutation)
    assert torch.equal(g(p), g.matrix @ p)
    assert torch.equal((g @ h).matrix, g.matrix @ h.matrix)
    assert torch.equal((~g).matrix, g.matrix.mT)


def test_it_reorders_nodes_of_any_shape_and_type() -> None:
    g = Permutation(torch.tensor([[2, 0, 1]]))
    edges = torch.arange(12).reshape(1, 3, 2, 2)
    assert torch.equal(g(edges), edges[:, [2, 0, 1]])


def test_every_permutation_is_drawn_equally_often() -> None:
    g = Permutations(3).sample(6000, Rng(0))
    assert isinstance(g, Permutation)
    _, counts = g.order.unique(dim=0, return_counts=True)
    assert len(counts) == 6 and int((counts - 1000).abs().max()) < 120


def test_the_number_of_nodes_follows_the_data() -> None:
    group = Permutations()
    assert group.bind(3).sample(2, Rng(0)).dim == 3
    assert group.bind(9).sample(2, Rng(0)).dim == 9
    assert group.sentence == "permutations"


def test_many_nodes_are_drawn_but_not_listed() -> None:
    group = Permutations(50)
    assert group.sample(3, Rng(0)).dim == 50
    with pytest.raises(DimensionMismatch, match="at most 7"):
        _ = group.discrete


def test_other_sets_are_refused() -> None:
    with pytest.raises(DimensionMismatch, match="4 nodes for permutations of 3"):
        Permutations(3).sample(1, Rng(0))(torch.zeros(1, 4, 2))
    with pytest.raises(DimensionMismatch, match="without a number"):
        Permutations().sample(1, Rng(0))
    with pytest.raises(InvalidSetting):
        Permutations(0)
