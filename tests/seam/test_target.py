"""Which call is the network: found, named, or asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_symmetry.exceptions import TargetError
from lightning_symmetry.losses import NormReward
from tests.seam.boring import Host, Pull, fit, gap_callback, make_callback, make_net, same, weights


class AutoEncoder(Host):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(2, 2), nn.Linear(2, 2)
        self.seen: list[Tensor] = []
        del self.net

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        z = self.encoder(x)
        self.seen.append(z.detach())
        return F.mse_loss(self.decoder(z), y)


def test_two_networks_are_listed() -> None:
    with pytest.raises(TargetError, match="module='encoder' or module='decoder'"):
        fit(AutoEncoder(), gap_callback())
    with pytest.raises(TargetError, match="module='encoder' or module='decoder'"):
        fit(AutoEncoder(), make_callback("vector -> vector", losses=[], probability=1.0))


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_a_name_picks_one(name: str) -> None:
    callback = gap_callback(module=name)
    fit(AutoEncoder(), callback)
    assert callback._tap.found == name and callback.step == 4


def test_moving_the_input_needs_no_choice() -> None:
    plain, ours = AutoEncoder(), AutoEncoder()
    ours.load_state_dict(plain.state_dict())
    fit(plain, limit_train_batches=1)
    callback = make_callback("SO(2) on vector -> scalar", losses=[], probability=1.0, module=None)
    fit(ours, callback, limit_train_batches=1)
    assert callback._tap.found == "encoder"
    assert not torch.allclose(plain.seen[0], ours.seen[0])


def test_losses_that_do_not_look_at_the_answer_need_no_choice() -> None:
    for losses in ([NormReward()], [Pull()]):
        callback = make_callback("vector -> scalar", losses=losses)
        fit(AutoEncoder(), callback)
        assert callback.step == 4


class Moody(Host):
    """Names that are nearly right."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = make_net(1), make_net(2)


@pytest.mark.parametrize(("wrong", "near"), [("bakbone", "backbone"), ("nett", "net"), ("head.7", "head.")])
def test_a_wrong_name_gets_close_matches(wrong: str, near: str) -> None:
    with pytest.raises(TargetError, match=f"module='{wrong}'.*{near}"):
        fit(Moody(), gap_callback(module=wrong))


def test_the_module_itself_has_a_name_too() -> None:
    class WholeHost(Host):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            x, y = batch
            return F.mse_loss(self(x), y)

    left, right = WholeHost(), Host()
    for host, callback in ((left, gap_callback(module=".")), (right, gap_callback(module="net"))):
        fit(host, callback)
    assert same(weights(left), weights(right))


def test_a_named_module_that_is_never_called_ends_the_first_epoch() -> None:
    host = Moody()
    with pytest.raises(TargetError, match="module='backbone', which no training step called.*'net'"):
        fit(host, gap_callback(module="backbone"), max_epochs=3)
    assert host.trainer.current_epoch == 0 and len(host.losses) == 4
    assert "training_step" not in vars(host)


class Silent(Host):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.losses.append(0.0)
        return sum(p.sum() for p in self.net.parameters()) * 0


class WithoutGradient(Host):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.losses.append(0.0)
        with torch.no_grad():
            self.net(batch[0])
        return sum(p.sum() for p in self.net.parameters()) * 0


class OnNoise(Host):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.losses.append(0.0)
        return self.net(torch.randn(3, 2)).sum()


@pytest.mark.parametrize("kind", [Silent, WithoutGradient, OnNoise])
def test_a_step_that_calls_no_network_on_the_batch_is_the_last(kind: type[Host]) -> None:
    host = kind()
    with pytest.raises(TargetError, match=r"called no submodule on data from the batch.*\['net'\]"):
        fit(host, gap_callback())
    assert len(host.losses) == 1


class Lazy(Host):
    """The network does not exist before configure_model, which runs after the callbacks' setup."""

    def __init__(self) -> None:
        super().__init__()
        self.net = None

    def configure_model(self) -> None:
        if self.net is None:
            self.net = make_net()


@pytest.mark.parametrize("name", [None, "net"])
def test_networks_that_are_built_late(name: str | None) -> None:
    left, right = Lazy(), Host()
    for host in (left, right):
        fit(host, gap_callback(module=name))
    assert same(weights(left), weights(right))


class Twice(Host):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return F.mse_loss(self.net(x), y) + F.mse_loss(self.net(x + 1), y)


def test_every_call_of_a_named_network_counts() -> None:
    with pytest.raises(TargetError, match=r"Name it: module='net' \("):
        fit(Twice(), gap_callback())
    callback, calls = gap_callback(module="net"), []
    original = callback.losses[0].forward
    callback.losses[0].forward = lambda call: calls.append(call.g.coordinates) or original(call)
    fit(Twice(), callback)
    assert len(calls) == 8
    assert all(torch.equal(a, b) for a, b in zip(calls[::2], calls[1::2], strict=True))


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.inner, self.reentrant = make_net(), reentrant

    def forward(self, x: Tensor) -> Tensor:
        return torch.utils.checkpoint.checkpoint(self.inner, x, use_reentrant=self.reentrant)


def test_gradient_checkpointing_changes_nothing() -> None:
    left, right = Host(Checkpointed(False)), Host(make_net())
    for host in (left, right):
        fit(host, gap_callback())
    trained = {k.replace("inner.", ""): v for k, v in weights(left).items()}
    assert all(torch.allclose(v, trained[k], atol=1e-6) for k, v in weights(right).items())
