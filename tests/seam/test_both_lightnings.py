"""The same callback under `lightning.pytorch` and under `pytorch_lightning`, which share no class."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.seam.boring import deal, make_callback, make_data, make_net, own_weights, same, weights

pytestmark = pytest.mark.slow


def build_host(package: ModuleType, manual: bool) -> Any:
    class Host(package.LightningModule):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net, self.automatic_optimization = make_net(), not manual

        def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
            x, y = batch
            loss = F.mse_loss(self.net(x), y)
            self.log("loss", loss)
            if not manual:
                return loss
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            return None

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            x, y = batch
            self.log("val/loss", F.mse_loss(self.net(x), y))

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.net.parameters(), lr=0.01)

    return Host()


def train(name: str, manual: bool, checkpoint: str | None = None, **settings: Any) -> tuple[Any, Any, Any]:
    package = importlib.import_module(name)
    host, callback = build_host(package, manual), make_callback()
    trainer = package.Trainer(
        callbacks=[callback, package.callbacks.ModelCheckpoint(dirpath=f"{name}_{manual}", monitor=None)],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 2, **settings},
    )
    trainer.fit(host, deal(make_data()), deal(make_data(2, seed=9)), ckpt_path=checkpoint)
    return trainer, host, callback


@pytest.mark.parametrize("manual", [False, True], ids=["automatic", "manual"])
def test_the_run_is_the_same(manual: bool) -> None:
    runs = [train(name, manual) for name in ("lightning.pytorch", "pytorch_lightning")]
    (_, left, ours), (trainer, right, theirs) = runs
    assert same(weights(left), weights(right)) and same(own_weights(ours), own_weights(theirs))
    assert ours.step == theirs.step == 8
    assert "training_step" not in vars(right) and "forward" not in vars(right.net)
    assert len(theirs.discoveries) == 1 and theirs.discoveries[0].held_out == "validation"
    assert any(name.startswith("symmetry/") for name in trainer.callback_metrics)


@pytest.mark.parametrize("manual", [False, True], ids=["automatic", "manual"])
def test_runs_resume_across(manual: bool) -> None:
    """A checkpoint of one is continued by the other."""
    _, whole, callback = train("lightning.pytorch", manual)
    half, _, _ = train("pytorch_lightning", manual, max_epochs=1)
    half.save_checkpoint("half.ckpt")
    _, resumed, other = train("lightning.pytorch", manual, "half.ckpt")
    assert same(weights(whole), weights(resumed)) and same(own_weights(callback), own_weights(other))


def test_nothing_is_left_after_an_error() -> None:
    package = importlib.import_module("pytorch_lightning")
    host, callback = build_host(package, False), make_callback()
    host.on_after_backward = lambda: 1 / 0
    trainer = package.Trainer(
        callbacks=[callback], accelerator="cpu", logger=False, enable_checkpointing=False, max_epochs=1
    )
    with pytest.raises(ZeroDivisionError):
        trainer.fit(host, deal(make_data()))
    assert "training_step" not in vars(host) and "forward" not in vars(host.net)
