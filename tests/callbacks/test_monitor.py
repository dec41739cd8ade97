"""The monitor logs what the metrics say, wherever the network is evaluated, and leaves nothing behind."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn

from lightning_symmetry.callbacks import LearnableAugmentation, SymmetryMonitor
from lightning_symmetry.exceptions import InvalidSetting, TargetError, UnknownName
from lightning_symmetry.groups import SO
from lightning_symmetry.metrics import ApproximateSymmetryLevel, EquivarianceError, LieDerivativeError
from lightning_symmetry.symmetry import Symmetry
from tests.seam.boring import (
    Host,
    deal,
    fit,
    make_data,
    make_loader,
    make_net,
    make_noisy_net,
    make_trainer,
    same,
    weights,
)

SENTENCE = "SO(2) on vector -> vector"
NAME = "symmetry/so_2_on_vector_to_vector"


@pytest.fixture(autouse=True)
def stay_in_a_fresh_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Watched(Host):
    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test/loss", (self.net(batch[0]) - batch[1]).square().mean())


def by_hand(net: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    lie, finite = LieDerivativeError(SENTENCE, names=["rotation"]), EquivarianceError(SENTENCE)
    net.eval()
    for x, _ in batches:
        lie.update(net, x)
        finite.update(net, x)
    found = {f"{NAME}/lie_derivative_{key}": float(value) for key, value in lie.compute().items()}
    return found | {f"{NAME}/equivariance_{key}": float(value) for key, value in finite.compute().items()}


def logged(trainer: Any) -> dict[str, float]:
    return {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("symmetry/")}


@pytest.mark.parametrize("stage", ["validate", "test"])
@pytest.mark.parametrize("inference_mode", [True, False])
def test_without_a_fit_it_logs_what_the_metrics_say(stage: str, inference_mode: bool) -> None:
    host, monitor = Watched(), SymmetryMonitor(SENTENCE)
    trainer = make_trainer(monitor, inference_mode=inference_mode)
    getattr(trainer, stage)(host, make_loader(), verbose=False)
    expected = by_hand(make_net(), make_data())
    found = logged(trainer)
    assert found.keys() == expected.keys() and len(expected) == 6
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-5), key
        assert monitor.values[key] == pytest.approx(value, rel=1e-5), key


def test_in_a_fit_every_nth_validation_is_measured() -> None:
    monitor, host = SymmetryMonitor(SENTENCE, every_n=2), Host()
    trainer = fit(host, monitor, val=make_loader(seed=5), max_epochs=5)
    assert [row["epoch"] for row in monitor.history] == [0, 2, 4]
    expected = by_hand(host.net, make_data(seed=5))
    for key, value in expected.items():
        assert monitor.values[key] == pytest.approx(value, rel=1e-4), key
    assert logged(trainer).keys() == expected.keys()


def test_a_fit_with_the_monitor_is_bit_for_bit_the_fit_without() -> None:
    results = []
    for callbacks in ([], [SymmetryMonitor(SENTENCE, metrics=["lie_derivative", "equivariance", "orbit", "curve"])]):
        torch.manual_seed(3)
        host = Host(make_noisy_net())
        trainer = fit(host, *callbacks, val=make_loader(seed=5), max_epochs=2, num_sanity_val_steps=2)
        trainer.save_checkpoint("last.ckpt")
        saved = torch.load("last.ckpt", weights_only=True)
        held = {name: (set(vars(module)), module.training) for name, module in host.named_modules()}
        results.append((weights(host), host.losses, torch.get_rng_state(), saved["callbacks"], held))
    first, second = results
    assert same(first[0], second[0]) and first[1] == second[1] and torch.equal(first[2], second[2])
    assert first[3] == second[3] and first[4] == second[4]


def test_the_network_is_measured_in_evaluation_mode_and_full_precision() -> None:
    class Training(Watched):
        """A host whose evaluation leaves dropout on."""

        def on_test_start(self) -> None:
            self.net[3].train()

    host, monitor = Training(make_noisy_net()), SymmetryMonitor(SENTENCE)
    make_trainer(monitor, precision="bf16-mixed").test(host, make_loader(), verbose=False)
    for key, value in by_hand(make_noisy_net(), make_data()).items():
        assert monitor.values[key] == pytest.approx(value, rel=1e-4), key


def test_samples_bound_what_is_looked_at() -> None:
    monitor = SymmetryMonitor(SENTENCE, samples=9)
    make_trainer(monitor).validate(Host(), make_loader(), verbose=False)
    for key, value in by_hand(make_net(), make_data()[:2]).items():
        assert monitor.values[key] == pytest.approx(value, rel=1e-5), key


def test_finite_groups_and_learnt_ones_and_several_at_once() -> None:
    learnt = Symmetry.parse("learned(1) on vector -> vector", name="learnt")
    finite = Symmetry.parse("C4 on vector -> vector", name="turns")
    monitor = SymmetryMonitor(
        [learnt, finite], metrics={"lie_derivative": {"reduction": "sq"}, "equivariance": {"n": 2}}
    )
    augmentation = LearnableAugmentation(learnt)
    fit(Host(), augmentation, monitor, val=make_loader(seed=5), max_epochs=2)
    keys = {key for key in monitor.values if not key.endswith("_se")}
    assert keys == {
        "symmetry/learnt/lie_derivative_generator_0",
        "symmetry/learnt/lie_derivative_overall",
        "symmetry/learnt/equivariance_error",
        "symmetry/turns/equivariance_error",
    }
    # it learnt on, and what is measured follows
    first, second = (row["symmetry/learnt/lie_derivative_generator_0"] for row in monitor.history)
    assert first != second and learnt.learnable and not any(p.is_inference() for p in learnt.parameters())


def test_the_level_goes_by_its_own_name() -> None:
    monitor, metric = SymmetryMonitor(SENTENCE, metrics={"level": {"n": 2}}), ApproximateSymmetryLevel(SENTENCE, 2)
    make_trainer(monitor).validate(Host(), make_loader(), verbose=False)
    for x, _ in make_data():
        metric.update(make_net().eval(), x)
    expected = {key if key.startswith("level") else f"level_{key}": value for key, value in metric.compute().items()}
    assert {"level", "level_se", "level_error", "level_null"} <= set(expected)
    for key, value in expected.items():
        assert monitor.values[f"{NAME}/{key}"] == pytest.approx(float(value), rel=1e-4), key


def test_a_module_states_its_symmetries() -> None:
    class Stating(Host):
        def symmetries(self) -> list[str]:
            return [SENTENCE]

    monitor = SymmetryMonitor(metrics=["lie_derivative"])
    make_trainer(monitor).validate(Stating(), make_loader(), verbose=False)
    assert f"{NAME}/lie_derivative_rotation" in monitor.values


def test_several_networks_in_one_step_need_a_name() -> None:
    class Chained(Host):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(2, 2)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.net(self.encoder(batch[0]))

    with pytest.raises(TargetError, match="'encoder', then 'net'"):
        make_trainer(SymmetryMonitor(SENTENCE)).validate(Chained(), make_loader(), verbose=False)
    monitor = SymmetryMonitor(SENTENCE, module="encoder")
    make_trainer(monitor).validate(Chained(), make_loader(), verbose=False)
    assert f"{NAME}/equivariance_error" in monitor.values


def test_the_report_is_written_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    monitor = SymmetryMonitor(SENTENCE, report=True)
    fit(Host(), monitor, val=make_loader(seed=5), max_epochs=2)
    with (monitor.report_folder / "monitor.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert float(rows[1][f"{NAME}/lie_derivative_rotation"]) == monitor.values[f"{NAME}/lie_derivative_rotation"]
    printed = capsys.readouterr().out
    assert "lie_derivative_rotation" in printed and "standard error" in printed


def test_without_a_report_nothing_is_written(tmp_path: Path) -> None:
    make_trainer(SymmetryMonitor(SENTENCE)).validate(Host(), make_loader(), verbose=False)
    assert not list(tmp_path.rglob("*symmetry*"))


def test_early_stopping_and_checkpoints_can_follow_it() -> None:
    stopper = EarlyStopping(f"{NAME}/lie_derivative_rotation", patience=0, min_delta=1e9)
    trainer = fit(Host(), SymmetryMonitor(SENTENCE), stopper, val=make_loader(seed=5), max_epochs=5)
    assert trainer.current_epoch == 2


@pytest.mark.slow
def test_a_compiled_network_is_measured() -> None:
    host, monitor = Host(), SymmetryMonitor(SENTENCE)
    host.net = torch.compile(host.net, backend="eager")  # type: ignore[assignment]
    make_trainer(monitor).validate(host, make_loader(), verbose=False)
    for key, value in by_hand(make_net(), make_data()).items():
        assert monitor.values[key] == pytest.approx(value, rel=1e-4), key


def test_graphs_are_measured() -> None:
    class Graphs(Host):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.net(**batch)

    class Field(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, pos: Tensor, batch: Tensor) -> Tensor:
            return self.scale * pos * pos.norm(dim=1, keepdim=True)

    monitor = SymmetryMonitor(Symmetry(SO(), {"pos": "points"}, "vector(2)", name="turns"))
    data = [{"pos": torch.randn(5, 2), "batch": torch.tensor([0, 0, 1, 1, 1])} for _ in range(3)]
    make_trainer(monitor).validate(Graphs(Field()), deal(data), verbose=False)
    assert all(value < 1e-5 for value in monitor.values.values())


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UnknownName, match="lie_derivative, equivariance"):
        SymmetryMonitor(SENTENCE, metrics=["lie"])
    with pytest.raises(InvalidSetting, match="every_n=0"):
        SymmetryMonitor(SENTENCE, every_n=0)
    with pytest.raises(InvalidSetting, match="states none"):
        make_trainer(SymmetryMonitor()).validate(Host(), make_loader(), verbose=False)
    with pytest.raises(InvalidSetting, match="no generators"):
        make_trainer(SymmetryMonitor("C4 on vector -> vector", metrics="curve")).validate(
            Host(), make_loader(), verbose=False
        )
