"""What each process of `test_regularizer_ddp` runs: every scenario once, its results in one file a rank."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.callbacks import regularizer
from lightning_symmetry.discovery.level import save_levels
from tests.seam.boring import Host, ManualHost, deal, fit, make_data, make_noisy_net, weights
from tests.seam.mixin_hosts import Balanced
from tests.seam.regularized import BALANCERS, MEASURES, learnt, make_regularizer

# host, balancer and measure, settings of the trainer
SCENARIOS: dict[str, tuple[type[Host], tuple[str, str], dict[str, Any]]] = {
    **{balance: (Host, (balance, "answers"), {}) for balance in BALANCERS},
    **{measure: (Host, ("dual", measure), {}) for measure in MEASURES if measure != "answers"},
    "gradients of features": (Host, ("gradnorm", "feature"), {}),
    "manual": (ManualHost, ("dual, plain", "answers"), {}),
    "accumulating": (Host, ("ratio", "answers"), {"accumulate_grad_batches": 2}),
    "every second": (Host, ("dual", "answers"), {}),
    "noisy": (Host, ("dual", "answers"), {}),
    "mixin": (Balanced, ("dual, plain", "answers"), {}),
}
RESUMED = [*BALANCERS, "mixin"]


def run(scenario: str, rank: int, world: int, **settings: Any) -> dict[str, dict[str, Tensor]]:
    """Train on this rank's rows of every global batch, and some once more from the checkpoint."""
    kind, (balance, measure), own = SCENARIOS[scenario]
    data = deal([(x[rank::world], y[rank::world]) for x, y in make_data(6)])
    made, found = [], {}
    parts = [("", {}), (" resumed", {"ckpt": "last.ckpt", "max_epochs": 2})]
    for part, more in parts[: 1 + (scenario in RESUMED)]:
        torch.manual_seed(0)
        net = make_noisy_net() if scenario == "noisy" else None
        host = kind(net=net, lr=1e-3)
        if kind is not Balanced:
            made = [make_regularizer(balance, measure, every_n_steps=1 + (scenario == "every second"))]
        trainer = fit(host, *made, data=data, log_every_n_steps=1, **{**own, **settings, **more})
        trainer.save_checkpoint("last.ckpt")
        # running statistics are those of a rank's own rows; what a balancer has not measured yet is NaN
        kept = {k: v for k, v in weights(host).items() if "running" not in k and "tracked" not in k}
        found["host" + part] = {k: v.nan_to_num(-1.0) for k, v in kept.items()}
        if made:
            curves = {k: torch.tensor(v).nan_to_num(-1.0) for k, v in made[0].journal.curves.items()}
            levels = {level.name: torch.tensor(level.error) for level in made[0].levels}
            found |= {"learnt" + part: learnt(made[0]), "curves" + part: curves, "levels" + part: levels}
    found["metrics"] = {k: v for k, v in trainer.callback_metrics.items() if k.startswith("symmetry/")}
    return found


def main(folder: Path) -> None:
    """Run all scenarios under DDP."""
    written: list[str] = []
    regularizer.print_levels = lambda levels, folder: None
    regularizer.write_levels = lambda levels, curves, folder: written.append(str(save_levels(levels, folder)))
    rank = int(os.environ["RANK"])
    ddp = {"strategy": "ddp", "devices": 2, "use_distributed_sampler": False, "default_root_dir": folder}
    results = {scenario: run(scenario, rank, 2, **ddp) for scenario in SCENARIOS}
    torch.save({"results": results, "written": written}, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
