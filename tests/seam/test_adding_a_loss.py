"""The host's gradient is that of its loss plus the penalty, however the loss is handed over."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_symmetry.exceptions import NoGradient
from lightning_symmetry.losses import Equivariance
from tests.seam.boring import ByHand, Host, ManualHost, close, fit, gap_callback, make_callback, make_data, make_net


class Reporting(Host):
    """Hands its loss over in one of the ways that Lightning knows; does not move, so that gradients can be read."""

    def __init__(self, hand_over: Any = None, net: nn.Module | None = None) -> None:
        super().__init__(net)
        self.hand_over = hand_over
        self.gradients: dict[str, Tensor] = {}
        self.outputs: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, target = batch
        y = self.net(x)
        loss = F.mse_loss(y, target)
        return loss if self.hand_over is None else self.hand_over(loss, y)

    def on_after_backward(self) -> None:
        self.gradients = {name: p.grad.clone() for name, p in self.net.named_parameters()}

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.outputs.append(outputs)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def gradients_by_hand(strength: float, weight: float = 1.0) -> dict[str, Tensor]:
    net = make_net()
    hand = ByHand(net, strength)
    x, target = make_data()[0]
    y = net(x)
    (weight * F.mse_loss(y, target) + hand.penalty(x, y)).backward()
    return {name: p.grad for name, p in net.named_parameters()}


WAYS = {
    "tensor": lambda loss, y: loss,
    "dict": lambda loss, y: {"loss": loss},
    "dict with more": lambda loss, y: {"loss": loss, "answer": y.detach(), "note": "kept", "number": 3},
    "another mapping": lambda loss, y: UserDict(loss=loss, note="kept"),
    "one element": lambda loss, y: loss[None],
}


@pytest.mark.parametrize("strength", [1.0, 0.25])
@pytest.mark.parametrize("way", WAYS)
def test_automatic_optimization(way: str, strength: float) -> None:
    host = Reporting(WAYS[way])
    fit(host, gap_callback(strength), limit_train_batches=1)
    assert close(host.gradients, gradients_by_hand(strength))


@pytest.mark.parametrize("way", ["dict with more", "another mapping"])
def test_extra_keys_are_kept(way: str) -> None:
    host, plain = Reporting(WAYS[way]), Reporting(WAYS[way])
    fit(host, gap_callback(), limit_train_batches=1)
    fit(plain, limit_train_batches=1)
    (ours,), (theirs,) = host.outputs, plain.outputs
    assert ours.keys() == theirs.keys() and ours["note"] == "kept"
    if "answer" in ours:
        assert torch.equal(ours["answer"], theirs["answer"]) and ours["number"] == 3


def test_the_mapping_itself_is_kept() -> None:
    made: list[Any] = []

    def hand_over(loss: Tensor, y: Tensor) -> Any:
        made.append({"loss": loss})
        return made[-1]

    fit(Reporting(hand_over), gap_callback(), limit_train_batches=1)
    assert made[0]["loss"].requires_grad


def test_none_is_a_skipped_batch() -> None:
    host = Reporting(lambda loss, y: None)
    callback = gap_callback()
    fit(host, callback)
    assert not host.gradients and callback.step == 4


def test_what_is_no_loss_is_refused() -> None:
    with pytest.raises(NoGradient, match="training step that returned tuple"):
        fit(Reporting(lambda loss, y: (loss, y)), gap_callback())


# ---------------------------------------------------------------- manual optimization


class Manual(ManualHost):
    """Keeps the gradients of its backward; does not move."""

    def __init__(self, backward: Any, net: nn.Module | None = None) -> None:
        super().__init__(net)
        self.do, self.gradients = backward, {}

    def training_step(self, batch: Any, batch_idx: int) -> None:
        x, target = batch
        self.optimizers().zero_grad()
        self.do(self, x, target)
        self.gradients = {name: p.grad.clone() for name, p in self.net.named_parameters() if p.grad is not None}
        self.optimizers().step()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def once(host: Manual, x: Tensor, target: Tensor) -> None:
    host.manual_backward(F.mse_loss(host.net(x), target))


def weighted(host: Manual, x: Tensor, target: Tensor) -> None:
    host.manual_backward(3 * F.mse_loss(host.net(x), target))


def twice(host: Manual, x: Tensor, target: Tensor) -> None:
    loss = F.mse_loss(host.net(x), target)
    host.manual_backward(loss, retain_graph=True)
    host.manual_backward(loss)


def in_parts(host: Manual, x: Tensor, target: Tensor) -> None:
    y = host.net(x)
    host.manual_backward(F.mse_loss(y[:, 0], target[:, 0]) / 2, retain_graph=True)
    host.manual_backward(F.mse_loss(y[:, 1], target[:, 1]) / 2)


def with_gradient_penalty(host: Manual, x: Tensor, target: Tensor) -> None:
    x = x.clone().requires_grad_()
    y = host.net(x)
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    plain = host.net[2](host.net[1](host.net[0](x)))
    (expected,) = torch.autograd.grad(plain.sum(), x)
    assert torch.allclose(slope, expected)
    host.manual_backward(F.mse_loss(y, target) + 0 * slope.sum())


def by_hand(host: Manual, x: Tensor, target: Tensor) -> None:
    F.mse_loss(host.net(x), target).backward()


@pytest.mark.parametrize("strength", [1.0, 0.25])
@pytest.mark.parametrize(
    ("backward", "weight"),
    [(once, 1), (weighted, 3), (twice, 2), (in_parts, 1), (with_gradient_penalty, 1), (by_hand, 1)],
)
def test_manual_optimization(backward: Any, weight: float, strength: float) -> None:
    host = Manual(backward)
    fit(host, gap_callback(strength, module="net"), limit_train_batches=1)
    assert close(host.gradients, gradients_by_hand(strength, weight))


class TwoAnswers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = make_net()

    def forward(self, x: Tensor) -> dict[str, Any]:
        y = self.inner(x)
        return {"features": self.inner[0](x), "answer": y, "note": "text"}


@pytest.mark.parametrize("used", ["features", "answer"])
def test_the_penalty_rides_on_whichever_answer_is_used(used: str) -> None:
    def backward(host: Manual, x: Tensor, target: Tensor) -> None:
        y = host.net(x)
        assert y["note"] == "text"
        host.manual_backward(y[used].square().mean())

    found = []
    for strength in (0.0, 1.0):
        host = Manual(backward, TwoAnswers())
        callback = make_callback("vector -> answer=vector", losses=[Equivariance()], balance=strength)
        fit(host, callback, limit_train_batches=1)
        found.append(host.gradients.get("inner.2.weight", torch.zeros(2, 8)))
    assert not torch.allclose(*found)
    assert found[0].any() == (used == "answer")


def test_an_output_without_gradient_is_refused() -> None:
    def backward(host: Manual, x: Tensor, target: Tensor) -> None:
        host.net(x)

    host = Manual(backward)
    host.net.requires_grad_(False)
    with pytest.raises(NoGradient, match="output of 'net' without gradient"):
        fit(host, gap_callback())
