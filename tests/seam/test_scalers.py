"""A gradient scaler changes neither the size of the generators' gradients nor when they count."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor

from tests.seam.boring import (
    ByHand,
    Host,
    close,
    fit,
    gap_callback,
    make_loader,
    make_net,
    own_weights,
)
from tests.seam.by_hand import assert_equal_to, hand_steps, own_steps, train_by_hand


class ScalerOnly(MixedPrecision):
    """A gradient scaler without lower precision, so that oracles are exact."""

    def __init__(self, scale: float = 2.0**10) -> None:
        super().__init__("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale))

    def autocast_context_manager(self) -> Any:
        return nullcontext()

    forward_context = train_step_context = val_step_context = autocast_context_manager


class Overflowing(Host):
    """Its second batch overflows."""

    def __init__(self, bad: int = 1, fused: bool = False) -> None:
        super().__init__()
        self.bad, self.fused = bad, fused

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        return loss * torch.inf if batch_idx == self.bad else loss

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.net.parameters(), lr=0.01, fused=self.fused)


class ManualOverflowing(Overflowing):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.optimizers().zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx))
        self.optimizers().step()


@pytest.mark.parametrize("bad", [-1, 1], ids=["all well", "one skipped"])
@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("kind", [Overflowing, ManualOverflowing])
def test_scalers(kind: type[Overflowing], fused: bool, bad: int) -> None:
    host, callback = kind(bad=bad, fused=fused), gap_callback()
    fit(host, callback, plugins=[ScalerOnly()])
    hand = ByHand(make_net())
    train_by_hand(hand, torch.optim.Adam(hand.net.parameters(), lr=0.01), skipped=(bad,))
    assert hand_steps(hand) == (4 if bad < 0 else 3)
    assert_equal_to(hand, host, callback, 1e-5)


def test_a_skipped_window_is_dropped_whole() -> None:
    host, callback = Overflowing(bad=1), gap_callback()
    fit(host, callback, data=make_loader(8), plugins=[ScalerOnly()], accumulate_grad_batches=2)
    hand = ByHand(make_net())
    train_by_hand(hand, torch.optim.Adam(hand.net.parameters(), lr=0.01), 8, window=2, skipped=(1,))
    assert_equal_to(hand, host, callback, 1e-5)


def test_half_precision_with_lightnings_own_plugin() -> None:
    runs = []
    for scale in (1.0, 2.0**12):
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
        host, callback = Host(), gap_callback()
        fit(host, callback, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
        runs.append(own_weights(callback))
    assert own_steps(callback) == 4
    assert close(*runs, 2e-2)


@pytest.mark.parametrize("error", [False, True])
def test_torchs_scaler_is_left_as_it_was(error: bool) -> None:
    """While training, its ``scale`` is watched, for scalers of which Lightning knows nothing."""
    before = torch.amp.GradScaler.scale
    host, callbacks = Host(), [gap_callback(name="a"), gap_callback(name="b")]
    watched: list[bool] = []
    host.on_train_batch_end = lambda *_: watched.append(torch.amp.GradScaler.scale is not before) or 1 / (not error)
    with pytest.raises(ZeroDivisionError) if error else nullcontext():
        fit(host, *callbacks)
    assert all(watched) and torch.amp.GradScaler.scale is before


def test_a_scaler_in_hooks_of_automatic_optimization_is_met_too() -> None:
    class Own(Host):
        def __init__(self) -> None:
            super().__init__()
            self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)

        def backward(self, loss: Tensor) -> None:
            self.scaler.scale(loss).backward()

        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, closure: Any) -> None:
            closure()
            self.scaler.step(optimizer.optimizer)
            self.scaler.update()

    arrived: list[float] = []
    for kind in (Own, Host):
        callback = gap_callback()
        host = kind()
        host.on_after_backward = lambda callback=callback: arrived.append(
            float(callback.symmetries[0].group.weight.grad.norm())
        )
        fit(host, callback, limit_train_batches=1)
    assert arrived[0] == pytest.approx(arrived[1], rel=1e-5) and arrived[1] > 0
