"""`EquivarianceRegularizer`: its contract, whose turn it is, and what it says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_symmetry.balancing import Balancer, Fixed, Ratio
from lightning_symmetry.callbacks import EquivarianceRegularizer, regularizer
from lightning_symmetry.callbacks.objective import Objective
from lightning_symmetry.discovery.level import load_levels
from lightning_symmetry.exceptions import InvalidSetting, TargetError
from lightning_symmetry.losses import Call, Equivariance, InfinitesimalEquivariance, Loss, Projection
from lightning_symmetry.symmetry import Symmetry
from lightning_symmetry.testing import CallbackContract
from tests.seam.boring import Host, deal, fit, make_callback, make_data, make_loader, same, weights
from tests.seam.regularized import CANDIDATES, TYPES, make_regularizer

THREE = ["SO(2) on vector -> vector", "O(2) on vector -> scalar", "C4 on vector -> vector"]


@pytest.fixture(autouse=True)
def stay_in_a_fresh_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(regularizer, "write_levels", lambda levels, curves, folder: None)
    monkeypatch.setattr(regularizer, "print_levels", lambda levels, folder: None)


class TestEquivarianceRegularizer(CallbackContract):
    subject = EquivarianceRegularizer

    def make(self) -> EquivarianceRegularizer:
        return EquivarianceRegularizer(CANDIDATES, balance="ratio(start=2, window=2)")

    def make_off(self) -> EquivarianceRegularizer:
        return EquivarianceRegularizer(CANDIDATES, balance=0.0)


# -------------------------------------------------------------------------------------------- whose turn it is


class Told(Balancer):
    """Keeps what it is told."""

    measures = True

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        self.strength = strength
        self.seen: list[tuple[int, list[float]]] = []

    def strengths(self, terms: int, step: int) -> list[float]:
        return [self.strength] * terms

    def track(self, values: Tensor, step: int) -> None:
        self.seen.append((step, values.tolist()))


def measured(told: Told) -> list[tuple[int, list[int]]]:
    return [(step, [k for k, value in enumerate(values) if math.isfinite(value)]) for step, values in told.seen]


@pytest.mark.parametrize("every", [1, 2])
def test_candidates_take_shuffled_turns(every: int) -> None:
    told = Told()
    callback = make_regularizer(told, candidates=THREE, every_n_steps=every)
    fit(Host(), callback, data=make_loader(12 * every))
    turns = measured(told)
    assert [step for step, _ in turns] == [every * i for i in range(12)]
    cycles = [[k for _, (k,) in turns[i : i + 3]] for i in range(0, 12, 3)]
    assert all(sorted(cycle) == [0, 1, 2] for cycle in cycles) and len(set(map(tuple, cycles))) > 1


def test_all_at_once_where_that_is_wished() -> None:
    told = Told()
    fit(Host(), make_regularizer(told, candidates=THREE, together=True))
    assert measured(told) == [(step, [0, 1, 2]) for step in range(4)]


def test_losses_on_the_weights_take_no_turns() -> None:
    told = Told()
    fit(Host(), make_regularizer(told, candidates=THREE, losses=[Equivariance(), Projection(TYPES)]))
    assert all(len(seen) == 4 and {1, 3, 5} <= set(seen) for _, seen in measured(told))


def test_the_same_turn_for_every_call_of_a_batch() -> None:
    class Twice(Host):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            x, y = batch
            return (self.net(x) - y).square().mean() + (self.net(-x) + y).square().mean()

    told = Told()
    fit(Twice(), make_regularizer(told, candidates=THREE, module="net"))
    assert [len(seen) for _, seen in measured(told)] == [1, 1, 1, 1]


class Penalties(Host):
    """Does not move, and keeps the gradients of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.gradients: list[Tensor] = []

    def on_after_backward(self) -> None:
        self.gradients.append(torch.cat([p.grad.flatten() for p in self.net.parameters()]))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("weights_too", [False, True])
def test_over_a_cycle_turns_penalise_as_all_at_once(weights_too: bool, every: int) -> None:
    """Measured by slopes, which draw nothing, on one batch again and again."""
    candidates = ["SO(2) on vector -> vector", "SO(2) on vector -> scalar", "scale on vector -> vector"]
    sums, batch = {}, make_data()[0]
    for how in ("none", "turns", "together"):
        host, made = Penalties(), []
        if how != "none":
            losses = [InfinitesimalEquivariance(), *([Projection(TYPES)] if weights_too else [])]
            settings = {"losses": losses, "every_n_steps": every, "together": how == "together"}
            given = candidates[:2] if weights_too else candidates
            made = [make_regularizer(Fixed(0.7), candidates=given, **settings)]
        fit(host, *made, data=deal([batch] * (6 * every)))
        sums[how] = torch.stack(host.gradients).sum(0)
    assert not torch.allclose(sums["none"], sums["turns"], atol=1e-3)
    assert torch.allclose(sums["turns"], sums["together"], atol=1e-5)


@pytest.mark.parametrize(("together", "forwards"), [(False, 2), (True, 4)], ids=["turns", "together"])
def test_turns_cost_one_forward_whatever_the_number_of_candidates(together: bool, forwards: int) -> None:
    host, calls = Host(), []
    host.net[0].register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    fit(host, make_regularizer(1.0, candidates=THREE, together=together))
    assert sum(calls) == 4 * forwards  # the verdict's own are without gradient


def test_losses_of_one_kind_are_compared_with_each_other() -> None:
    callback = make_regularizer(Ratio(strength=1.0), measure="several")
    assert callback.balance.losses == 3


