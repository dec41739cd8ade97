"""Conjugation and the Lie derivative, against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SE, SO, E, Element, Permutations
from lightning_symmetry.rows import Rows
from lightning_symmetry.samplers import Haar, PCAFrames, PointFrames, Polar, Uniform
from lightning_symmetry.symmetrization import average, conjugate, lie_derivative
from lightning_symmetry.symmetry import Symmetry


def equivariant(x: Tensor) -> Tensor:
    q, p = x[..., :2], x[..., 2:]
    return q.norm(dim=-1, keepdim=True) * p + (q * p).sum(-1, keepdim=True) * q


@pytest.fixture
def x(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(6, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))


def test_conjugating_an_equivariant_map_changes_nothing(x: Tensor) -> None:
    symmetry = Symmetry.parse("SO(2) on vector(2) -> vector(2)")
    g, _ = symmetry.sample(x, 1, Rng(0))
    torch.testing.assert_close(conjugate(equivariant, g, symmetry)(x), equivariant(x))


def test_conjugating_by_a_product_is_conjugating_twice(x: Tensor) -> None:
    symmetry = Symmetry.parse("GL(2) on vector(2) -> vector(2)")
    torch.manual_seed(0)
    net = nn.Linear(4, 2).double()
    g, _ = symmetry.sample(x, 1, Rng(0))
    h, _ = symmetry.sample(x, 1, Rng(1))
    twice = conjugate(conjugate(net, g, symmetry), h, symmetry)
    torch.testing.assert_close(twice(x), conjugate(net, g @ h, symmetry)(x))


def test_a_raw_tensor_is_an_element(x: Tensor) -> None:
    symmetry = Symmetry.parse("SO(2) on vector(2) -> vector(2)")
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=x.dtype).repeat(len(x), 1, 1)
    torch.testing.assert_close(conjugate(equivariant, turn, symmetry)(x), equivariant(x))


@pytest.mark.parametrize("sentence", ["SO(2) on vector(2) -> vector(2)", "GL(2) on vector(2) -> scalar"])
def test_the_lie_derivative_is_the_slope_of_the_conjugate(x: Tensor, sentence: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    symmetry = Symmetry.parse(sentence)
    exact = lie_derivative(net, x, symmetry)
    step = 1e-5
    for k in range(symmetry.group.count):
        t = torch.zeros(len(x), symmetry.group.count, dtype=x.dtype)
        t[:, k] = step
        ahead = conjugate(net, symmetry.group.exp(t), symmetry)(x)
        behind = conjugate(net, symmetry.group.exp(-t), symmetry)(x)
        torch.testing.assert_close(exact[:, k], (ahead - behind) / (2 * step), atol=1e-8, rtol=1e-6)


def test_differences_agree_with_the_exact_derivative(x: Tensor) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    symmetry = Symmetry.parse("GL(2) on vector(2) -> vector(2)")
    exact = lie_derivative(net, x, symmetry)
    torch.testing.assert_close(lie_derivative(net, x, symmetry, "difference"), exact, atol=1e-5, rtol=1e-4)


def test_it_vanishes_on_an_equivariant_map_and_not_on_a_broken_one(x: Tensor) -> None:
    symmetry = Symmetry.parse("SO(2) on vector(2) -> vector(2)")
    assert lie_derivative(equivariant, x, symmetry).abs().max() < 1e-12
    assert lie_derivative(lambda v: equivariant(v) + v[..., :2] ** 2, x, symmetry).abs().max() > 0.1


def test_images_have_a_lie_derivative_too() -> None:
    symmetry = Symmetry.parse("SO(2) on image -> label")
    grid = torch.linspace(-1, 1, 33, dtype=torch.float64)
    blob = torch.exp(-8 * (grid[:, None] ** 2 + grid**2))[None, None]
    off_centre = torch.exp(-8 * (grid[:, None] ** 2 + (grid - 0.4) ** 2))[None, None]
    radius = (grid[:, None] ** 2 + grid**2)[None, None]

    def moment(image: Tensor) -> Tensor:
        return (image * radius).flatten(1).sum(1, keepdim=True)

    def height(image: Tensor) -> Tensor:
        return (image * grid[:, None]).flatten(1).sum(1, keepdim=True)

    turned = lie_derivative(height, off_centre, symmetry).abs().max()
    assert lie_derivative(moment, blob, symmetry).abs().max() < 1e-9 * turned
    # central differences leave an error of second order in the pixel spacing
    assert lie_derivative(moment, off_centre, symmetry).abs().max() < 0.02 * turned


def test_structures_keep_their_shape(x: Tensor) -> None:
    symmetry = Symmetry.parse("SO(2) on a=vector(2) -> out.v=vector(2), out.s=scalar")

    def f(tree: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        return {"out": {"v": equivariant(tree["a"]) * tree["b"], "s": tree["a"].square().sum(1)}}

    out = lie_derivative(f, {"a": x, "b": torch.ones(len(x), 1, dtype=x.dtype)}, symmetry)["out"]
    assert out["v"].shape == (6, 1, 2) and out["s"].shape == (6, 1)
    assert max(out["v"].abs().max(), out["s"].abs().max()) < 1e-12


def test_an_unknown_backend_is_refused(x: Tensor) -> None:
    with pytest.raises(InvalidSetting, match="vjp"):
        lie_derivative(equivariant, x, Symmetry.parse("SO(2) on vector(2) -> vector(2)"), "backwards")


def small_net(inputs: int, outputs: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, outputs)).double()


def loop(f: nn.Module, x: Tensor, symmetry: Symmetry, g: Element, weights: Tensor) -> Tensor:
    """The definition, sample by sample and element by element."""
    n, total = weights.shape[1], []
    for b in range(len(x)):
        terms = [weights[b, j] * conjugate(f, g[b * n + j], symmetry)(x[b : b + 1]) for j in range(n)]
        total.append(torch.stack(terms).sum(0))
    return torch.cat(total)


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_an_average_is_the_sum_over_draws(x: Tensor, chunk: int) -> None:
    symmetry, f = Symmetry.parse("GL(2) on vector(2) -> vector(2)"), small_net(4, 2)
    g, weights = symmetry.sample(x, 5, Rng(3))
    expected = loop(f, x, symmetry, g, weights)
    torch.testing.assert_close(average(f, symmetry, 5, Rng(3), chunk)(x), expected)


@pytest.mark.parametrize("chunk", [1, 3])
def test_weights_count(chunk: int) -> None:
    x, f = Rng(0).normal(4, 6, dtype=torch.float64), small_net(6, 2)
    symmetry = Symmetry(PointFrames(SO(2)), "vector(2)", "vector(2)")
    listed = symmetry.support(x)
    assert listed is not None and float(listed[1].std()) > 0.05
    torch.testing.assert_close(average(f, symmetry, chunk=chunk)(x), loop(f, x, symmetry, *listed))


@pytest.mark.parametrize("sentence", ["D4 on vector(2) -> vector(2)", "C5 on vector(2) -> scalar"])
@pytest.mark.parametrize("n", [None, 8, 50])
def test_finite_groups_are_averaged_exactly(x: Tensor, sentence: str, n: int | None) -> None:
    symmetry = Symmetry.parse(sentence)
    f = average(small_net(4, 2), symmetry, n)
    g, _ = symmetry.sample(x, 1, Rng(9))
    torch.testing.assert_close(conjugate(f, g, symmetry)(x), f(x), atol=1e-6, rtol=1e-6)
    few = average(small_net(4, 2), symmetry, 2)
    assert float((conjugate(few, g, symmetry)(x) - few(x)).abs().max()) > 1e-3


def test_all_orders_of_a_small_set_are_averaged() -> None:
    x, f = Rng(0).normal(3, 4, 2, dtype=torch.float64), small_net(8, 1)
    symmetry = Symmetry(Permutations(), "nodes=points", "scalar")
    invariant = average(lambda tree: f(tree["nodes"].flatten(1)), symmetry)
    torch.testing.assert_close(invariant({"nodes": x}), invariant({"nodes": x[:, [2, 0, 3, 1]]}))


def test_the_error_of_draws_falls_as_their_root(x: Tensor) -> None:
    symmetry, f = Symmetry(Haar(SO(2)), "vector(2)", "scalar"), small_net(4, 1)
    exact = average(f, symmetry, 4000)(x)
    few, many = ([average(f, symmetry, n, Rng(1, i))(x) for i in range(40)] for n in (4, 64))
    ratio = (torch.stack(few) - exact).square().mean() / (torch.stack(many) - exact).square().mean()
    assert 8 < float(ratio) < 32


def test_an_average_is_one_fixed_map(x: Tensor) -> None:
    symmetry, f = Symmetry.parse("SO(2) on vector(2) -> vector(2)"), small_net(4, 2)
    averaged = average(f, symmetry, 3, Rng(4))
    assert torch.equal(averaged(x), averaged(x))
    assert not torch.equal(averaged(x), average(f, symmetry, 3, Rng(5))(x))
    torch.testing.assert_close(averaged(x)[:2], averaged(x[:2]))


def test_the_mean_of_logits_is_a_geometric_mean(x: Tensor) -> None:
    symmetry, f = Symmetry.parse("C3 on vector(2) -> label"), small_net(4, 5)
    listed = symmetry.support(x)
    assert listed is not None
    logs = torch.stack([conjugate(f, listed[0][j::3], symmetry)(x).log_softmax(1) for j in range(3)])
    geometric = logs.mean(0).exp()
    expected = geometric / geometric.sum(1, keepdim=True)
    # the elements of C3 are float32
    torch.testing.assert_close(average(f, symmetry)(x).softmax(1), expected, atol=1e-6, rtol=1e-6)


def test_structures_types_and_gradients_survive(x: Tensor) -> None:
    symmetry = Symmetry(Uniform(SO(2), 1.0, learnable=True), "a=vector(2)", "out.v=vector(2), out.s=scalar")
    f = small_net(4, 2)

    def structured(tree: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        v = f(tree["a"].double()).to(tree["a"].dtype)
        return {"out": {"v": v, "s": v.square().sum(1)}}

    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        out = average(structured, symmetry, 3)({"a": x.to(dtype), "other": 5})["out"]
        assert out["v"].dtype == dtype and out["s"].shape == (6,)
    out["v"].float().sum().backward()
    assert symmetry.sampler.raw_width.grad is not None  # type: ignore[union-attr]


def test_what_has_no_mean_is_refused(x: Tensor) -> None:
    symmetry = Symmetry.parse("C4 on vector(2) -> label")
    with pytest.raises(ActionMismatch, match="return logits"):
        average(lambda v: v.argmax(1), symmetry)(x)
    with pytest.raises(ActionMismatch, match="one row a sample"):
        average(lambda v: v.sum(), symmetry)(x)
    with pytest.raises(InvalidSetting, match="number of draws"):
        average(lambda v: v, Symmetry.parse("SO(2) on vector(2) -> vector(2)"))(x)
    with pytest.raises(InvalidSetting, match="positive"):
        average(lambda v: v, symmetry, 0)


def graphs() -> dict[str, Tensor]:
    """Three graphs of 5, 4 and 7 nodes."""
    owner = torch.tensor([0, 1, 2]).repeat_interleave(torch.tensor([5, 4, 7]))
    return {"pos": Rng(2).normal(16, 3, dtype=torch.float64), "batch": owner}


def of_graphs(tree: dict[str, Tensor]) -> dict[str, Tensor]:
    """Answers without any symmetry, one a graph and one a node."""
    direction = torch.tensor([0.3, -1.0, 0.7], dtype=torch.float64)
    score = torch.tanh(tree["pos"] @ direction + 0.2) + tree["pos"][:, 1] ** 3
    energy = torch.zeros(3, dtype=torch.float64).index_add(0, tree["batch"], score)
    return {"energy": energy, "force": score[:, None] * direction}


@pytest.mark.parametrize("law", [PCAFrames(SE(3)), PCAFrames(SO(3)), PointFrames(E(3)), PointFrames(SO(3))], ids=str)
def test_frames_of_graphs_know_their_nodes(law: PCAFrames) -> None:
    symmetry = Symmetry(law, "pos=points" if law.group.affine else "pos=vector", "energy=scalar, force=vector")
    f, x = average(of_graphs, symmetry, chunk=4), graphs()
    g, _ = Haar(SE(3) if law.group.affine else SO(3), 1.0).sample(torch.zeros(3, 1, dtype=torch.float64), 1, Rng(0))
    moved = symmetry.move_input(g, x)
    y, there = f(x), f(moved)
    torch.testing.assert_close(there["energy"], y["energy"])
    torch.testing.assert_close(there["force"], symmetry.move_output(g, y, Rows.of(x))["force"])
    # each graph's frame is its own, whatever company it has
    alone = {"pos": x["pos"][:5], "batch": x["batch"][:5]}
    single = average(lambda t: {k: v[: 1 if k == "energy" else 5] for k, v in of_graphs(t).items()}, symmetry)(alone)
    torch.testing.assert_close(single["force"], y["force"][:5])


def test_ordered_frames_refuse_graphs() -> None:
    with pytest.raises(InvalidSetting, match="PCAFrames"):
        average(of_graphs, Symmetry(Polar(SE(3)), "pos=points", "energy=scalar, force=vector"))(graphs())


def test_a_frame_is_read_from_positions_before_vectors() -> None:
    x = {"v": Rng(0).normal(4, 7, 2, dtype=torch.float64), "pos": Rng(1).normal(4, 7, 2, dtype=torch.float64)}
    f = small_net(28, 1)
    symmetry = Symmetry(PCAFrames(SE(2)), "v=vector, pos=points", "scalar")
    invariant = average(lambda t: f(torch.cat((t["v"], t["pos"]), 1).flatten(1)), symmetry)
    g, _ = Haar(SE(2), 1.0).sample(x["v"], 1, Rng(2))
    torch.testing.assert_close(invariant(symmetry.move_input(g, x)), invariant(x))
