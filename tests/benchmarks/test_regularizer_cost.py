"""What pressing a network towards symmetries costs a training step, as ratios to the plain step in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, final

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor

from lightning_symmetry.balancing import Dual
from lightning_symmetry.callbacks import EquivarianceRegularizer
from lightning_symmetry.hosts import Regressor, ResNet18Classifier, VectorRegressor
from lightning_symmetry.losses import Call, Loss, Projection
from lightning_symmetry.methods.dual import DualAugmentation
from lightning_symmetry.nn import GatedTensorNetwork
from tests.benchmarks.turns import Batch, Run, Turns, measure_operators, profile_steps

Report = Callable[[str, Mapping[str, str]], None]
DIRECTIONS = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, -1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1)]
AXES = [f"about({axis}, mirrors=True) on tensors('5x0 + 5x1') -> tensors('1x2')" for axis in "xyz"]


@final
class NoPenalty(Loss):
    """Looks at nothing and costs next to nothing: what is left is the callback's own work."""

    views = 0
    needs_output = False

    def forward(self, call: Call) -> Tensor:
        assert call.module is not None
        return next(reversed(list(call.module.parameters())))[:1].sum()

    def evaluate(self, calls: Any) -> list[Tensor]:
        return [self(calls[0])] * len(calls)


def inertia(rows: int = 500) -> Batch:
    return torch.randn(rows, 20), torch.randn(rows, 9)


def mlp() -> L.LightningModule:
    return Regressor(20, 9, (128,) * 4)


@final
class TensorRegressor(VectorRegressor):
    """The published network of the weights' penalty."""

    def __init__(self) -> None:
        super().__init__(GatedTensorNetwork("5x0 + 5x1", "1x2", hidden=128, layers=4), 1e-3)


HOSTS = {"MLP 20-128-128-128-128-9": mlp, "GatedTensorNetwork, 4 layers of 128": TensorRegressor}


def press(losses: list[Loss], sentences: list[str] = AXES, **settings: Any) -> list[Any]:
    return [EquivarianceRegularizer(sentences, losses=losses, balance=0.1, **settings)]


MODES: dict[str, Callable[[], list[Any]]] = {
    "plain": lambda: [],
    "callback alone": lambda: press([NoPenalty()]),
    "weights, 1 group": lambda: press([Projection()], AXES[:1]),
    "weights, 3 groups": lambda: press([Projection()]),
    "weights, 3 groups, every 4th batch": lambda: press([Projection()], every_n_steps=4),
}
TARGET = 1.15


def take_turns(
    make: Callable[[], L.LightningModule],
    modes: Mapping[str, Callable[[], list[Any]]],
    batch: Batch,
    folder: Path,
    benchmark: Any,
    steps: int = 8,
    rounds: int = 30,
) -> Turns:
    """Train in turns, measured by the processor: on a shared machine the clock tells of others."""
    torch.manual_seed(0)
    runs = {mode: Run(make(), callbacks(), batch, folder, time.process_time) for mode, callbacks in modes.items()}
    turns = Turns({mode: partial(run.take, steps) for mode, run in runs.items()})
    try:
        for run in runs.values():
            run.take(steps)
        benchmark.pedantic(turns.round, rounds=rounds)
    finally:
        for run in runs.values():
            run.stop()
    benchmark.extra_info.update(ratios={mode: turns.ratio(mode) for mode in modes})
    return turns


@pytest.mark.parametrize("name", HOSTS)
def test_a_penalty_on_the_weights_in_units_of_the_plain_step(
    name: str, benchmark: Any, report: Report, tmp_path: Path
) -> None:
    """No time is asserted; a target that is missed is printed with the operators that took the time."""
    turns = take_turns(HOSTS[name], MODES, inertia(), tmp_path, benchmark)
    for mode in MODES:
        ratio, target = turns.ratio(mode), mode.endswith("3 groups")
        row = {
            "": mode,
            "ms a step": f"{1e3 * turns.median(mode):.2f}",
            "to plain": f"{ratio:.2f}",
            "to callback alone": f"{turns.ratio(mode, 'callback alone'):.2f}",
            "target": f"{TARGET:.2f} {'met' if ratio <= TARGET else 'missed'}" if target else "",
        }
        report(f"penalty on the weights: {name}, batch 500", row)
    if turns.ratio("weights, 3 groups") > TARGET:
        explain(HOSTS[name], f"where the time goes: {name}", report, tmp_path)


