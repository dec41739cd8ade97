"""What the plugin costs a training step: time and memory, as ratios to the plain step in the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch

from lightning_symmetry.callbacks import LearnableAugmentation
from lightning_symmetry.hosts import Classifier, Regressor, ResNet18Classifier
from lightning_symmetry.methods.augerino import augerino
from lightning_symmetry.methods.semola import semola
from tests.benchmarks.turns import Batch, Run, Turns, measure_operators, measure_peak, profile_steps

Report = Callable[[str, Mapping[str, str]], None]


@dataclass(frozen=True)
class Case:
    """A host, its data, and how long a turn is.

    ``steps`` is a multiple of four, so that a turn with ``every_n_steps=4`` holds its share of penalties; four also
    means that the other modes take one step a turn. ``recorded`` steps are watched for the peak of memory: at least
    five, so that one is penalised when all states are in place, and on small hosts enough to fill the inputs that are
    kept for the verdict.
    """

    make: Callable[[], L.LightningModule]
    sentence: str
    batch: Callable[[], Batch]
    steps: int
    rounds: int
    recorded: int


def images(rows: int, channels: int) -> Batch:
    return torch.randn(rows, channels, 32, 32), torch.randint(10, (rows,))


CASES = {
    "MLP 4-128-128-2, batch 128": Case(
        lambda: Regressor(4, 2),
        "vector(2) -> vector(2)",
        lambda: (torch.randn(128, 4), torch.randn(128, 2)),
        100,
        12,
        9,
    ),
    "small CNN 16-32-64, 3x32x32, batch 64": Case(
        lambda: Classifier(channels=3), "image -> label", lambda: images(64, 3), 20, 8, 13
    ),
    "small CNN 16-32-64, 3x32x32, batch 128": Case(
        lambda: Classifier(channels=3), "image -> label", lambda: images(128, 3), 20, 8, 13
    ),
    "ResNet-18, 3x32x32, batch 16": Case(ResNet18Classifier, "image -> label", lambda: images(16, 3), 4, 5, 5),
}

# The default strengths without the default warm-up, during which nothing would be measured.
AT_ONCE = [1.0, 0.05, 0.1]

MODES: dict[str, Callable[[str], list[Any]]] = {
    "plain": lambda sentence: [],
    "augmentation only": lambda sentence: [LearnableAugmentation(sentence, losses=[], probability=1.0)],
    "loss, every_n_steps=1": lambda sentence: [LearnableAugmentation(sentence, balance=AT_ONCE)],
    "loss, every_n_steps=4": lambda sentence: [LearnableAugmentation(sentence, balance=AT_ONCE, every_n_steps=4)],
    "augerino": lambda sentence: [augerino(sentence if "image" in sentence else f"SO(2) on {sentence}")],
    "semola, preset general": lambda sentence: [semola(sentence, warmup=0)],
}

TARGETS = {
    ("ResNet-18, 3x32x32, batch 16", "augmentation only"): 1.2,
    ("ResNet-18, 3x32x32, batch 16", "loss, every_n_steps=1"): 2.4,
    ("ResNet-18, 3x32x32, batch 16", "loss, every_n_steps=4"): 1.45,
}


@pytest.mark.parametrize("name", CASES)
def test_a_step_in_units_of_the_plain_step(name: str, benchmark: Any, report: Report, tmp_path: Path) -> None:
    """No time is asserted; a target that is missed is printed with the operators that took the time."""
    case = CASES[name]
    batch = case.batch()
    peaks = {
        mode: measure_peak(case.make(), callbacks(case.sentence), batch, tmp_path, case.recorded)
        for mode, callbacks in MODES.items()
    }
    runs = {mode: Run(case.make(), callbacks(case.sentence), batch, tmp_path) for mode, callbacks in MODES.items()}
    turns = Turns({mode: partial(run.take, _length(case, mode)) for mode, run in runs.items()})
    try:
        for run in runs.values():
            run.take(4)
        benchmark.pedantic(turns.round, rounds=case.rounds)
    finally:
        for run in runs.values():
            run.stop()
    ratios = {mode: turns.ratio(mode) for mode in MODES}
    benchmark.extra_info.update(ratios=ratios, peaks=peaks)
    title = f"step cost: {name}"
    for mode, ratio in ratios.items():
        target = TARGETS.get((name, mode))
        row = {
            "": mode,
            "ms a step": f"{1e3 * turns.median(mode):.1f}",
            "to plain": f"{ratio:.2f}",
            "target": "" if target is None else f"{target:.2f} {'met' if ratio <= target else 'missed'}",
            "peak MiB": f"{peaks[mode] / 2**20:.1f}",
            "to plain's": f"{peaks[mode] / peaks['plain']:.2f}",
        }
        report(title, row)
    for mode, ratio in ratios.items():
        if ratio > TARGETS.get((name, mode), float("inf")):
            _explain(name, mode, batch, report, tmp_path)


def _length(case: Case, mode: str) -> int:
    return case.steps if case.steps > 4 or "=4" in mode else 1


def _explain(name: str, mode: str, batch: Batch, report: Report, folder: Path) -> None:
    case, steps = CASES[name], 4
    plain, ours = (
        measure_operators(
            profile_steps(case.make(), MODES[m](case.sentence), batch, folder, skipped=4, steps=steps), steps
        )
        for m in ("plain", mode)
    )
    extra = {key: time - plain.get(key, 0.0) for key, time in ours.items()}
    for key in sorted(extra, key=lambda key: -extra[key])[:12]:
        row = {"": key, "plain ms": f"{plain.get(key, 0.0):.2f}", "ms": f"{ours[key]:.2f}", "more": f"{extra[key]:.2f}"}
        report(f"where the time goes: {name}, {mode}", row)
