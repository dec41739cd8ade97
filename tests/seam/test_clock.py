"""The generators step when the host steps, on the gradients that a loop with the penalty written out would give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.seam.boring import (
    ByHand,
    Gap,
    Host,
    ManualHost,
    Pull,
    close,
    deal,
    fit,
    gap_callback,
    make_callback,
    make_data,
    make_loader,
    make_net,
    own_weights,
    weights,
)
from tests.seam.by_hand import assert_equal_to, hand_steps, own_steps, train_by_hand


class RawHost(ManualHost):
    """Steps torch's own optimizer, past Lightning's hooks."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        optimizer = self.optimizers(use_pl_optimizer=False)
        optimizer.zero_grad()
        self.manual_backward(F.mse_loss(self.net(x), y))
        optimizer.step()


class ClosureHost(ManualHost):
    """Manual optimization with a closure."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch

        def closure() -> Tensor:
            self.optimizers().zero_grad()
            loss = F.mse_loss(self.net(x), y)
            self.manual_backward(loss)
            return loss

        self.optimizers().step(closure=closure)


@pytest.mark.parametrize("kind", [Host, ManualHost, RawHost, ClosureHost])
@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_every_batch(kind: type[Host], strength: float) -> None:
    host, callback = kind(), gap_callback(strength)
    fit(host, callback)
    hand = ByHand(make_net(), strength)
    train_by_hand(hand, torch.optim.Adam(hand.net.parameters(), lr=0.01))
    assert_equal_to(hand, host, callback)


def test_two_losses_and_a_learned_output() -> None:
    host = Host()
    callback = make_callback("vector -> learned", losses=[Gap(), Pull()], balance=[1.0, 0.2], lr=0.02)
    fit(host, callback)
    hand = ByHand(make_net(), 1.0, lr=0.02, pull=0.2, sentence="vector -> learned")
    train_by_hand(hand, torch.optim.Adam(hand.net.parameters(), lr=0.01))
    assert_equal_to(hand, host, callback)


@pytest.mark.parametrize("batches", [6, 8])
def test_accumulation(batches: int) -> None:
    """Eight batches in windows of three: the last window is short, and Lightning divides it by three all the same."""
    host, callback = Host(), gap_callback()
    fit(host, callback, data=make_loader(batches), accumulate_grad_batches=3)
    hand = ByHand(make_net())
    train_by_hand(hand, torch.optim.Adam(hand.net.parameters(), lr=0.01), batches, window=3)
    assert hand_steps(hand) == -(-batches // 3)
    assert_equal_to(hand, host, callback)


class AccumulatingByHand(ManualHost):
    def training_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.manual_backward(F.mse_loss(self.net(x), y) / 2)
        if batch_idx % 2:
            self.optimizers().step()
            self.optimizers().zero_grad()


def test_accumulation_under_manual_optimization() -> None:
    host, callback = AccumulatingByHand(), gap_callback()
    fit(host, callback)
    net = make_net()
    hand = ByHand(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for i, (x, target) in enumerate(make_data()):
        y = net(x)
        (F.mse_loss(y, target) / 2 + hand.penalty(x, y)).backward()  # the callback cannot know of the 2
        hand.step += 1
        if i % 2:
            optimizer.step(), hand.own.step()
            optimizer.zero_grad(), hand.own.zero_grad()
    assert_equal_to(hand, host, callback)


@pytest.mark.parametrize("by", ["norm", "value"])
def test_clipping_is_the_hosts_own(by: str) -> None:
    host, callback = Host(), gap_callback()
    fit(host, callback, gradient_clip_val=0.01, gradient_clip_algorithm=by)
    if by == "norm":
        hand = ByHand(make_net())
        train_by_hand(hand, torch.optim.Adam(hand.net.parameters(), lr=0.01), clip=0.01)
        assert_equal_to(hand, host, callback)
    assert own_steps(callback) == 4


class TwoOptimizers(ManualHost):
    """One steps on every batch, the other on every third; on every fourth batch nobody does."""

    def __init__(self) -> None:
        super().__init__()
        self.head = make_net(5)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        first, second = self.optimizers()
        self.manual_backward(F.mse_loss(self.net(x), y) + F.mse_loss(self.head(x), y))
        if batch_idx % 4 < 3:
            first.step()
        if batch_idx % 3 == 0 and batch_idx % 4 < 3:
            second.step()
        if batch_idx % 4 < 3:
            first.zero_grad()
            second.zero_grad()

    def configure_optimizers(self) -> Any:
        return (
            torch.optim.SGD(self.net.parameters(), lr=0.1),
            torch.optim.SGD(self.head.parameters(), lr=0.1),
        )


def test_several_optimizers_count_as_one_step() -> None:
    host, callback = TwoOptimizers(), gap_callback(module="net")
    fit(host, callback, data=make_loader(8))
    net = make_net()
    hand, optimizer = ByHand(net), torch.optim.SGD(net.parameters(), lr=0.1)
    for i, batch in enumerate(make_data(8)):
        hand.loss(batch).backward()
        hand.step += 1
        if i % 4 < 3:
            optimizer.step(), hand.own.step()
            optimizer.zero_grad(), hand.own.zero_grad()
    assert hand_steps(hand) == 6
    assert_equal_to(hand, host, callback)


class NewtonHost(Host):
    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.net.parameters(), lr=0.5, max_iter=5, line_search_fn="strong_wolfe")


class ManualNewtonHost(ClosureHost):
    configure_optimizers = NewtonHost.configure_optimizers


def test_closures_that_are_called_many_times_count_once() -> None:
    # in double precision, since a line search magnifies rounding
    host, callback, data = NewtonHost().double(), gap_callback(), [(x.double(), y.double()) for x, y in make_data()]
    fit(host, callback, data=deal(data))
    hand = ByHand(make_net().double())
    hand.symmetry.double()
    optimizer, calls = NewtonHost.configure_optimizers(hand), 0
    for batch in data:

        def closure(batch: Any = batch) -> Tensor:
            nonlocal calls
            calls += 1
            optimizer.zero_grad(), hand.own.zero_grad()
            loss = hand.loss(batch)
            loss.backward()
            return loss

        optimizer.step(closure)
        hand.own.step()
        hand.step += 1
    assert calls > 8
    assert_equal_to(hand, host, callback)


@pytest.mark.parametrize("module", [None, "net"])
def test_closures_under_manual_optimization_count_their_last_gradient(module: str | None) -> None:
    # without a line search, which would look at the returned loss, where manual optimization has no penalty
    def configure(host: Host) -> Any:
        return torch.optim.LBFGS(host.net.parameters(), lr=0.5, max_iter=5)

    manual, automatic = gap_callback(module=module), gap_callback(module=module)
    kinds = [type(kind.__name__, (kind,), {"configure_optimizers": configure}) for kind in (ClosureHost, Host)]
    hosts = [kind().double() for kind in kinds]
    data = [(x.double(), y.double()) for x, y in make_data()]
    for host, callback in zip(hosts, (manual, automatic), strict=True):
        fit(host, callback, data=deal(data))
    assert own_steps(manual) == manual.step == 4
    assert close(own_weights(manual), own_weights(automatic), 1e-6)
    assert close(weights(hosts[0]), weights(hosts[1]), 1e-6)


@pytest.mark.parametrize("kind", [NewtonHost, ManualNewtonHost])
def test_the_elements_are_the_same_in_every_closure(kind: type[Host]) -> None:
    seen: dict[int, list[Tensor]] = {}

    class Noting(Gap):
        def forward(self, call: Any) -> Tensor:
            seen.setdefault(call.step, []).append(call.g.coordinates.clone())
            return super().forward(call)

    fit(kind(), make_callback(losses=[Noting()], module="net"))
    assert set(seen) == {0, 1, 2, 3}
    for draws in seen.values():
        assert len(draws) > 1 and all(torch.equal(draws[0], draw) for draw in draws)
    assert not torch.equal(seen[0][0], seen[1][0])


class Frozen(Host):
    def configure_optimizers(self) -> None:
        return None


def test_without_optimizers_the_generators_learn_alone() -> None:
    host, callback = Frozen(), gap_callback()
    fit(host, callback)
    hand = ByHand(make_net())
    train_by_hand(hand, None)
    assert_equal_to(hand, host, callback)


class Skipping(Host):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        return None if batch_idx == 1 else loss


def test_a_step_without_loss_leaves_no_gradient() -> None:
    host, callback = Skipping(), gap_callback()
    fit(host, callback)
    hand, data = ByHand(make_net()), make_data()
    optimizer = torch.optim.Adam(hand.net.parameters(), lr=0.01)
    for i, batch in enumerate(data):
        optimizer.zero_grad(), hand.own.zero_grad()
        if i != 1:
            hand.loss(batch).backward()
            hand.own.step()
            optimizer.step()
        hand.step += 1
    assert_equal_to(hand, host, callback)
