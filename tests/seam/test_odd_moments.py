"""Batches that are missing, checkpoints in the middle of a step, and a process whose default type is double."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.seam.boring import (
    Host,
    ManualHost,
    close,
    deal,
    fit,
    gap_callback,
    make_callback,
    make_data,
    own_weights,
    same,
    weights,
)
from tests.seam.by_hand import own_steps


@pytest.mark.parametrize("place", [0, 2])
def test_a_loader_may_give_nothing_for_a_batch(place: int) -> None:
    """Lightning skips it, and so does the symmetry: only its draws go on."""
    data: list[Any] = make_data()
    data.insert(place, None)
    host, callback = Host(), gap_callback()
    fit(host, callback, data=deal(data))
    assert callback.step == 5 and own_steps(callback) == 4 == len(host.losses)
    assert "training_step" not in vars(host) and "forward" not in vars(host.net)


class SumHost(Host):
    """Its loss is defined for a batch without rows as well."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        return self.note(F.mse_loss(self.net(x), y, reduction="sum") / 8)


@pytest.mark.parametrize(
    "build",
    [gap_callback, make_callback, lambda: make_callback(losses=[], probability=0.5)],
    ids=["gap", "default", "moving"],
)
def test_a_batch_without_rows_spoils_nothing(build: Any) -> None:
    data = make_data()
    data.insert(2, (torch.zeros(0, 2), torch.zeros(0, 2)))
    host, callback = SumHost(), build()
    fit(host, callback, data=deal(data))
    assert all(v.isfinite().all() for v in weights(host).values())
    assert all(v.isfinite().all() for v in own_weights(callback).values()) and callback.step == 5


class Saving(Host):
    """Saves a checkpoint at one moment of its third batch, as a cluster's signal would."""

    moment = ""

    def save(self, moment: str, batch_idx: int = 2) -> None:
        if moment == self.moment and self.trainer.fit_loop.epoch_loop.batch_idx == batch_idx == 2:
            self.trainer.save_checkpoint("middle.ckpt")

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.save("before")
        out = super().training_step(batch, batch_idx)
        self.save("within")
        return out

    def on_after_backward(self) -> None:
        self.save("backward")

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.save("step")


class ManualSaving(Saving, ManualHost):
    pass


@pytest.mark.parametrize("kind", [Saving, ManualSaving])
@pytest.mark.parametrize("moment", ["before", "within", "backward", "step"])
def test_a_checkpoint_may_be_taken_at_any_moment(kind: type[Saving], moment: str) -> None:
    """It holds what the batches before have made, and taking it changes nothing."""
    host, callback = kind(), gap_callback()
    host.moment = moment
    fit(host, callback)
    plain, other = kind(), gap_callback()
    fit(plain, other)
    assert same(weights(host), weights(plain)) and same(own_weights(callback), own_weights(other))
    saved = torch.load("middle.ckpt", weights_only=True)
    state = saved["callbacks"][callback.state_key]
    two = gap_callback()
    fit(kind(), two, limit_train_batches=2)
    assert state["step"] == 2
    assert all(torch.equal(value, two.symmetries[0].state_dict()[k]) for k, value in state["symmetries"][0].items())
    again = gap_callback()
    fit(kind(), again, ckpt="middle.ckpt", max_epochs=2)
    assert own_steps(again) > 2


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double")
def test_the_default_type_of_the_process_has_no_say() -> None:
    """Types are those of the data: single precision data are learnt from in single precision."""
    host, callback = Host().float(), gap_callback()
    data = [(x.float(), y.float()) for x, y in make_data()]
    fit(host, callback, data=deal(data))
    assert callback.symmetries[0].group.weight.dtype == torch.float32
    wide, other = Host(), gap_callback()
    fit(wide, other, data=deal([(x.double(), y.double()) for x, y in data]))
    assert other.symmetries[0].group.weight.dtype == torch.float64 and own_steps(other) == 4
    assert close({k: v.double() for k, v in own_weights(callback).items()}, own_weights(other), 1e-2)
