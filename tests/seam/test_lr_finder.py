"""A learning-rate search trains the module without us, and restores us afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.tuner import Tuner

from tests.seam.boring import (
    Host,
    fit,
    gap_callback,
    make_callback,
    make_loader,
    make_trainer,
    own_weights,
    same,
    weights,
)
from tests.seam.by_hand import own_steps


def test_a_tuner_before_training() -> None:
    host, callback = Host(), gap_callback()
    trainer = make_trainer(callback)
    found = Tuner(trainer).lr_find(host, make_loader(), num_training=10, update_attr=False)
    assert found is not None and len(found.results["lr"]) > 1
    assert callback.step == 0 and not callback.symmetries[0].is_bound
    assert "training_step" not in vars(host)
    host.losses.clear()
    trainer.fit(host, make_loader())
    plain, other = Host(), gap_callback()
    fit(plain, other)
    assert same(weights(host), weights(plain)) and same(own_weights(callback), own_weights(other))


class Searching(LearningRateFinder):
    """Searches at the beginning of an epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__(num_training_steps=5, update_attr=False)
        self.epoch = epoch
        self.before: Any = None
        self.watched: Any = None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        if self.epoch == 0:
            super().on_fit_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if self.epoch and trainer.current_epoch == self.epoch:
            self.before = own_weights(self.watched), self.watched.step, own_steps(self.watched)
            self.lr_find(trainer, pl_module)
            assert same(self.before[0], own_weights(self.watched))
            assert self.before[1:] == (self.watched.step, own_steps(self.watched))


def test_a_search_at_the_start_of_fit() -> None:
    host, callback = Host(), gap_callback()
    fit(host, Searching(0), callback)
    plain, other = Host(), gap_callback()
    fit(plain, other)
    assert callback.step == 4 and len(host.losses) > 4
    assert same(weights(host), weights(plain)) and same(own_weights(callback), own_weights(other))
    assert "training_step" not in vars(host)


@pytest.mark.parametrize("name", [None, "net"])
def test_a_search_in_the_middle_restores_us(name: str | None) -> None:
    host, callback = Host(), make_callback("vector -> learned", module=name)
    searching = Searching(1)
    searching.watched = callback
    fit(host, searching, callback, max_epochs=2)
    assert searching.before is not None and searching.before[1] == 4
    assert callback.step == 8 and own_steps(callback) == 8
    assert "training_step" not in vars(host)


def test_a_batch_size_search_leaves_us_out() -> None:
    class Sized(Host):
        batch_size = 2

        def train_dataloader(self) -> Any:
            data = make_loader().dataset
            return torch.utils.data.DataLoader(data, batch_size=self.batch_size)

        val_dataloader = train_dataloader

    host, callback = Sized(), gap_callback()
    trainer = make_trainer(callback)
    Tuner(trainer).scale_batch_size(host, max_trials=2, steps_per_trial=2, mode="power")
    assert callback.step == 0 and "training_step" not in vars(host)
    trainer.fit(host)
    assert callback.step == len(host.train_dataloader())