def explain(make: Callable[[], L.LightningModule], title: str, report: Report, folder: Path, steps: int = 20) -> None:
    found = {
        mode: measure_operators(profile_steps(make(), MODES[mode](), inertia(), folder, 10, steps), steps)
        for mode in ("plain", "weights, 3 groups")
    }
    plain, ours = found.values()
    extra = {key: taken - plain.get(key, 0.0) for key, taken in ours.items()}
    for key in sorted(extra, key=lambda key: -extra[key])[:10]:
        report(title, {"": key, "plain ms": f"{plain.get(key, 0.0):.3f}", "more ms": f"{extra[key]:.3f}"})


def test_samples_cost_the_same_for_one_symmetry_and_for_eight(benchmark: Any, report: Report, tmp_path: Path) -> None:
    eight = [f"about([{x}, {y}, {z}]) on tensors('5x0 + 5x1') -> tensors('1x2')" for x, y, z in DIRECTIONS]
    modes: dict[str, Callable[[], list[Any]]] = {
        "plain": lambda: [],
        "samples, 1 symmetry": lambda: [EquivarianceRegularizer(eight[:1], balance=0.1)],
        "samples, 8 symmetries": lambda: [EquivarianceRegularizer(eight, balance=0.1)],
        "samples, 8 together": lambda: [EquivarianceRegularizer(eight, balance=0.1, together=True)],
    }
    turns = take_turns(mlp, modes, inertia(), tmp_path, benchmark)
    for mode in modes:
        row = {
            "": mode,
            "ms a step": f"{1e3 * turns.median(mode):.2f}",
            "to plain": f"{turns.ratio(mode):.2f}",
            "to 1 symmetry": f"{turns.ratio(mode, 'samples, 1 symmetry'):.2f}",
        }
        report("penalty on samples: MLP 20-128-128-128-128-9, batch 500", row)


def constrain(total: float, sampler: str = "mh") -> list[Any]:
    """Two families whose multipliers add up to a number, and are measured as ever, but stay."""
    families = {"turns": "SO(2) on image -> label", "light": "brightness"}
    balance = Dual("auto", rate=1e-9, warmup=0)
    balance.strengths(len(families), 0)
    balance.dual.fill_(total / len(families))
    return [DualAugmentation(families, balance=balance, sampler=sampler)]


def test_constrained_augmentation_in_units_of_the_plain_step(benchmark: Any, report: Report, tmp_path: Path) -> None:
    modes: dict[str, Callable[[], list[Any]]] = {
        "plain": lambda: [],
        "dual, nothing moved": lambda: constrain(0.0),
        "dual, 1/2 of the samples moved": lambda: constrain(1.0),
        "dual, 3/4 moved": lambda: constrain(3.0),
        "dual, 3/4 moved, uniform sampler": lambda: constrain(3.0, "uniform"),
    }
    batch = torch.rand(16, 3, 32, 32), torch.randint(10, (16,))
    turns = take_turns(ResNet18Classifier, modes, batch, tmp_path, benchmark, steps=4, rounds=6)
    for mode in modes:
        ratio, target = turns.ratio(mode), "1/2" in mode
        row = {
            "": mode,
            "ms a step": f"{1e3 * turns.median(mode):.0f}",
            "to plain": f"{ratio:.2f}",
            "target": f"1.60 {'met' if ratio <= 1.6 else 'missed'}" if target else "",
        }
        report("dual, sampling variant, 2 proposals: ResNet-18, 3x32x32, batch 16", row)
