"""What each process of `test_metrics_ddp` runs: every metric on its rows, and both callbacks; one file a rank."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_symmetry.callbacks import LayerwiseLieDerivative, SymmetryMonitor
from lightning_symmetry.metrics import (
    ApproximateSymmetryLevel,
    EquivarianceCurve,
    EquivarianceError,
    GeneratorAlignment,
    LieDerivativeError,
    OrbitConsistency,
    SymmetryMetric,
)
from tests.seam.boring import Host, deal, make_data, make_net, make_trainer

SENTENCE = "SO(2) on vector(2) -> vector"
METRICS: dict[str, Any] = {
    "lie derivative": lambda: LieDerivativeError("GL on vector(2) -> scalar"),
    "equivariance": lambda: EquivarianceError(SENTENCE, 3),
    "variance": lambda: EquivarianceError(SENTENCE, 3, "variance"),
    "largest": lambda: EquivarianceError(SENTENCE, 3, "max"),
    "orbit": lambda: OrbitConsistency("SO(2) on vector(2) -> label"),
    "curve": lambda: EquivarianceCurve(SENTENCE, [0.1, 1.0]),
}


def measure(metric: SymmetryMetric, rank: int, world: int, last: int = 4) -> dict[str, Tensor]:
    net = make_net().double()
    for x, _ in make_data()[:last]:
        metric.update(net, x[rank::world].double())
    return dict(metric.compute())


def watch(rank: int, world: int, **settings: Any) -> dict[str, float]:
    data = deal([(x[rank::world], y[rank::world]) for x, y in make_data()])
    callbacks = [
        SymmetryMonitor(SENTENCE, name="monitor"),
        # more than there are, so that both worlds look at the same samples; shares need no probes
        LayerwiseLieDerivative(SENTENCE, samples=64, probes=1, features={"": "vector(2)"}, name="layers"),
    ]
    trainer = make_trainer(*callbacks, **settings)
    trainer.validate(Host(nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))), data, verbose=False)
    return {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("symmetry/")}


def uneven(rank: int) -> dict[str, Tensor]:
    """The second process has nothing to measure."""
    return measure(LieDerivativeError(SENTENCE), 0, 1, 4 if rank == 0 else 0)


def level(rank: int, world: int) -> dict[str, Tensor]:
    return measure(ApproximateSymmetryLevel(SENTENCE), rank, world)


def seeds(rank: int, world: int) -> dict[str, Tensor]:
    metric = GeneratorAlignment("SO(2)")
    for seed in range(rank, 6, world):
        metric.update(torch.randn(1, 2, 2, generator=torch.Generator().manual_seed(seed)))
    return dict(metric.compute())


def main(folder: Path) -> None:
    os.chdir(folder)
    torch.manual_seed(0)
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    watched = watch(rank, world, strategy="ddp", devices=world, use_distributed_sampler=False)
    results = {name: measure(make(), rank, world) for name, make in METRICS.items()}
    results["seeds"], results["level"] = seeds(rank, world), level(rank, world)
    torch.save({"results": results, "uneven": uneven(rank), "watched": watched}, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
