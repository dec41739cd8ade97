"""A second forward leaves buffers, random numbers and the host's own answers as they were."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_symmetry.callbacks.penalty import inject_penalty
from lightning_symmetry.callbacks.second_pass import RandomState, make_second_pass
from lightning_symmetry.callbacks.tap import Site
from lightning_symmetry.losses import Call, Loss
from tests.seam.boring import (
    ROWS,
    Host,
    deal,
    fit,
    make_callback,
    make_data,
    make_loader,
    make_noisy_net,
    same,
    weights,
)


class Recording(Host):
    """Does not learn, so that only what a forward does to buffers and random numbers is left."""

    def __init__(self) -> None:
        super().__init__(make_noisy_net())
        self.seen: list[Tensor] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        answer = self.net(x)
        self.seen.append(answer.detach().clone())
        return F.mse_loss(answer, y) * 0 + torch.rand(()) * 0

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def test_outputs_buffers_and_random_numbers_are_the_hosts_own() -> None:
    runs = []
    for callbacks in ([], [make_callback()]):
        host = Recording()
        torch.manual_seed(11)
        fit(host, *callbacks)
        runs.append((host.seen, weights(host), torch.get_rng_state()))
    (seen, kept, state), (ours, ours_kept, ours_state) = runs
    assert all(torch.equal(a, b) for a, b in zip(seen, ours, strict=True))
    assert same(kept, ours_kept) and torch.equal(state, ours_state)
    assert kept["net.1.num_batches_tracked"] == 4


class SamePoint(Loss):
    """Asks for f at the very same input."""

    differences: list[float]

    def forward(self, call: Call) -> Tensor:
        y, again = call.y, call.f(call.x)
        self.differences.append(float((again - y).abs().max()))
        assert torch.equal(call.f(call.x), again)
        return (again - y).square().mean(1)


def test_passes_share_dropout_masks() -> None:
    loss = SamePoint()
    loss.differences = []
    torch.manual_seed(0)
    fit(Host(make_noisy_net()), make_callback(losses=[loss]))
    assert len(loss.differences) == 4 and max(loss.differences) == 0.0


def test_replay_puts_the_state_back_even_after_an_error() -> None:
    before = RandomState(torch.device("cpu"))
    first = torch.rand(3)
    now = torch.get_rng_state()
    with pytest.raises(ValueError), before.replayed():
        assert torch.equal(torch.rand(3), first)
        raise ValueError
    assert torch.equal(torch.get_rng_state(), now)


class Queue(nn.Module):
    """Buffers that are written in place, replaced, and tied."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.register_buffer("queue", torch.zeros(5, 2))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))
        self.register_buffer("mean", torch.zeros(2))
        self.tied = self.mean

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.queue[self.place] = x[0]
            self.place.add_(1)
            self.mean = 0.9 * self.mean + x.mean(0)
        return self.inner(x) + self.queue.sum(0)


def test_queues_advance_once_a_step() -> None:
    net = Queue()
    before = {name: buffer for name, buffer in net.named_buffers()}
    site = Site("net", net, net.forward)
    second = make_second_pass(site, RandomState(torch.device("cpu")))
    second({"x": torch.ones(3, 2)})
    assert {name: id(b) for name, b in net.named_buffers()} == {name: id(b) for name, b in before.items()}
    assert not net.queue.any() and not net.place and not net.mean.any()
    host = Host(net)
    fit(host, make_callback(losses=[SamePointFree()]), limit_train_batches=3)
    assert int(net.place) == 3


class SamePointFree(Loss):
    def forward(self, call: Call) -> Tensor:
        return call.answers[0].square().mean(1)


def test_gradients_flow_through_a_second_pass() -> None:
    net = make_noisy_net().eval()
    x = torch.randn(ROWS, 2)
    second = make_second_pass(Site("net", net, net.forward), RandomState(torch.device("cpu")))
    gradients = []
    for f in (net, lambda x: second({"input": x})):
        net.zero_grad()
        f(x).square().sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def injected(y: Tensor, penalty: Tensor, scale: float = 1.0) -> Tensor:
    return inject_penalty({"": y}, penalty, lambda: scale)[""]


def test_a_penalty_is_differentiated_once() -> None:
    w = torch.tensor(2.0, requires_grad=True)
    y = injected(w * torch.ones(3), w**2, scale=8.0)
    assert torch.equal(y, 2 * torch.ones(3))
    loss = y.sum()
    loss.backward(retain_graph=True)
    assert w.grad == 3 + 8 * 4
    w.grad = None
    loss.backward()
    assert w.grad == 3


def test_a_penalty_rides_on_whichever_output_is_used() -> None:
    for used in ("a", "b", "ab"):
        w = torch.tensor(2.0, requires_grad=True)
        leaves = inject_penalty({"a": 3 * w, "b": 5 * w}, w**2, lambda: 1.0)
        sum(leaves[name] for name in used).backward()
        assert w.grad == {"a": 3, "b": 5, "ab": 8}[used] + 4


def test_gradients_of_the_hosts_own_stay_as_they_are() -> None:
    """Forces are gradients of an energy that is differentiated again."""
    w, x = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    energy = injected(w * x**2, (w * x) ** 2)
    (force,) = torch.autograd.grad(energy, x, create_graph=True)
    assert force == 12
    (force + energy).backward()
    # d force / dw = 6, d energy / dw = 9, d penalty / dw = 36
    assert w.grad == 6 + 9 + 36


def test_mixed_precision_keeps_types() -> None:
    loader = make_loader()
    host = Host(make_noisy_net())
    fit(host, make_callback(), data=loader, precision="bf16-mixed")
    assert all(p.dtype == torch.float32 for p in host.parameters())
    for precision, dtype in (("64-true", torch.float64), ("bf16-true", torch.bfloat16)):
        host, callback = Host(), make_callback()
        data = [(x.to(dtype), y.to(dtype)) for x, y in make_data()]
        fit(host, callback, data=deal(data), precision=precision)
        assert all(p.dtype == dtype for p in host.parameters())
        assert callback.symmetries[0].group.weight.dtype == torch.promote_types(dtype, torch.float32)
        assert callback.discoveries and callback.step == 4


@pytest.mark.parametrize("sentence", ["vector -> vector", "vector -> learned"])
def test_an_answer_may_be_of_another_type_than_the_input(sentence: str) -> None:
    class Narrowing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x.float())

    callback = make_callback(sentence)
    data = [(x.double(), y) for x, y in make_data()]
    fit(Host(Narrowing()), callback, data=deal(data))
    assert callback.symmetries[0].group.weight.dtype == torch.float64 and callback.step == 4
