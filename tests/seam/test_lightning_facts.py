"""What the seam relies on in Lightning; where one of these fails after an upgrade, the seam has to be read again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.tuner import Tuner
from torch import Tensor

from tests.seam.boring import Host, ManualHost, fit, make_loader, make_trainer

ROOT = Path(__file__).parent.parent.parent


class Probe(Callback):
    """Notes when its hooks run, and what exists then."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.events.append(f"callback setup {stage == 'fit'} optimizers={bool(trainer.optimizers)}")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.events.append("callback load_state_dict")

    def state_dict(self) -> dict[str, Any]:
        return {"a": 1}

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        state = trainer.optimizers[0].state
        self.events.append(f"callback on_fit_start optimizers={len(trainer.optimizers)} restored={bool(state)}")

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.events.append(f"callback on_train_start restored={bool(trainer.optimizers[0].state)}")

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.events.append("callback on_train_end")

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self.events.append("callback on_fit_end")

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.events.append("callback teardown")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.events.append("callback on_exception")


class Noting(Host):
    def __init__(self, events: list[str]) -> None:
        super().__init__()
        self.events = events

    def setup(self, stage: str) -> None:
        self.events.append("module setup")

    def configure_model(self) -> None:
        self.events.append("module configure_model")

    def configure_optimizers(self) -> Any:
        self.events.append("module configure_optimizers")
        return super().configure_optimizers()


def test_the_order_of_hooks() -> None:
    events: list[str] = []
    fit(Noting(events), Probe(events)).save_checkpoint("model.ckpt")
    assert events == [
        "callback setup True optimizers=False",
        "module setup",
        "module configure_model",
        "module configure_optimizers",
        "callback on_fit_start optimizers=1 restored=False",
        "callback on_train_start restored=False",
        "callback on_train_end",
        "callback on_fit_end",
        "callback teardown",
    ]
    events.clear()
    fit(Noting(events), Probe(events), ckpt="model.ckpt", max_epochs=2)
    assert events.index("module configure_model") < events.index("callback load_state_dict")
    assert events.index("callback load_state_dict") < events.index("module configure_optimizers")
    assert "callback on_fit_start optimizers=1 restored=False" in events
    assert "callback on_train_start restored=True" in events


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_errors_reach_on_exception_and_not_teardown(error: type[BaseException]) -> None:
    events: list[str] = []
    host = Noting(events)
    host.on_after_backward = lambda: (_ for _ in ()).throw(error())
    with pytest.raises((error, SystemExit)):
        fit(host, Probe(events))
    assert "callback on_exception" in events and "callback teardown" not in events


def test_a_step_on_the_instance_is_honoured() -> None:
    host, calls = Host(), []
    original = host.training_step

    def step(batch: Any, batch_idx: int) -> Tensor:
        calls.append(batch_idx)
        return original(batch, batch_idx)

    host.__dict__["training_step"] = step
    fit(host)
    assert calls == [0, 1, 2, 3]


def test_the_signature_is_read_through_one_wrapper() -> None:
    """A wrapper without ``__wrapped__`` would be given a batch index that this step does not take."""

    class WithoutIndex(Host):
        def training_step(self, batch: Any) -> Tensor:
            x, y = batch
            return (self.net(x) - y).square().mean()

    host = WithoutIndex()
    original = host.training_step

    def step(*args: Any, **kwargs: Any) -> Tensor:
        return original(*args, **kwargs)

    host.__dict__["training_step"] = step
    with pytest.raises(TypeError):
        fit(host)
    step.__wrapped__ = original  # type: ignore[attr-defined]
    fit(host)


def test_the_loss_is_divided_after_the_step() -> None:
    seen: list[float] = []

    class Dividing(Callback):
        def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
            seen.append(float(loss.detach()))

    host = Host()
    fit(host, Dividing(), accumulate_grad_batches=2)
    assert torch.allclose(torch.tensor(seen) * 2, torch.tensor(host.losses))


def test_hooks_of_raw_optimizers() -> None:
    """Lightning's hook misses steps of the raw optimizer; torch's own does not."""

    class Raw(ManualHost):
        def training_step(self, batch: Any, batch_idx: int) -> None:
            self.optimizers(use_pl_optimizer=False).step()

    class Counting(Callback):
        announced = stepped = 0

        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            self.announced += 1

        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            for optimizer in trainer.optimizers:
                optimizer.register_step_post_hook(lambda *_: setattr(self, "stepped", self.stepped + 1))

    counting = Counting()
    fit(Raw(), counting)
    assert (counting.announced, counting.stepped) == (0, 4)


def test_a_missing_optimizer_is_a_stand_in_without_parameters() -> None:
    class Without(Host):
        def configure_optimizers(self) -> None:
            return None

    trainer = fit(Without())
    assert not any(optimizer.param_groups for optimizer in trainer.optimizers)


def test_a_search_takes_the_callbacks_away() -> None:
    events: list[str] = []
    host, probe, seen = Host(), Probe(events), []
    trainer = make_trainer(probe)
    host.on_train_batch_start = lambda batch, batch_idx: seen.append(probe in trainer.callbacks)
    Tuner(trainer).lr_find(host, make_loader(), num_training=3, update_attr=False)
    assert seen and not any(seen) and probe in trainer.callbacks


def test_metrics_may_be_added_at_the_end_of_training() -> None:
    class Adding(Callback):
        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            trainer.callback_metrics["late"] = torch.tensor(1.0)

    assert fit(Host(), Adding()).callback_metrics["late"] == 1


def test_a_project_on_the_other_lightning_gets_callbacks_of_its_kind() -> None:
    code = (
        "import pytorch_lightning as pl; from lightning_symmetry.callbacks.host import Callback;"
        "assert Callback is pl.Callback"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
