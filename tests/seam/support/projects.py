"""Rows of the support table on command lines, configurations and the other Lightning."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LightningCLI
from torch import Tensor

from lightning_symmetry.losses import Equivariance
from tests.seam.boring import deal, fit, make_data, make_net
from tests.seam.support.balanced import CANDIDATES
from tests.seam.support.columns import Augmenting, Column, Extracting, Regularizing
from tests.seam.support.hosts import Data, Plain
from tests.seam.support.saving import assert_same_end

LOSS = "lightning_symmetry.losses.Equivariance"
QUIET = {
    "max_epochs": 1,
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def arguments(column: Column) -> dict[str, Any]:
    """Plain values, as configurations hold them; losses are left out."""
    if isinstance(column, Augmenting):
        return {"symmetries": column.sentence, "probability": column.probability, "lr": 0.02}
    if isinstance(column, Regularizing):
        return {"symmetries": CANDIDATES, "balance": "dual(0.05, rate=1.0, warmup=0)", "together": True}
    if isinstance(column, Extracting):
        return {"symmetries": column.sentence, "when": "validation", "every_n": 2}
    return {"metric": "loss", "at_least": 0.0}


def reference(column: Column) -> tuple[Any, list[Any]]:
    """The same in Python."""
    host, made = Plain(), type(column.build()[0])(**arguments(column), **losses(column, [Equivariance()]))
    fit(host, made)
    return host, [made]


def losses(column: Column, given: list[Any]) -> dict[str, Any]:
    if isinstance(column, Regularizing):
        return {"losses": given}
    if not isinstance(column, Augmenting):
        return {}
    return {"losses": given, "balance": [column.strength]} if column.strength else {"losses": []}


def write(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def run_from_a_command_line(column: Column) -> None:
    """By flags, and again from the configuration that the first run prints."""
    host, made = reference(column)
    kind = type(column.build()[0]).__name__
    given = {**arguments(column), **losses(column, [{"class_path": LOSS}])}
    flags = [f"--trainer.{name}={write(value)}" for name, value in QUIET.items()]
    flags += [f"--trainer.callbacks+=lightning_symmetry.callbacks.{kind}"]
    flags += [f"--trainer.callbacks.{name}={write(value)}" for name, value in given.items()]
    first = LightningCLI(Plain, Data, args=flags, run=False, save_config_callback=None)
    Path("run.yaml").write_text(first.parser.dump(first.config))
    again = LightningCLI(Plain, Data, args=["--config=run.yaml"], run=False, save_config_callback=None)
    for line in (first, again):
        line.trainer.fit(line.model, line.datamodule)
        added = [c for c in line.trainer.callbacks if type(c).__name__ == kind]
        assert_same_end(column, (host, made), (line.model, added))


def run_from_hydra(column: Column) -> None:
    """Hydra hands over containers of its own; what is saved holds none of them."""
    hydra, omegaconf = (pytest.importorskip(name) for name in ("hydra.utils", "omegaconf"))
    host, made = reference(column)
    kind = type(column.build()[0]).__name__
    given = {**arguments(column), **losses(column, [{"_target_": LOSS}])}
    if isinstance(given.get("symmetries"), str):
        given["symmetries"] = [given["symmetries"]]
    config = omegaconf.OmegaConf.create({"_target_": f"lightning_symmetry.callbacks.{kind}", **given})
    other, again = Plain(), [hydra.instantiate(config)]
    fit(other, *again).save_checkpoint("hydra.ckpt")
    assert_same_end(column, (host, made), (other, again))
    torch.load("hydra.ckpt", weights_only=True)


def run_under_the_other_lightning(column: Column) -> None:
    """The run under `pytorch_lightning` is that under `lightning`, automatic and manual, to the last bit."""
    for manual in (False, True):
        runs = []
        for name in ("lightning.pytorch", "pytorch_lightning"):
            package = importlib.import_module(name)
            host, added = column.host(build_host(package), manual), column.build()
            trainer = package.Trainer(callbacks=added, **{**QUIET, "max_epochs": 2})
            trainer.fit(host, deal(make_data()), deal(make_data(2, seed=9)))
            assert column.metric in trainer.callback_metrics
            assert not {"training_step", "forward"} & vars(host).keys()
            runs.append((host, added))
        assert_same_end(column, *runs)


def build_host(package: ModuleType) -> type[Any]:
    class Host(package.LightningModule):  # type: ignore[name-defined]
        def __init__(self, manual: bool) -> None:
            super().__init__()
            self.net, self.automatic_optimization = make_net(), not manual

        def answer(self, x: Tensor) -> Tensor:
            return self.net(x)

        def measure(self, batch: Any) -> Tensor:
            x, y = batch
            loss = F.mse_loss(self.answer(x), y)
            self.log("loss", loss.detach())
            return loss

        def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
            loss = self.measure(batch)
            if self.automatic_optimization:
                return loss
            self.optimizers().zero_grad()
            self.manual_backward(loss)
            self.optimizers().step()
            return None

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            x, y = batch
            self.log("val/loss", F.mse_loss(self.net(x), y))

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.net.parameters(), lr=0.01)

    return Host
