"""The penalty on weights: its contract, plain loops, exact gradients, and which errors it raises."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_symmetry.exceptions import InvalidSetting, SymmetryError
from lightning_symmetry.functional.equivariant_maps import EquivariantMaps, tensor_power
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.tensor_types import read_types
from lightning_symmetry.groups import About
from lightning_symmetry.losses import Call, Projection
from lightning_symmetry.losses.matrices import Matrices
from lightning_symmetry.nn import GatedTensorNetwork
from lightning_symmetry.symmetry import Symmetry
from lightning_symmetry.testing import LossContract

SIDES = "tensors('5x0 + 5x1') -> tensors('1x2')"
AXES = [f"about({axis}, mirrors=True) on {SIDES}" for axis in "xyz"]
TYPES = {"0": "5x0 + 5x1 -> 3x0 + 2x1 + 1x2", "2": "3x0 + 2x1 + 1x2 -> 1x2"}


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 18), nn.SiLU(), nn.Linear(18, 9)).to(dtype)


def calls_of(module: nn.Module, sentences: Sequence[str | Symmetry], inputs: int = 20, outputs: int = 9) -> list[Call]:
    symmetries = [Symmetry.parse(s) if isinstance(s, str) else s for s in sentences]
    x, y = torch.zeros(2, inputs), torch.zeros(2, outputs)
    for symmetry in symmetries:
        symmetry.bind(x, y)
    return [Call(module, x, y, None, x.new_zeros(2, 0), s, Rng(0), 0, module) for s in symmetries]


def dense_projector(types_in: str, types_out: str, symmetry: Symmetry) -> Tensor:
    """Solve for the commuting maps between two whole layers at once, on vec(W)."""

    def represent(matrix: Tensor, types: str) -> Tensor:
        parts = [tensor_power(matrix, t.rank) for t in read_types(types) for _ in range(t.copies)]
        return torch.block_diag(*parts)

    g = symmetry.group.double().sample(6, Rng(3), 3.0)
    rows = []
    for matrix in g.linear:
        out, into = represent(matrix, types_out), represent(matrix, types_in)
        size_out, size_in = len(out), len(into)
        rows.append(torch.kron(out, torch.eye(size_in)) - torch.kron(torch.eye(size_out), into.mT.contiguous()))
    _, sizes, directions = torch.linalg.svd(torch.cat(rows).double())
    kernel = directions[sizes < 1e-8]
    return kernel.mT @ kernel


class TestProjection(LossContract):
    subject = Projection
    measures_map = True

    def make(self) -> Projection:
        return Projection({"0": "2x1 -> 1x1"})

    def learnt(self) -> Symmetry:
        """Nothing of the group can be learnt by projections."""
        return self.symmetry()

    def call(self, symmetry: Symmetry, broken: bool = False, rows: int = 8) -> Call:
        call = super().call(symmetry, broken, rows)
        layer = nn.Linear(4, 2, bias=broken).double()
        turn, eye = torch.tensor([[0.0, -1.0], [1.0, 0.0]]), torch.eye(2)
        exact = torch.cat((0.3 * eye + 2 * turn, -0.7 * eye), 1).double()
        layer.weight.data = exact + 0.1 * self.rng(5).normal(2, 4, dtype=torch.float64) * broken
        self.net = nn.Sequential(layer)
        return Call(self.net, call.x, self.net(call.x), None, call.weights, symmetry, call.rng, 0, self.net)

    def test_gradients_reach_what_is_learnt(self) -> None:
        """They reach the weights."""
        self.make()(self.call(self.symmetry(), broken=True)).backward()
        gradient = self.net[0].weight.grad
        assert gradient is not None
        assert bool(gradient.isfinite().all())
        assert bool(gradient.abs().sum() > 0)


class TestLogProjection(TestProjection):
    lower_bound = math.log(1e-13)

    def make(self) -> Projection:
        return Projection({"0": "2x1 -> 1x1"}, form="logmse")

    def test_zero_on_an_equivariant_map(self) -> None:
        """The least that can be told from rounding, in place of minus infinity."""
        assert float(self.make()(self.call(self.symmetry())).detach()) == pytest.approx(math.log(1e-12 / 0.5))
        assert float(self.make()(self.call(self.symmetry(), True)).detach()) > math.log(1e-6)


class TestCosineProjection(TestProjection):
    def make(self) -> Projection:
        return Projection({"0": "2x1 -> 1x1"}, form="cosine")


def test_values_are_those_of_a_dense_projector_of_whole_layers() -> None:
    net = network()
    (call,) = calls_of(net, AXES[2:])
    total, chance, log, cosine = 0.0, 0.0, 0.0, 0.0
    for name, words in TYPES.items():
        into, out = words.split(" -> ")
        for weight, source in ((net[int(name)].weight, into), (net[int(name)].bias[:, None], "1x0")):
            projector = dense_projector(source, out, call.symmetry)
            flat = weight.detach().flatten()
            kept = projector @ flat
            excess, size = float((flat - kept).square().sum()), float(flat.square().sum())
            total += excess / 2
            chance += size / 2 * (1 - float(projector.trace()) / len(flat))
            log += math.log(excess)
            cosine += 1 - float(flat @ kept / (flat.norm() * kept.norm()))
    for settings, value in (
        ({"normalise": False}, total),
        ({}, total / chance),
        ({"normalise": False, "form": "logmse"}, log),
        ({"form": "cosine"}, cosine),
    ):
        assert float(Projection(TYPES, **settings)(call).detach()) == pytest.approx(value, rel=1e-9), settings


def test_several_groups_together_are_measured_as_one_by_one() -> None:
    net = network()
    sentences = [*AXES, f"SO(3) on {SIDES}", f"scale on {SIDES}", f"SO(3) * scale on {SIDES}"]
    for settings in ({}, {"normalise": False}, {"form": "logmse"}, {"form": "cosine"}):
        loss = Projection(TYPES, **settings)
        calls = calls_of(net, sentences)
        together = loss.evaluate(calls)
        gradient = torch.autograd.grad(sum(k * v for k, v in enumerate(together, 1)), net.parameters())
        alone = [loss(call) for call in calls]
        expected = torch.autograd.grad(sum(k * v for k, v in enumerate(alone, 1)), net.parameters())
        torch.testing.assert_close(torch.stack(together), torch.stack(alone))
        for found, known in zip(gradient, expected, strict=True):
            torch.testing.assert_close(found, known)


@pytest.mark.parametrize("settings", [{}, {"normalise": False}, {"form": "logmse"}, {"form": "cosine"}])
def test_gradients_are_central_differences(settings: dict[str, Any]) -> None:
    net = network()
    loss, calls = Projection(TYPES, **settings), calls_of(net, AXES)

    def value() -> Tensor:
        return sum((k * v for k, v in enumerate(loss.evaluate(calls), 1)), torch.zeros(()))

    gradients = torch.autograd.grad(value(), list(net.parameters()))
    for parameter, gradient in zip(net.parameters(), gradients, strict=True):
        direction = Rng(parameter.numel()).normal(*parameter.shape, dtype=torch.float64)
        step, ends = 1e-5, []
        for sign in (1, -1):
            parameter.data += sign * step * direction
            ends.append(float(value()))
            parameter.data -= sign * step * direction
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float((gradient * direction).sum()), rel=1e-5)


def test_weights_in_single_that_almost_commute_have_the_right_value_and_gradient() -> None:
    net = network()
    (call,) = calls_of(net, AXES[:1])
    matrices = Matrices.of(call.symmetry.group)
    maps = EquivariantMaps(matrices.generators, matrices.elements)
    weight, bias = net[2].weight, net[2].bias
    strips = weight.data.split([3, 6, 9], 1)
    kept = []
    for strip, (rank, copies) in zip(strips, ((0, 3), (1, 2), (2, 1)), strict=True):
        basis = maps.basis(rank, 2)
        blocks = strip.reshape(9, copies, -1).transpose(0, 1).reshape(copies, -1)
        kept.append((blocks @ basis @ basis.mT).reshape(copies, 9, -1).transpose(0, 1).flatten(1))
    exact = torch.cat(kept, 1)
    # what no map has: a part of a block that the projector leaves nothing of
    away = weight.data - exact
    for size in (1e-2, 1e-4):
        single = nn.Sequential(nn.Linear(20, 18), nn.SiLU(), nn.Linear(18, 9))
        single[2].weight.data = (exact + size * away / away.norm()).float()
        single[2].bias.data = torch.zeros_like(bias.data).float()
        loss = Projection({"2": TYPES["2"]}, normalise=False)
        (other,) = calls_of(single, AXES[:1])
        value = loss(other)
        value.backward()
        # the weights themselves are rounded to 6e-8, which is 6e-4 of the smaller distance
        assert float(value) == pytest.approx(size**2 / 2, rel=3e-3)
        gradient = single[2].weight.grad
        assert gradient is not None
        assert float((gradient - size * away / away.norm()).norm()) < 3e-3 * size


def test_random_weights_measure_one_whatever_their_scale_and_the_group() -> None:
    net = GatedTensorNetwork("5x0 + 5x1", "1x2", 128, layers=3)
    sentences = [f"{group} on {SIDES}" for group in ("SO(3)", "about(z)", "scale", "SO(3) * scale", "O(3)")]
    loss, calls = Projection(), calls_of(net, sentences)
    first = torch.stack(loss.evaluate(calls))
    assert bool(((first - 1).abs() < 0.1).all())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 30
    torch.testing.assert_close(torch.stack(loss.evaluate(calls)), first)
    published = torch.stack(Projection(normalise=False).evaluate(calls))
    assert float(published.max() / published.min()) > 1.2


def test_descent_on_the_penalty_leads_to_an_equivariant_network() -> None:
    net = GatedTensorNetwork("5x0 + 5x1", "1x2", "4x0 + 3x1 + 2x2", layers=3, leak=0.0).double()
    symmetry = Symmetry.parse(AXES[0])
    calls = calls_of(net, [symmetry])
    linear = [p for m in net.modules() if isinstance(m, nn.Linear) for p in m.parameters()]
    loss = Projection(normalise=False)
    # the Hessian is a projector: one step of length 1 leads to its kernel
    slopes = torch.autograd.grad(loss(calls[0]), linear)
    with torch.no_grad():
        for parameter, slope in zip(linear, slopes, strict=True):
            parameter -= slope
    x = Rng(0).normal(6, 20, dtype=torch.float64)
    g, _ = symmetry.sample(x, 1, Rng(1))
    torch.testing.assert_close(net(symmetry.move_input(g, x)), symmetry.move_output(g, net(x)), rtol=0, atol=1e-6)


def test_a_chain_of_layers_is_typed_by_the_sentence() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 27), nn.SiLU(), nn.Linear(27, 3))
    (chain,) = calls_of(net, ["SO(3) on vector(3) -> pseudovector"], 6, 3)
    told = {"0": "2x1 -> 9x0 + 3x1 + 1x2", "2": "9x0 + 3x1 + 1x2 -> 1x1p"}
    torch.testing.assert_close(Projection()(chain), Projection(told)(chain))
    (scalars,) = calls_of(net, ["SO(3) on vector(3) -> label"], 6, 3)
    told["2"] = "9x0 + 3x1 + 1x2 -> 3x0"
    torch.testing.assert_close(Projection()(scalars), Projection(told)(scalars))


def test_groups_that_move_no_space_permute_its_axes() -> None:
    net = nn.Sequential(nn.Linear(5, 5)).double()
    net[0].weight.data = 0.3 * torch.eye(5).double() + 0.7
    net[0].bias.data.fill_(2.0)
    (call,) = calls_of(net, ["permutations(5) on tensors('1x1') -> tensors('1x1')"], 5, 5)
    loss = Projection({"0": "1x1 -> 1x1"})
    assert float(loss(call)) < 1e-10
    net[0].bias.data[0] += 1
    assert float(loss(call)) > 1e-4


def test_kernels_are_projected_by_the_average_over_quarter_turns() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(2, 3)).double()
    symmetry = Symmetry.parse("C4 on image -> label")
    x = torch.zeros(2, 3, 7, 7)
    symmetry.bind(x, torch.zeros(2, 3))
    call = Call(net, x, None, None, torch.zeros(2, 0), symmetry, Rng(0), 0, net)
    total = 0.0
    for layer in (net[0], net[2]):
        kernel = layer.weight.detach()
        mean = torch.stack([kernel.rot90(k, (2, 3)) for k in range(4)]).mean(0)
        total += float((kernel - mean).square().sum()) / 2
    assert float(Projection(normalise=False)(call)) == pytest.approx(total)
    with torch.no_grad():
        for layer in (net[0], net[2]):
            layer.weight.copy_(torch.stack([layer.weight.rot90(k, (2, 3)) for k in range(4)]).mean(0))
    assert float(Projection()(call)) < 1e-10


def test_groups_that_cut_a_kernel_differently_are_measured_together() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 8, 5)).double()
    calls = []
    for group in ("SO(2)", "C4", "D4"):
        symmetry = Symmetry.parse(f"{group} on image -> image")
        x = torch.zeros(2, 2, 5, 5)
        symmetry.bind(x, torch.zeros(2, 8, 5, 5))
        calls.append(Call(net, x, None, None, torch.zeros(2, 0), symmetry, Rng(0), 0, net))
    types = {"0": "1x1 -> 2x2"}
    for settings in ({}, {"form": "logmse"}):
        loss = Projection(types, **settings)
        together, alone = loss.evaluate(calls), [loss(call) for call in calls]
        torch.testing.assert_close(torch.stack(together), torch.stack(alone))
        sums = [torch.autograd.grad(sum(values), net.parameters()) for values in (together, alone)]
        for found, known in zip(*sums, strict=True):
            torch.testing.assert_close(found, known)


def test_plans_are_made_once_and_left_out_of_copies() -> None:
    net, loss = network(), Projection(TYPES)
    calls = calls_of(net, AXES)
    first = loss.evaluate(calls)
    plan = loss._plans[0]
    loss.evaluate(calls)
    loss.evaluate(calls[:1])
    assert loss._plans[0] is plan
    assert len(loss._plans) == 2
    assert list(loss.state_dict()) == []
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert twin._plans == []
        torch.testing.assert_close(torch.stack(twin.evaluate(calls)), torch.stack(first))


def test_compiled_networks_keep_their_names() -> None:
    net = network()
    expected = Projection(TYPES)(calls_of(net, AXES[:1])[0])
    compiled = torch.compile(net)
    torch.testing.assert_close(Projection(TYPES)(calls_of(compiled, AXES[:1])[0]), expected)
    tensors = GatedTensorNetwork("5x0 + 5x1", "1x2", "4x0 + 2x1", layers=2)
    inside = nn.Sequential(torch.compile(tensors))
    values = [Projection()(calls_of(module, AXES[:1])[0]) for module in (tensors, inside)]
    torch.testing.assert_close(*values)


def refused(loss: Projection, module: nn.Module, sentence: str, match: str) -> None:
    with pytest.raises(SymmetryError, match=match):
        loss.evaluate(calls_of(module, [sentence]))


def test_what_cannot_be_projected_is_refused_with_a_remedy() -> None:
    net = network()
    refused(Projection({"0": "5x0 + 5x1 -> 17x0", "2": TYPES["2"]}), net, AXES[0], "17 numbers .* 18 outputs of '0'")
    refused(Projection({"1": "5x0 -> 2x0"}), net, AXES[0], "'1', which is no Linear.*'0', '2'")
    refused(Projection({"layer.0": "5x0 + 5x1 -> 18x0"}), net, AXES[0], "Did you mean")
    refused(Projection({"0": "5x0 + 5x1"}), net, AXES[0], "input -> output")
    refused(Projection(), nn.Sequential(nn.SiLU()), AXES[0], "without Linear")
    loose = nn.ModuleList([nn.Linear(20, 18), nn.Linear(20, 9)])
    refused(Projection(), loose, AXES[0], "'0' with 18 outputs before '1' with 20 inputs")
    refused(Projection(), nn.Linear(20, 9), "about(z) on tensors('5x0 + 5x1') -> learned", "does not say")
    with pytest.raises(InvalidSetting, match="form='csd'"):
        Projection(form="csd")


def test_groups_without_fixed_matrices_are_refused() -> None:
    net = network()
    refused(Projection(TYPES), net, f"learned(2, dim=3, affine=False) on {SIDES}", "being learnt.*Freeze")
    frozen = Symmetry.parse(f"learned(2, dim=3, affine=False) on {SIDES}").requires_grad_(False)
    assert float(Projection(TYPES)(calls_of(net, [frozen])[0])) > 0.5


def test_types_that_every_map_keeps_are_refused() -> None:
    scalars = {"0": "20x0 -> 18x0", "2": "18x0 -> 9x0"}
    refused(Projection(scalars), network(), AXES[0], "all weights commute")


def test_the_right_axis_of_a_linear_map_is_ranked_first_for_every_seed() -> None:
    """The closed form of a penalised regression; known errors of 0.063, 0.037, 0.011 for four samples."""
    maps = []
    for axis in "zyx":
        found = Matrices.of(About(axis, mirrors=True))
        maps.append(EquivariantMaps(found.generators, found.elements))
    excess = torch.stack([m.complement(2, 2) for m in maps])

    def solve(x: Tensor, y: Tensor, strengths: Tensor) -> Tensor:
        hessian = 2 / len(x) * torch.kron(torch.eye(9).double(), x.mT @ x)
        hessian = hessian + torch.einsum("k,kij->ij", strengths, excess) + 1e-8 * torch.eye(81)
        return torch.linalg.solve(hessian, 2 / len(x) * (y.mT @ x).flatten())

    known = {4: (0.063, 0.037, 0.011), 6: (0.0365, 0.0160, 0.0014), 12: (0.0024, 0.0020, 0.0011)}
    for samples, expected in known.items():
        errors = []
        for seed in range(20):
            rng = Rng(seed)
            basis = maps[0].basis(2, 2)
            truth = basis @ rng.normal(basis.shape[1], dtype=torch.float64)
            truth = truth / truth.norm()
            x, noise = (rng.normal(samples, 9, dtype=torch.float64) for _ in range(2))
            y = x @ truth.view(9, 9).mT + 0.02 * noise
            equal = solve(x, y, torch.full((3,), 0.03).double())
            layer = nn.Linear(9, 9, bias=False).double()
            layer.weight.data = equal.view(9, 9)
            sentences = [f"about({axis}, mirrors=True) on tensors('1x2') -> tensors('1x2')" for axis in "zyx"]
            net = nn.Sequential(layer)
            loss = Projection({"0": "1x2 -> 1x2"}, normalise=False)
            measured = torch.stack(loss.evaluate(calls_of(net, sentences, 9, 9))).detach()
            assert int(measured.argmin()) == 0
            tuned = solve(x, y, 0.03 * (measured.min() / measured).square())
            found = [solve(x, y, torch.zeros(3).double()), equal, tuned]
            errors.append([float((w - truth).square().sum() / 9) for w in found])
        mean = torch.tensor(errors).mean(0)
        # the known figures are means over twenty other draws, of errors that scatter by a factor of two
        assert bool((mean < 2 * torch.tensor(expected)).all())
        assert bool((mean > torch.tensor(expected) / 2).all())
        assert mean[2] < mean[1]