# -------------------------------------------------------------------------------------------- features


class Inner(torch.nn.Module):
    """Two steps, one of which may be left out or taken twice."""

    def __init__(self, calls: int = 1) -> None:
        super().__init__()
        self.encoder, self.head, self.calls = torch.nn.Linear(2, 4), torch.nn.Linear(4, 2), calls

    def forward(self, x: Tensor) -> Tensor:
        if not self.calls:
            return self.head(torch.cat([x, x], 1))
        for _ in range(self.calls):
            h = self.encoder(x)
        return self.head(h)


def looking(feature: str) -> EquivarianceRegularizer:
    return make_regularizer(1.0, losses=[Equivariance(feature=feature, action="scalar")])


@pytest.mark.parametrize(
    ("net", "feature", "says"),
    [
        (Inner(), "encodr", "Correct the name.*begins below the network"),
        (Inner(), "net.encoder", "such as encoder"),
        (Inner(2), "encoder", "called twice in one forward"),
        (Inner(0), "encoder", "did not call.*Name one of"),
    ],
    ids=["misspelt", "from the module", "twice", "never"],
)
def test_features_are_submodules_that_are_called_once(net: Inner, feature: str, says: str) -> None:
    host = Host(net)
    before = weights(host)
    with pytest.raises(TargetError, match=says):
        fit(host, looking(feature))
    assert same(before, weights(host)) and "forward" not in vars(net.encoder)


def test_a_feature_is_pressed_and_nothing_behind_it() -> None:
    runs = []
    for callbacks in ([], [looking("encoder")]):
        torch.manual_seed(0)
        host = Penalties()
        host.net = Inner()
        fit(host, *callbacks, limit_train_batches=1)
        runs.append(host.gradients[0].split([12, 10]))
    (encoder, head), (pressed, untouched) = runs
    assert torch.equal(head, untouched) and not torch.allclose(encoder, pressed, atol=1e-3)


# -------------------------------------------------------------------------------------------- whose group


def test_a_group_that_nobody_learns_is_refused() -> None:
    host = Host()
    with pytest.raises(InvalidSetting, match="nobody has learnt yet"):
        fit(host, make_regularizer(candidates="vector -> vector"))
    assert "training_step" not in vars(host)


def test_a_group_that_another_callback_learns_is_shared() -> None:
    symmetry = Symmetry.parse("vector -> vector")
    learning, pressing = make_callback(symmetry), make_regularizer(candidates=[symmetry, CANDIDATES[1]])
    fit(Host(), learning, pressing)
    assert learning._owns == [True] and pressing._owns == [False, True]
    assert pressing.symmetries[0] is symmetry and not pressing.state_dict()["symmetries"][0]
    with pytest.raises(InvalidSetting, match="before this one"):
        fit(Host(), make_regularizer(candidates=symmetry), make_callback(symmetry))


# -------------------------------------------------------------------------------------------- what it says


class Doubled(Loss):
    """A law of the answer, known beforehand."""

    views = 0

    def forward(self, call: Call) -> Tensor:
        return 2 * call.y.square().mean(1)


def test_readings_are_logged_by_symmetry() -> None:
    callback = make_regularizer("dual")
    trainer = fit(Host(), callback, log_every_n_steps=1)
    for symmetry in callback.symmetries:
        names = {name.removeprefix(f"symmetry/{symmetry.name}/") for name in trainer.callback_metrics}
        assert {"strength", "dual", "slack", "relaxed", "infeasible", "error", "level"} <= names
    strengths = callback.journal.curves[f"{callback.symmetries[0].name}/strength"]
    assert len(strengths) == 4 and strengths[-1] == pytest.approx(callback.balance.strengths(2, 4)[0])


def test_several_losses_have_readings_of_their_own() -> None:
    callback = make_regularizer([1.0, 0.5], losses=[Equivariance(), Doubled()])
    assert {name: float(value) for name, value in callback.describe().items()} == {
        f"{symmetry.name}/strength_{loss}": value
        for symmetry in callback.symmetries
        for loss, value in (("equivariance", 1.0), ("doubled", 0.5))
    }


def test_the_verdict_is_on_held_out_inputs_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    monkeypatch.setattr(regularizer, "write_levels", lambda levels, curves, folder: kept.append((levels, folder)))
    errors = []
    for val in (None, make_loader(2, seed=7), make_loader(2, seed=8)):
        callback = make_regularizer(0.1)
        fit(Host(), callback, val=val)
        errors.append([level.error for level in callback.levels])
    assert len(set(map(tuple, errors))) == 3
    assert [len(levels) for levels, _ in kept] == [2, 2, 2] and kept[0][1] == callback.report_folder


def test_the_whole_report_is_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("run").absolute()
    monkeypatch.undo()
    callback = make_regularizer("ratio", name="both")
    fit(Host(), callback, default_root_dir=folder)
    found = load_levels(folder / "symmetry" / "both" / "levels.json")
    assert [level.to_dict() for level in found] == [level.to_dict() for level in callback.levels]
    said = capsys.readouterr().out
    assert all(level.name in said and level.verdict in said for level in found) and "of training time" in said


def test_strengths_have_to_fit_the_candidates() -> None:
    with pytest.raises(InvalidSetting, match="3 strengths for 2 losses"):
        make_regularizer([1.0, 2.0, 3.0])
    objective = Objective([Equivariance()], "ratio", 2, turns=True)
    assert isinstance(objective.balance, Ratio)
