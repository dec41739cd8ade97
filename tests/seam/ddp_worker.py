"""What each process of `test_ddp` runs: every scenario once, its results in one file a rank."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.balancing import Constraint
from lightning_symmetry.callbacks import LearnableAugmentation, augmentation
from lightning_symmetry.groups import SO
from lightning_symmetry.losses import WidthReward
from lightning_symmetry.samplers import Normal, Uniform
from lightning_symmetry.symmetry import Symmetry
from tests.seam.boring import Gap, Host, ManualHost, deal, fit, make_callback, make_data, own_weights, weights

Build = Callable[[], LearnableAugmentation]
SCENARIOS: dict[str, tuple[type[Host], Build, dict[str, Any]]] = {
    "default": (Host, lambda: make_callback(name="default"), {}),
    "learned output": (Host, lambda: make_callback("vector -> learned"), {}),
    "moving": (Host, lambda: make_callback(probability=0.5), {}),
    "moving only": (Host, lambda: make_callback(losses=[], probability=1.0), {}),
    "sparse": (Host, lambda: make_callback(every_n_steps=2), {}),
    "manual": (ManualHost, lambda: make_callback(), {}),
    "accumulating": (Host, lambda: make_callback(), {"accumulate_grad_batches": 2}),
    "learned widths": (
        Host,
        lambda: make_callback(Symmetry(Normal(SO()), "vector", "vector"), losses=[Gap()], balance=0.5),
        {},
    ),
    "constraint": (
        Host,
        lambda: LearnableAugmentation(
            Symmetry(Uniform(SO(), 0.5, learnable=True), "vector", "vector"),
            losses=[WidthReward("log")],
            balance=Constraint(every=2),
            probability=1.0,
        ),
        {},
    ),
    "nothing": (Host, lambda: make_callback(balance=0.0), {}),
}


def run(scenario: str, rank: int, world: int, **settings: Any) -> dict[str, dict[str, Tensor]]:
    """Train on this rank's rows of every global batch."""
    kind, build, own = SCENARIOS[scenario]
    host, callback = kind(lr=1e-3), build()
    data = [(x[rank::world], y[rank::world]) for x, y in make_data(6)]
    trainer = fit(host, callback, data=deal(data), **{**own, **settings})
    trainer.save_checkpoint("last.ckpt")
    resumed, again = kind(lr=1e-3), build()
    fit(resumed, again, data=deal(data), ckpt="last.ckpt", **{**own, **settings, "max_epochs": 2})
    return {
        "host": weights(host),
        "own": own_weights(callback),
        "host resumed": weights(resumed),
        "own resumed": own_weights(again),
        "metrics": {k: v for k, v in trainer.callback_metrics.items() if k.startswith("symmetry/")},
    }


def main(folder: Path) -> None:
    """Run all scenarios under DDP."""
    written: list[str] = []
    augmentation.write_report = lambda found, folder, x: written.append(str(folder))
    results: dict[str, Any] = {}
    for scenario in SCENARIOS:
        rank = int(os.environ["RANK"])
        ddp = {"strategy": "ddp", "devices": 2, "use_distributed_sampler": False, "default_root_dir": folder}
        results[scenario] = run(scenario, rank, 2, **ddp)
    torch.save({"results": results, "written": written}, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
