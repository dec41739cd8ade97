"""The wrapper for training loops of one's own."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_symmetry import Symmetry, average, conjugate, symmetrize
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SO, Learned
from lightning_symmetry.samplers import PCAFrames, Uniform


def net(inputs: int = 2, outputs: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, outputs))


@pytest.fixture
def x() -> Tensor:
    return Rng(0).normal(12, 2)


def test_evaluation_is_the_average_and_the_same_every_time(x: Tensor) -> None:
    wrapped = symmetrize(net(), "SO(2) on vector -> vector", n=3).eval()
    expected = average(net(), Symmetry.parse("SO(2) on vector -> vector"), 3, Rng(0))(x)
    torch.testing.assert_close(wrapped(x), expected)
    assert torch.equal(wrapped(x), wrapped(x))


def test_training_conjugates_by_one_element_a_sample(x: Tensor) -> None:
    wrapped = symmetrize(net(), "SO(2) on vector -> vector")
    symmetry = Symmetry.parse("SO(2) on vector -> vector")
    for step in range(2):
        g, _ = symmetry.sample(x, 1, Rng(0, step))
        torch.testing.assert_close(wrapped(x), conjugate(net(), g, symmetry)(x))


def test_frames_make_evaluation_exact() -> None:
    clouds = Rng(1).normal(5, 6, 3)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net(18, 1)

        def forward(self, pos: Tensor) -> Tensor:
            return self.net(pos.flatten(1))

    wrapped = symmetrize(Net(), Symmetry(PCAFrames(SO(3)), "pos=points", "scalar"), n=None).eval()
    turned = SO(3).sample(5, Rng(2), width=3.0)(clouds)
    torch.testing.assert_close(wrapped(turned), wrapped(clouds), atol=1e-5, rtol=0)


class TwoArguments(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = net(5, 3)

    def forward(self, pos: Tensor, mass: Tensor, scale: float = 1.0) -> dict[str, Tensor]:
        y = self.net(torch.cat((pos.flatten(1), mass), 1)) * scale
        return {"energy": y[:, :1], "force": y[:, 1:]}


def test_arguments_go_by_their_names() -> None:
    pos, mass = Rng(0).normal(6, 2, 2), Rng(1).normal(6, 1)
    wrapped = symmetrize(TwoArguments(), "C4 on pos=points, mass=scalar -> energy=scalar, force=vector", n=None).eval()
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    here, there = wrapped(pos, mass, scale=2.0), wrapped(pos=pos @ quarter.T, mass=mass, scale=2.0)
    torch.testing.assert_close(there["energy"], here["energy"])
    torch.testing.assert_close(there["force"], here["force"] @ quarter.T)


def test_parameters_of_the_symmetry_learn(x: Tensor) -> None:
    symmetry = Symmetry(Uniform(Learned(2, 1, affine=False), learnable=True), "vector", "vector")
    wrapped = symmetrize(net(), symmetry)
    wrapped(x).square().sum().backward()
    names = {name for name, parameter in wrapped.named_parameters() if parameter.grad is not None}
    assert {"symmetry.sampler._group.weight", "symmetry.sampler.raw_width", "module.0.weight"} <= names
    assert all(bool(p.grad.abs().sum() > 0) for p in wrapped.parameters() if p.grad is not None)


def test_late_parameters_are_not_left_out_of_an_optimizer(x: Tensor) -> None:
    with pytest.raises(InvalidSetting, match=r"\.bind\(x\)"):
        symmetrize(net(), "learned(1) on vector -> learned")(x)
    wrapped = symmetrize(net(), "learned(1) on vector -> learned").bind(x)
    known = {id(p) for p in wrapped.parameters()}
    wrapped(x)
    assert {id(p) for p in wrapped.parameters()} == known and len(known) == 6


def test_binding_leaves_buffers_alone() -> None:
    module = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))
    before = copy.deepcopy(module.state_dict())
    wrapped = symmetrize(module, "SO(2) on vector -> vector").bind(torch.randn(8, 2))
    wrapped.penalty(torch.randn(8, 2))
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_the_penalty_vanishes_exactly_with_the_symmetry(x: Tensor) -> None:
    sentence = "SO(2) on vector -> vector"

    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * x.norm(dim=1, keepdim=True)

    assert float(symmetrize(Scaled(), sentence).penalty(x)) < 1e-10
    broken = symmetrize(net(), sentence)
    penalty = broken.penalty(x)
    assert float(penalty) > 0.01
    penalty.backward()
    assert all(p.grad is not None for p in broken.module.parameters())


def test_the_penalty_has_no_units(x: Tensor) -> None:
    class Times(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.net, self.factor = net(), factor

        def forward(self, x: Tensor) -> Tensor:
            return self.factor * self.net(x)

    small, large = (symmetrize(Times(f), "SO(2) on vector -> vector").penalty(x) for f in (1e-3, 1e3))
    torch.testing.assert_close(small, large, rtol=1e-4, atol=0)


def test_the_module_saves_without_the_wrapper(x: Tensor) -> None:
    wrapped = symmetrize(net(), "SO(2) on vector -> vector")
    assert list(wrapped.module.state_dict()) == list(net().state_dict())
    nn.Sequential(*net()).load_state_dict(wrapped.module.state_dict())


def test_a_resumed_run_draws_on_where_it_stopped(x: Tensor) -> None:
    wrapped = symmetrize(net(), "learned(1) on vector -> learned").bind(x)
    wrapped(x)
    resumed = symmetrize(net(), "learned(1) on vector -> learned").bind(x)
    resumed.load_state_dict(wrapped.state_dict())
    expected = wrapped(x)
    torch.testing.assert_close(resumed(x), expected)
    twin = pickle.loads(pickle.dumps(wrapped))
    torch.testing.assert_close(twin(x), wrapped(x))


def test_the_global_generator_is_left_alone(x: Tensor) -> None:
    wrapped = symmetrize(net(), "SO(2) on vector -> vector")
    before = torch.random.get_rng_state()
    wrapped(x), wrapped.penalty(x), wrapped.eval()(x)
    assert torch.equal(before, torch.random.get_rng_state())


def train(wrapped: Any, x: Tensor, y: Tensor, steps: int) -> None:
    network = torch.optim.Adam(wrapped.module.parameters(), lr=1e-2)
    law = torch.optim.Adam(wrapped.symmetry.parameters(), lr=1e-2)
    for _ in range(steps):
        network.zero_grad()
        law.zero_grad()
        # a generator that the answers tolerate may grow
        norm = wrapped.symmetry.group.basis().norm()
        loss = (wrapped(x) - y).square().mean() + (wrapped.module(x) - y).square().mean() - 0.05 * norm.clamp(max=2)
        loss.backward()
        network.step()
        law.step()


@pytest.mark.slow  # a training
def test_a_plain_loop_learns_a_rotation() -> None:
    x = Rng(0).normal(512, 2)
    y = x.square().sum(1, keepdim=True).sqrt()
    wrapped = symmetrize(net(2, 1), Symmetry(Uniform(Learned(2, 1, affine=False)), "vector", "scalar"))
    train(wrapped, x, y, 1500)
    generator = wrapped.symmetry.group.basis()[0].detach()
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]]) / 2**0.5
    assert abs(float((generator * turn).sum() / generator.norm())) > 0.98
    assert float(generator.norm()) > 1.5
