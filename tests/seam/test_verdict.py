"""When the verdict is made, on which inputs, and what of it can be monitored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from lightning_symmetry.callbacks import augmentation, reservoir
from lightning_symmetry.callbacks.reservoir import Reservoir
from lightning_symmetry.symmetry import Symmetry
from tests.seam.boring import (
    Host,
    fit,
    make_callback,
    make_data,
    make_loader,
    make_noisy_net,
    same,
    weights,
)


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The inputs on which verdicts were made."""
    seen: list[Tensor] = []
    assemble = augmentation.assemble

    def note(f: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(x["input"])
        return assemble(f, x, *args, **kwargs)

    monkeypatch.setattr(augmentation, "assemble", note)
    return seen


def rows(batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    return torch.cat([x for x, _ in batches])


def test_validation_inputs_where_there_are_some(inputs: list[Tensor]) -> None:
    callback = make_callback()
    fit(Host(), callback, val=make_loader(3, seed=5), max_epochs=2)
    (x,) = inputs
    assert torch.equal(x, rows(make_data(3, seed=5)))
    assert callback.discoveries[0].held_out == "validation"


def test_training_inputs_otherwise(inputs: list[Tensor]) -> None:
    callback = make_callback()
    fit(Host(), callback)
    (x,) = inputs
    assert torch.equal(x, rows(make_data()))
    assert callback.discoveries[0].held_out == "training"


@pytest.mark.parametrize(
    "settings", [{"check_val_every_n_epoch": 5}, {"limit_val_batches": 0}, {"max_steps": 2}], ids=str
)
def test_training_inputs_where_validation_never_came(inputs: list[Tensor], settings: dict[str, Any]) -> None:
    callback = make_callback()
    fit(Host(), callback, val=make_loader(3, seed=5), **settings)
    assert callback.discoveries[0].held_out == "training"
    assert torch.equal(inputs[0], rows(make_data())[: len(inputs[0])])


class Deaf(Host):
    """Its validation does not use the network."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass


def test_training_inputs_where_validation_does_not_call_the_network() -> None:
    callback = make_callback()
    fit(Deaf(), callback, val=make_loader(3, seed=5))
    assert callback.discoveries[0].held_out == "training"


def test_the_last_round_of_validation_counts(inputs: list[Tensor]) -> None:
    fit(Host(), make_callback(), val=make_loader(2, seed=5), val_check_interval=2, max_epochs=2)
    assert len(inputs[0]) == 16


def test_a_sanity_check_does_not_count() -> None:
    class Counting(Host):
        checked = 0

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.checked += self.trainer.sanity_checking
            super().validation_step(batch, batch_idx)

    host, callback = Counting(), make_callback()
    fit(host, callback, val=make_loader(2, seed=5), check_val_every_n_epoch=9, num_sanity_val_steps=2)
    assert host.checked == 2 and callback.discoveries[0].held_out == "training"


def test_several_loaders() -> None:
    class Two(Host):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            super().validation_step(batch, batch_idx)

    callback = make_callback()
    fit(Two(), callback, val=[make_loader(2, seed=5), make_loader(1, seed=6)])
    assert callback.discoveries[0].held_out == "validation"


def test_a_verdict_leaves_the_network_as_it_was() -> None:
    host = Host(make_noisy_net())
    host.net[1].eval()
    modes = [m.training for m in host.net.modules()]
    before: dict[str, Any] = {}
    callback = make_callback()
    conclude = callback.conclude

    def watch(trainer: Any, module: Any) -> None:
        before.update(weights(host))
        state = torch.get_rng_state()
        conclude(trainer, module)
        assert torch.equal(state, torch.get_rng_state())

    callback.conclude = watch
    host.on_train_epoch_start = lambda: host.net[1].eval()
    fit(host, callback)
    assert callback.discoveries and same(before, weights(host))
    assert [m.training for m in host.net.modules()] == modes


def test_after_an_error_there_is_no_verdict_but_what_was_learnt() -> None:
    class Failing(Host):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 2:
                raise ValueError

    callback = make_callback()
    with pytest.raises(ValueError):
        fit(Failing(), callback)
    assert not callback.discoveries and callback.step >= 2 and callback.symmetries[0].is_complete


# ---------------------------------------------------------------- ways to run a trainer


@pytest.mark.parametrize(
    "settings",
    [
        {"fast_dev_run": True},
        {"fast_dev_run": 2},
        {"barebones": True},
        {"limit_train_batches": 1},
        {"limit_train_batches": 0.5},
        {"overfit_batches": 1},
        {"max_steps": 3},
        {"max_epochs": 2, "val_check_interval": 0.5},
        {"max_time": {"hours": 1}},
        {"reload_dataloaders_every_n_epochs": 1},
        {"detect_anomaly": True},
        {"log_every_n_steps": 1},
        {"logger": True},
    ],
    ids=str,
)
def test_trainers(settings: dict[str, Any]) -> None:
    if settings.get("logger"):
        settings = {"logger": CSVLogger("logs")}
    host, callback = Host(), make_callback()
    barebones = {
        "logger": None,
        "enable_checkpointing": None,
        "enable_progress_bar": None,
        "enable_model_summary": None,
    }
    trainer = fit(
        host, callback, val=make_loader(2, seed=5), **(barebones if "barebones" in settings else {}), **settings
    )
    assert callback.step == len(host.losses) == trainer.global_step
    assert len(callback.discoveries) == 1
    written = list(Path.cwd().rglob("report.json"))
    if "fast_dev_run" in settings:
        assert not written
    else:
        (path,) = written
        assert json.loads(path.read_text())["verdict"] == callback.discoveries[0].verdict
        assert path.parent == callback.report_folder.resolve()


def test_no_training_no_verdict() -> None:
    callback = make_callback()
    fit(Host(), callback, max_epochs=0)
    fit(Host(), callback, limit_train_batches=0)
    assert callback.step == 0 and not callback.discoveries


@pytest.mark.usefixtures("full_report")
def test_the_whole_report(capsys: pytest.CaptureFixture[str]) -> None:
    callback = make_callback()
    fit(Host(), callback, val=make_loader(4, seed=5))
    assert {"report.json", "symmetry.yaml", "symmetry.safetensors"} <= {
        p.name for p in callback.report_folder.iterdir()
    }
    assert callback.discoveries[0].verdict in capsys.readouterr().out


# ---------------------------------------------------------------- metrics


def test_metrics_are_logged() -> None:
    callback = make_callback()
    trainer = fit(Host(), callback, logger=CSVLogger("logs"), log_every_n_steps=2, max_epochs=2)
    name = callback.symmetries[0].name
    measured = set(trainer.callback_metrics)
    assert {f"symmetry/{name}/norm_0", f"symmetry/{name}/symmetric", f"symmetry/{name}/equivariance"} <= measured
    header, *lines = Path(trainer.logger.log_dir, "metrics.csv").read_text().splitlines()
    assert f"symmetry/{name}/norm_0" in header and len(lines) >= 4
    assert callback.journal.curves["step"] == [1, 3, 5, 7]


def test_metrics_can_be_monitored() -> None:
    name = make_callback().symmetries[0].name
    best = ModelCheckpoint(dirpath="best", monitor=f"symmetry/{name}/norm_0", mode="max")
    patient = EarlyStopping(
        monitor=f"symmetry/{name}/norm_0", mode="max", min_delta=1e9, patience=1, check_on_train_epoch_end=True
    )
    trainer = fit(Host(), make_callback(), best, patient, max_epochs=9, enable_checkpointing=True, log_every_n_steps=1)
    assert best.best_model_score is not None and Path(best.best_model_path).exists()
    assert trainer.current_epoch < 9


def test_monitoring_works_from_validation_too() -> None:
    name = make_callback().symmetries[0].name
    best = ModelCheckpoint(dirpath="best", monitor=f"symmetry/{name}/equivariance")
    fit(Host(), make_callback(), best, val=make_loader(2), max_epochs=3, enable_checkpointing=True)
    assert best.best_model_score is not None


def test_known_symmetries_are_judged_by_their_violation() -> None:
    callback = make_callback("SO(2) on vector -> vector")
    fit(Host(), callback)
    (found,) = callback.discoveries
    assert found.cap is None and found.generators[0].violation > 0


def test_finite_groups_have_no_generators_to_judge() -> None:
    callback = make_callback("D4 on vector -> vector")
    fit(Host(), callback)
    assert callback.discoveries == []


# ---------------------------------------------------------------- the reservoir alone


def test_it_is_bounded_and_keeps_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservoir, "MAX_SAMPLES", 20)
    kept = Reservoir()
    for i in range(50):
        kept.keep({"x": torch.full((8, 2), float(i)), "flag": True, "scalar": torch.tensor(1.0)})
    x = kept.collect()["x"]
    assert len(x) == 20 and x.max() == 49 and x.min() == 47
    monkeypatch.setattr(reservoir, "MAX_BYTES", 100)
    kept.keep({"x": torch.full((8, 2), 99.0), "flag": True, "scalar": torch.tensor(1.0)})
    assert kept._training[-1].tree["x"].max() == 99 and len(kept._training) == 1


def test_batches_of_other_shapes_do_not_mix() -> None:
    kept = Reservoir()
    for shape in ((8, 2), (3, 2), (8, 5), (4, 5)):
        kept.keep({"x": torch.zeros(shape)})
    assert kept.collect()["x"].shape == (12, 5)
    assert Reservoir().collect() is None


def test_inference_mode_and_reuse_of_memory() -> None:
    net = torch.nn.Linear(2, 2)
    kept = Reservoir()
    kept.watch("net", net)
    with torch.inference_mode():
        x = torch.ones(4, 2)
        net(x)
        x.zero_()
    kept.unwatch()
    kept.unwatch()
    assert "forward" not in vars(net)
    collected = kept.collect()["input"]
    assert not collected.is_inference() and collected.sum() == 8 and kept.held_out == "validation"


def test_a_finite_group_is_saved_and_said_to_have_nothing_to_judge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    callback = make_callback("D4 on vector -> vector", losses=[], probability=1.0)
    fit(Host(), callback, default_root_dir=tmp_path)
    assert "no generators to judge" in capsys.readouterr().out
    assert Symmetry.load(callback.report_folder).group.sentence == "D4"
