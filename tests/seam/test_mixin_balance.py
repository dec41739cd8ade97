"""A module's own symmetry loss with strengths that tune themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from lightning_symmetry.balancing import Balancer, by_name
from lightning_symmetry.exceptions import InvalidSetting
from tests.seam.boring import Gap, Host, close, deal, fit, make_data, make_net, same, weights
from tests.seam.mixin_hosts import Balanced
from tests.seam.regularized import make_regularizer
from tests.seam.test_resume import StatefulLoader

# numbers of their own, since nobody tells them the task's loss
KINDS = {
    "dual": "dual(0.002, rate=20.0, warmup=1, smoothing=0.5, relative=False)",
    "ratio": "ratio(start=3, window=2, strength=1.0, gate=10.0, repeat=True)",
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_callback_that_measures_all_at_once(kind: str) -> None:
    host, other = Balanced(balance=KINDS[kind]), Host()
    callback = make_regularizer(by_name(KINDS[kind]), candidates=host.symmetries(), losses=[Gap()], together=True)
    fit(host, max_epochs=2)
    fit(other, callback, max_epochs=2)
    assert close(weights(host.net), weights(other.net))
    told = {k: v.nan_to_num(-1.0) for k, v in callback.balance.state_dict().items()}
    assert close(host.learnt, told) and any(value > 0 for value in host.learnt["dual" if kind == "dual" else "factors"])


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_resumed_exactly(kind: str) -> None:
    whole, settings = Balanced(balance=KINDS[kind]), {"enable_checkpointing": True, "max_epochs": 2}
    saving = ModelCheckpoint(dirpath="saved", every_n_train_steps=1, save_top_k=-1, filename="{step}")
    fit(whole, saving, data=StatefulLoader(), **settings)
    for batch in (1, 3, 4):
        resumed = Balanced(balance=KINDS[kind])
        fit(resumed, data=StatefulLoader(), ckpt=f"saved/step={batch}.ckpt", **settings)
        assert len(resumed.losses) == 8 - batch and same(weights(whole.net), weights(resumed.net))
        assert same(whole.learnt, resumed.learnt)


class Told(Balancer):
    """Falls by half with everything that it is told."""

    measures = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []
        self.told: list[tuple[int, list[float]]] = []
        self.register_buffer("strength", torch.ones(()))

    def strengths(self, terms: int, step: int) -> list[float]:
        self.asked.append(float(self.strength))
        return [float(self.strength)] * terms

    def track(self, values: Tensor, step: int) -> None:
        self.told.append((step, values.tolist()))
        self.strength /= 2


class Often(Balanced):
    """Adds its loss on two maps, in closures that run again."""

    def __init__(self, balance: Any) -> None:
        super().__init__(make_net().double(), balance=balance)
        self.within: list[set[float]] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, target = batch
        asked, before = self.symmetry_parts.objective.balance.asked, len(self.within)
        start = len(asked)
        loss = F.mse_loss(self.net(x), target) + self.symmetry_loss(self.net, x) + self.symmetry_loss(self.net, -x)
        if before == batch_idx:
            self.within.append(set())
        self.within[-1] |= set(asked[start:])
        return self.note(loss)

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.net.parameters(), lr=0.5, max_iter=3)


def test_within_a_batch_strengths_stay() -> None:
    """Two calls and several closures a batch: it learns from the first, when the next batch begins."""
    balance = Told()
    host = Often(balance)
    fit(host, data=deal([(x.double(), y.double()) for x, y in make_data()]))
    assert len(host.losses) > 4 and host.within == [{1.0}, {0.5}, {0.25}, {0.125}]
    assert [step for step, _ in balance.told] == [0, 1, 2]
    assert host.state_dict()["symmetry_parts.objective.balance.strength"] == 1 / 16
    assert [step for step, _ in balance.told] == [0, 1, 2, 3]


def test_without_a_trainer_every_call_is_a_batch() -> None:
    host, (x, _) = Balanced(balance=Told()), make_data()[0]
    losses = [float(host.symmetry_loss(host.net, x).detach()) for _ in range(3)]
    assert host.symmetry_parts.objective.balance.strength == 0.25 and losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize("balance", ["dual", "ratio", "uncertainty", "gradnorm"])
def test_names_that_ask_for_the_tasks_loss_are_refused(balance: str) -> None:
    with pytest.raises(InvalidSetting, match="never learns the task's loss.*use a callback"):
        Balanced(balance=balance)
