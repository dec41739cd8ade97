from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_symmetry.actions import Action, Edges, Index, Nodes, Vector
from lightning_symmetry.exceptions import ActionMismatch, DimensionMismatch
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SO, Group, Permutations
from lightning_symmetry.testing import ActionContract


class TestNodes(ActionContract):
    subject = Nodes
    whole_numbers = True

    def make(self) -> Action:
        return Nodes()

    def group(self) -> Group:
        return Permutations(5)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 5, 3, dtype=torch.float64)


class TestEdges(ActionContract):
    subject = Edges
    whole_numbers = True

    def make(self) -> Action:
        return Edges()

    def group(self) -> Group:
        return Permutations(5)

    def data(self, rows: int) -> Tensor:
        return self.rng().normal(rows, 5, 5, 2, dtype=torch.float64)


class TestIndex(ActionContract):
    subject = Index
    whole_numbers = True

    def make(self) -> Action:
        return Index()

    def group(self) -> Group:
        return Permutations(5)

    def data(self, rows: int) -> Tensor:
        return self.rng().integers(5, rows, 6, 2)


def draw(rows: int, nodes: int) -> tuple[Tensor, Tensor, Tensor, Permutations]:
    """Features, an adjacency matrix, a padded list of edges, and the group."""
    rng = Rng(4)
    features = rng.normal(rows, nodes, 3, dtype=torch.float64)
    edges = rng.integers(nodes, rows, 9, 2)
    edges[:, -2:] = -1
    adjacency = torch.zeros(rows, nodes, nodes, dtype=torch.long)
    for b in range(rows):
        for i, j in edges[b, :-2].tolist():
            adjacency[b, i, j] += 1
    return features, adjacency, edges, Permutations(nodes)


def test_a_list_of_edges_names_the_same_nodes_after_reordering() -> None:
    features, adjacency, edges, group = draw(4, 6)
    g = group.sample(4, Rng(5))
    moved, renamed, matrix = Nodes().act(g, features), Index().act(g, edges), Edges().act(g, adjacency)
    assert (renamed[:, -2:] == -1).all() and renamed.dtype == edges.dtype
    for b in range(4):
        torch.testing.assert_close(moved[b][renamed[b, :-2]], features[b][edges[b, :-2]])
        again = torch.zeros(6, 6, dtype=torch.long)
        for i, j in renamed[b, :-2].tolist():
            again[i, j] += 1
        assert torch.equal(again, matrix[b])


def test_a_message_passing_step_is_equivariant() -> None:
    features, _, edges, group = draw(4, 6)
    g = group.sample(4, Rng(6))

    def step(h: Tensor, pairs: Tensor) -> Tensor:
        out = torch.zeros_like(h)
        for b in range(len(h)):
            for i, j in pairs[b].tolist():
                if i >= 0:
                    out[b, i] += torch.tanh(h[b, j])
        return out

    torch.testing.assert_close(
        step(Nodes().act(g, features), Index().act(g, edges)), Nodes().act(g, step(features, edges))
    )


def test_space_leaves_nodes_alone_and_permutations_reorder_vectors() -> None:
    features, adjacency, edges, group = draw(4, 6)
    turn = SO(3).double().exp(Rng(7).normal(4, 3, dtype=torch.float64))
    for action, x in ((Nodes(), features), (Edges(), adjacency), (Index(), edges)):
        assert torch.equal(action.act(turn, x), x)
        assert action.lie(SO(3), x).shape == (4, 3, *x.shape[1:]) and not action.lie(SO(3), x).any()
    g = group.sample(4, Rng(5))
    torch.testing.assert_close(Vector(3).act(g, features), g(features))


def test_whole_numbers_and_flags_are_reordered() -> None:
    g = Permutations(3).sample(2, Rng(5))
    for x in (torch.tensor([[6, 1, 8], [1, 1, 6]]), torch.tensor([[True, False, False]] * 2)):
        assert torch.equal(Nodes().act(g, x), g(x))


def test_what_does_not_fit_is_refused() -> None:
    g = Permutations(3).sample(1, Rng(5))
    with pytest.raises(DimensionMismatch, match="node 3"):
        Index().act(g, torch.tensor([[0, 3]]))
    with pytest.raises(ActionMismatch, match="long"):
        Index().check(torch.ones(2, 3))
    with pytest.raises(ActionMismatch):
        Index().check(torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ActionMismatch, match="index"):
        Edges().check(torch.ones(2, 3, 4))
    with pytest.raises(ActionMismatch):
        Nodes().check(torch.ones(2))
    with pytest.raises(DimensionMismatch):
        Nodes().act(g, torch.ones(1, 4))
