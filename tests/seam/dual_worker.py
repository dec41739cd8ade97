"""What each process of `test_dual_ddp` runs: every scenario once, its results in one file a rank."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.balancing import Dual
from lightning_symmetry.methods.dual import DualAugmentation
from lightning_symmetry.methods.dual import callback as dual_callback
from tests.seam.boring import Host, ManualHost, deal, fit, make_data, weights

FAMILIES = {"turns": "SO(2) on vector -> vector", "scales": "scale on vector -> vector"}


class Unknown(Host):
    """Compares with targets that the batch does not tell: the row's own, times a number that changes."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        return self.note(F.mse_loss(self.net(x), y * torch.tensor(1.0 + 0.1 * self.global_step)))


def make(**settings: Any) -> DualAugmentation:
    balance = Dual(epsilon="auto", rate=1.0, warmup=0, smoothing=0.5)
    return DualAugmentation(FAMILIES, balance=balance, **settings)


SCENARIOS: dict[str, tuple[type[Host], Callable[[], DualAugmentation]]] = {
    "sampling": (Host, lambda: make(steps=3)),
    "lagrangian": (Host, lambda: make(variant="lagrangian")),
    "manual": (ManualHost, lambda: make(variant="lagrangian")),
    "uniform": (Host, lambda: make(sampler="uniform")),
    "unknown targets": (Unknown, lambda: make()),
}


def run(scenario: str, rank: int, world: int, **settings: Any) -> dict[str, Any]:
    """Train on this rank's rows of every global batch."""
    kind, build = SCENARIOS[scenario]
    host, callback = kind(lr=1e-3), build()
    data = [(x[rank::world], y[rank::world]) for x, y in make_data(12)]
    # pictures take longer than these trainings
    with warnings.catch_warnings(), mock.patch.object(dual_callback, "write_levels"):
        warnings.simplefilter("ignore")
        trainer = fit(host, callback, data=deal(data), log_every_n_steps=1, **settings)
    metrics: dict[str, Tensor] = {k: v for k, v in trainer.callback_metrics.items() if k.startswith("symmetry/")}
    return {"host": weights(host), "own": dict(callback.balance.state_dict()), "metrics": metrics}


def main(folder: Path) -> None:
    """Run all scenarios under DDP."""
    results: dict[str, Any] = {}
    rank = int(os.environ["RANK"])
    for scenario in SCENARIOS:
        ddp = {"strategy": "ddp", "devices": 2, "use_distributed_sampler": False, "default_root_dir": folder}
        results[scenario] = run(scenario, rank, 2, **ddp)
    torch.save(results, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
