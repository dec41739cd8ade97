"""Batches of graphs: every graph moves as a whole, by its own element, whatever the container and the call."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_symmetry.callbacks.moving import blend_moved, select_rows
from lightning_symmetry.discovery import measure_violation
from lightning_symmetry.exceptions import AxiomViolation, DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Given
from lightning_symmetry.losses import Call, Equivariance, InfinitesimalEquivariance, OrbitCosine
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetrization import conjugate, lie_derivative
from lightning_symmetry.symmetry import Symmetry

# nodes of each graph, and its edges: a molecule, an isolated node, a ring, and last one without edges
GRAPHS = [
    (3, [(0, 1), (1, 0), (1, 2), (2, 1)]),
    (1, []),
    (4, [(0, 1), (1, 2), (2, 3), (3, 0)]),
    (2, []),
]
SENTENCE = "SE(3) on pos=points, vel=vector, z=scalar -> energy=scalar, forces=vector, messages=vector"


def make_graph(index: int) -> dict[str, Tensor]:
    nodes, edges = GRAPHS[index]
    generator = torch.Generator().manual_seed(index)
    pos, vel = torch.randn(2, nodes, 3, dtype=torch.float64, generator=generator)
    return {
        "pos": pos,
        "vel": vel,
        "z": torch.randint(1, 9, (nodes,), generator=generator),
        "edge_index": torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T,
    }


def make_batch(indices: list[int]) -> dict[str, Tensor]:
    graphs = [make_graph(i) for i in indices]
    sizes = torch.tensor([len(graph["z"]) for graph in graphs])
    offsets = sizes.cumsum(0) - sizes
    edges = [graph["edge_index"] + offset for graph, offset in zip(graphs, offsets, strict=True)]
    joined = {key: torch.cat([graph[key] for graph in graphs]) for key in ("pos", "vel", "z")}
    ptr = torch.cat([offsets, sizes.sum()[None]])
    batch = torch.arange(len(graphs)).repeat_interleave(sizes)
    return {**joined, "edge_index": torch.cat(edges, 1), "batch": batch, "ptr": ptr}


@pytest.fixture
def x() -> dict[str, Tensor]:
    return make_batch([0, 1, 2, 3])


def equivariant(x: Any) -> dict[str, Tensor]:
    """Pass messages along edges: energies of graphs, forces on nodes, messages on edges."""
    pos, z, batch, (i, j) = x["pos"], x["z"], x["batch"], x["edge_index"]
    across = pos[i] - pos[j]
    weight = torch.exp(-across.square().sum(1)) * (z[i] + z[j]) + (x["vel"][i] * across).sum(1)
    messages = weight[:, None] * across
    energies = x["vel"].square().sum(1).index_add(0, i, weight)
    return {
        "energy": energies.new_zeros(len(x["ptr"]) - 1).index_add(0, batch, energies),
        "forces": x["vel"].index_add(0, i, messages),
        "messages": messages,
    }


def broken(x: Any) -> dict[str, Tensor]:
    y = equivariant(x)
    return {**y, "forces": y["forces"] + y["forces"][:, :1]}


def loop(f: Any, g: Any, symmetry: Symmetry, count: int = 4) -> dict[str, Tensor]:
    """The conjugate, one graph at a time, every node of it by the same matrix."""
    answers = []
    for b in range(count):
        alone = make_batch([b])
        turn, shift = g.linear[b], g.offset[b]
        alone["pos"], alone["vel"] = alone["pos"] @ turn.T + shift, alone["vel"] @ turn.T
        y = f(alone)
        answers.append({"energy": y["energy"], "forces": y["forces"] @ turn, "messages": y["messages"] @ turn})
    return {key: torch.cat([answer[key] for answer in answers]) for key in answers[0]}


def call_of(f: Any, x: Any, views: int = 1, sentence: str = SENTENCE) -> Call:
    symmetry = Symmetry.parse(sentence).bind(x, f(x))
    g, weights = symmetry.sample(x, max(views, 1), Rng(0))
    return Call(f, x, f(x), g, weights, symmetry, Rng(1), 0)


# ---------------------------------------------------------------- which row belongs where


@pytest.mark.parametrize("drop", [(), ("ptr",), ("batch",)], ids=["both", "batch", "ptr"])
@pytest.mark.parametrize("nested", [False, True])
def test_rows_are_found_by_batch_and_by_ptr(x: dict[str, Tensor], drop: tuple[str, ...], nested: bool) -> None:
    owner = x["batch"]
    tree: Any = {key: value for key, value in x.items() if key not in drop}
    rows = Rows.of({"graphs": [tree], "t": torch.zeros(4)} if nested else tree)
    assert rows.count == 4 and rows.are_ragged
    assert torch.equal(rows.owner(10, "forces"), owner)
    assert torch.equal(rows.owner(8, "edge_attr"), owner[x["edge_index"][0]])
    assert rows.owner(4, "energy") is None


@pytest.mark.parametrize(
    "tree",
    [
        torch.zeros(3, 2),
        {"x": torch.zeros(3, 2), "batch": torch.zeros(3, 5)},  # an image, a table
        {"x": torch.zeros(3, 2), "batch": torch.tensor([7, 0, 1])},  # names of something else
        {"x": torch.zeros(3, 2), "batch": torch.tensor([0, 1])},  # of nothing's length
        {"x": torch.zeros(3, 2), "batch": "a name", "ptr": None},
        {"edge_index": torch.zeros(4, 2, 7, dtype=torch.long), "pos": torch.zeros(4, 5, 3)},  # padded graphs
        {"edge_index": torch.tensor([[0, 4], [4, 0]]), "x": torch.zeros(3, 5, 2)},  # one graph that all samples share
    ],
)
def test_ordinary_batches_stay_ordinary(tree: Any) -> None:
    rows = Rows.of(tree)
    assert not rows.are_ragged and rows.owner(3) is None
    values = torch.randn(3)
    assert rows.pool(values) is values


def test_a_graph_that_nobody_batched_is_one_sample() -> None:
    graph = make_graph(0)
    for tree in (graph, {"batch": None, "pos": graph["pos"]}):
        rows = Rows.of(tree)
        assert rows.count == 1 and rows.owner(3).tolist() == [0, 0, 0]
    symmetry = Symmetry.parse("SO(3) on pos=points -> scalar")
    g, weights = symmetry.sample(graph, 1, Rng(0))
    assert len(g) == 1 and weights.shape == (1, 1)
    moved = symmetry.move_input(g, graph)["pos"]
    torch.testing.assert_close(torch.cdist(moved, moved), torch.cdist(graph["pos"], graph["pos"]))


def test_as_many_nodes_as_edges_are_nodes_unless_the_name_says_edges() -> None:
    # two graphs, three nodes and three edges
    tree = {
        "pos": torch.zeros(3, 3),
        "batch": torch.tensor([0, 0, 1]),
        "edge_index": torch.tensor([[0, 2, 2], [1, 2, 2]]),
    }
    rows = Rows.of(tree)
    assert rows.owner(3, "forces").tolist() == [0, 0, 1]
    assert rows.owner(3, "out.edge_weight").tolist() == [0, 1, 1]


def test_as_many_graphs_as_edges_are_graphs() -> None:
    tree = {
        "pos": torch.zeros(3, 3),
        "batch": torch.tensor([0, 0, 1]),
        "edge_index": torch.tensor([[0, 1], [1, 0]]),
    }
    assert Rows.of(tree).owner(2, "energy") is None and Rows.of(tree).owner(2, "edge_attr").tolist() == [0, 0]


def test_rows_of_another_kind_are_refused(x: dict[str, Tensor]) -> None:
    with pytest.raises(DimensionMismatch, match="7 rows at 'odd'.*4 graphs, 10 nodes, 8 edges"):
        Rows.of(x).owner(7, "odd")


def test_rows_are_averaged_by_graph(x: dict[str, Tensor]) -> None:
    pooled = Rows.of(x).pool(x["vel"])
    torch.testing.assert_close(pooled, torch.stack([make_graph(b)["vel"].mean(0) for b in range(4)]))


# ---------------------------------------------------------------- laws


def test_every_graph_moves_rigidly_and_by_its_own_element(x: dict[str, Tensor]) -> None:
    symmetry = Symmetry.parse(SENTENCE)
    g, weights = symmetry.sample(x, 1, Rng(0))
    assert len(g) == 4 and weights.shape == (4, 1)
    moved = symmetry.move_input(g, x)
    same = x["batch"][:, None] == x["batch"]
    before, after = (torch.cdist(tree["pos"], tree["pos"]) for tree in (x, moved))
    torch.testing.assert_close(after[same], before[same])
    assert ((after - before)[~same].abs() > 1e-3).any()
    assert moved["edge_index"] is x["edge_index"] and moved["z"] is x["z"] and moved["batch"] is x["batch"]


@pytest.mark.parametrize("f", [equivariant, broken])
def test_the_conjugate_is_the_plain_loop_over_graphs(f: Any, x: dict[str, Tensor]) -> None:
    symmetry = Symmetry.parse(SENTENCE)
    g, _ = symmetry.sample(x, 1, Rng(0))
    torch.testing.assert_close(conjugate(f, g, symmetry)(x), loop(f, g, symmetry))


@pytest.mark.parametrize("indices", [[0, 1, 2, 3], [2], [1, 1], [3, 3], [0, 3]], ids=str)
def test_errors_vanish_on_an_equivariant_map_and_not_on_a_broken_one(indices: list[int]) -> None:
    x = make_batch(indices)
    for loss in (Equivariance(views=2), InfinitesimalEquivariance(), InfinitesimalEquivariance("difference")):
        exact, wrong = (loss(call_of(f, x, loss.views)) for f in (equivariant, broken))
        assert exact.shape == wrong.shape == (len(indices),)
        # a central difference leaves an error of the second order in its step, squared
        assert exact.max() < (1e-9 if getattr(loss, "backend", "") == "difference" else 1e-20)
        assert wrong.isfinite().all() and (wrong > 1e-3).all()


def test_errors_of_samples_are_means_over_their_nodes(x: dict[str, Tensor]) -> None:
    sentence = SENTENCE.partition(" -> ")[0] + " -> forces=vector"
    call = call_of(lambda x: {"forces": broken(x)["forces"]}, x, sentence=sentence)
    answer = conjugate(broken, call.g, call.symmetry)(x)["forces"]
    node = (answer - broken(x)["forces"]).square().mean(1)
    error = torch.stack([node[x["batch"] == b].mean() for b in range(4)])
    y = broken(x)["forces"]
    pooled = [torch.stack([t[x["batch"] == b].mean(0) for b in range(4)]).mean(0) for t in (y, y.square())]
    variance = pooled[1].mean() - pooled[0].square().mean()
    torch.testing.assert_close(Equivariance()(call), error / variance)


def test_the_error_does_not_depend_on_the_scale_of_the_answers(x: dict[str, Tensor]) -> None:
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    loss = Equivariance()(call_of(lambda x: {k: v * scale for k, v in broken(x).items()}, x)).mean()
    (slope,) = torch.autograd.grad(loss, scale)
    assert loss > 1e-3 and slope.abs() < 1e-9


def test_the_lie_derivative_is_the_slope_of_the_conjugate(x: dict[str, Tensor]) -> None:
    symmetry = Symmetry.parse(SENTENCE)
    exact = lie_derivative(broken, x, symmetry)
    assert exact["forces"].shape == (10, 6, 3) and exact["energy"].shape == (4, 6)
    for k, step in ((0, 1e-5), (4, 1e-5)):
        t = torch.zeros(4, 6, dtype=torch.float64)
        t[:, k] = step
        ahead, behind = (conjugate(broken, symmetry.group.exp(sign * t), symmetry)(x) for sign in (1, -1))
        for key in exact:
            slope = (ahead[key] - behind[key]) / (2 * step)
            torch.testing.assert_close(exact[key][:, k], slope, atol=1e-7, rtol=1e-6)


def test_evidence_sees_what_holds_and_what_does_not(x: dict[str, Tensor]) -> None:
    symmetry = Symmetry.parse(SENTENCE)
    assert measure_violation(equivariant, x, symmetry).max() < 1e-20
    assert measure_violation(broken, x, symmetry)[:3].min() > 1e-3
    shear = torch.zeros(1, 4, 4, dtype=torch.float64)
    shear[0, 0, 1] = 1.0
    assert (
        measure_violation(equivariant, x, Symmetry(Given(shear), *SENTENCE.partition(" on ")[2].split(" -> "))) > 1e-3
    )


def test_the_orbit_cosine_is_one_number_a_graph(x: dict[str, Tensor]) -> None:
    assert 0 <= float(OrbitCosine()(call_of(equivariant, x))) <= 1


def test_a_mask_over_graphs_takes_whole_graphs(x: dict[str, Tensor]) -> None:
    call = call_of(equivariant, x)
    rows, mask = Rows.of(x), torch.tensor([True, False, True, False])
    view = call.views[0].x
    mixed = select_rows(mask, view, x, rows)
    nodes = mask[x["batch"]]
    assert torch.equal(mixed["pos"][nodes], view["pos"][nodes])
    assert torch.equal(mixed["pos"][~nodes], x["pos"][~nodes])
    # an equivariant map's conjugate is the map, whoever is moved
    torch.testing.assert_close(blend_moved(call, mask), equivariant(x))


def test_draws_belong_to_graphs_on_every_rank(x: dict[str, Tensor]) -> None:
    symmetry = Symmetry.parse(SENTENCE)
    everybody, _ = symmetry.sample(x, 2, Rng(3, 1))
    for rank in range(2):
        mine, weights = symmetry.sample(make_batch([rank, rank + 2]), 2, Rng(3, 1, rank, world=2))
        assert weights.shape == (2, 2)
        expected = everybody.linear.unflatten(0, (4, 2))[rank::2].flatten(0, 1)
        torch.testing.assert_close(mine.linear, expected)


def test_axioms_hold_graph_by_graph(x: dict[str, Tensor]) -> None:
    symmetry = Symmetry.parse(SENTENCE)
    symmetry.check(x)
    original = symmetry.input.actions[0].act
    symmetry.input.actions[0].act = lambda g, p: original(g, p) + 1  # type: ignore[method-assign]
    with pytest.raises(AxiomViolation, match="'pos'"):
        symmetry.check(x)


def test_what_is_told_of_whole_graphs_moves_with_them(x: dict[str, Tensor]) -> None:
    x["field"] = torch.randn(4, 3, dtype=torch.float64)
    symmetry = Symmetry.parse("SO(3) on pos=points, field=vector -> scalar")
    g, _ = symmetry.sample(x, 1, Rng(0))
    moved = symmetry.move_input(g, x)
    torch.testing.assert_close(moved["field"], torch.einsum("bij,bj->bi", g.linear, x["field"]))
    torch.testing.assert_close(moved["pos"], torch.einsum("bij,bj->bi", g.linear[x["batch"]], x["pos"]))


def test_reordering_the_nodes_of_graphs_is_refused(x: dict[str, Tensor]) -> None:
    with pytest.raises(InvalidSetting, match="several sizes"):
        Symmetry.parse("permutations on pos=points -> scalar").bind(x)


# ---------------------------------------------------------------- torch_geometric


def make_data(index: int) -> Any:
    data = pytest.importorskip("torch_geometric.data")
    return data.Data(**make_graph(index), name=f"graph {index}", u=torch.full((1, 1), float(index)))


def test_graph_objects_move_as_their_parts_do(x: dict[str, Tensor]) -> None:
    data = pytest.importorskip("torch_geometric.data")
    batch = data.Batch.from_data_list([make_data(i) for i in range(4)])
    before = batch.clone()
    parts, whole = (
        Symmetry.parse("SE(3) on pos=points, vel=vector -> scalar"),
        Symmetry.parse("SE(3) on batch.pos=points, batch.vel=vector -> scalar"),
    )
    g, _ = whole.sample({"batch": batch}, 1, Rng(0))
    moved = whole.move_input(g, {"batch": batch})["batch"]
    expected = parts.move_input(g, x)
    assert type(moved) is type(batch) and moved.name == batch.name and moved.num_graphs == 4
    for key in ("pos", "vel", "z", "edge_index"):
        torch.testing.assert_close(moved[key], expected[key])
        assert torch.equal(batch[key], before[key])
    graphs = moved.to_data_list()
    torch.testing.assert_close(graphs[3].pos, expected["pos"][8:])


def test_a_batch_of_one_graph_is_one_sample() -> None:
    data = pytest.importorskip("torch_geometric.data")
    for graph in (make_data(2), data.Batch.from_data_list([make_data(2)])):
        symmetry = Symmetry.parse("SE(3) on pos=points -> scalar")
        g, weights = symmetry.sample(graph, 1, Rng(0))
        moved = symmetry.move_input(g, graph)
        assert weights.shape == (1, 1)
        torch.testing.assert_close(torch.cdist(moved.pos, moved.pos), torch.cdist(graph.pos, graph.pos))


def test_every_type_of_a_heterogeneous_graph_has_rows_of_its_own() -> None:
    data = pytest.importorskip("torch_geometric.data")
    graphs = []
    for atoms, sites in ((2, 1), (1, 3)):
        graph = data.HeteroData()
        graph["atom"].pos, graph["site"].pos = torch.randn(atoms, 2), torch.randn(sites, 2)
        graph["atom", "near", "site"].edge_index = torch.tensor([[0] * sites, list(range(sites))])
        graph["atom", "near", "site"].across = torch.randn(sites, 2)
        graphs.append(graph)
    batch = data.Batch.from_data_list(graphs)
    rows = Rows.of({"g": batch})
    assert rows.count == 2
    assert rows.owner(3, "g.atom.pos").tolist() == [0, 0, 1]
    assert rows.owner(4, "g.site.pos").tolist() == [0, 1, 1, 1]
    assert rows.owner(4, "g.atom__near__site.across").tolist() == [0, 1, 1, 1]
    assert rows.owner(3, "answer.atom").tolist() == [0, 0, 1]
    assert rows.owner(2, "energy") is None
    symmetry = Symmetry.parse("SO(2) on atom.pos=points, site.pos=points, atom__near__site.across=vector -> scalar")
    g, _ = symmetry.sample(batch, 1, Rng(0))
    moved = symmetry.move_input(g, batch)
    for store in ("atom", "site"):
        expected = torch.einsum("bij,bj->bi", g.linear[batch[store].batch], batch[store].pos)
        torch.testing.assert_close(moved[store].pos, expected)
    expected = torch.einsum("bij,bj->bi", g.linear[[0, 1, 1, 1]], batch["atom", "near", "site"].across)
    torch.testing.assert_close(moved["atom", "near", "site"].across, expected)


def test_vectors_for_single_tensors_are_followed() -> None:
    tree = {
        "a": torch.zeros(3, 2),
        "a_batch": torch.tensor([0, 0, 1]),
        "b": torch.zeros(3, 2),
        "b_batch": torch.tensor([0, 1, 1]),
    }
    rows = Rows.of(tree)
    assert rows.owner(3, "a").tolist() == [0, 0, 1] and rows.owner(3, "b").tolist() == [0, 1, 1]


@pytest.mark.parametrize("name", ["batch", "idx_m", "batch_idx"])
def test_the_order_of_nodes_and_the_name_of_the_vector_do_not_matter(name: str) -> None:
    owner = torch.tensor([1, 0, 2, 1, 0, 2, 2])
    x = {"pos": torch.randn(7, 3, generator=torch.Generator().manual_seed(0)), name: owner}
    rows = Rows.of(x)
    assert rows.count == 3
    values = torch.arange(7.0)
    assert torch.allclose(rows.pool(values), torch.stack([values[owner == b].mean() for b in range(3)]))
    padded = rows.pad(x["pos"], "pos")
    for b in range(3):
        assert torch.equal(padded[b, : int((owner == b).sum())], x["pos"][owner == b])
