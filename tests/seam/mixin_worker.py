"""What each process of `test_mixin_ddp` runs: every scenario once, its results in one file a rank."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.seam.boring import deal, fit, make_data, weights
from tests.seam.mixin_hosts import KNOWN, LEARNT, Stating

SCENARIOS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "known": ({"sentence": KNOWN}, {}),
    "learnt": ({"sentence": LEARNT}, {}),
    "manual": ({"sentence": LEARNT, "manual": True}, {}),
    "accumulating": ({"sentence": LEARNT}, {"accumulate_grad_batches": 2}),
    "nothing": ({"sentence": LEARNT, "strength": 0.0}, {}),
}


def run(scenario: str, rank: int, world: int, **settings: Any) -> dict[str, dict[str, Tensor]]:
    """Train on this rank's rows of every global batch, and once more from the checkpoint."""
    build, own = SCENARIOS[scenario]
    host, resumed = Stating(**build, lr=1e-3), Stating(**build, lr=1e-3)
    data = deal([(x[rank::world], y[rank::world]) for x, y in make_data(6)])
    fit(host, data=data, **own, **settings).save_checkpoint("last.ckpt")
    fit(resumed, data=data, ckpt="last.ckpt", **own, **{**settings, "max_epochs": 2})
    return {"host": weights(host), "resumed": weights(resumed)}


def main(folder: Path) -> None:
    """Run all scenarios under DDP."""
    rank = int(os.environ["RANK"])
    ddp = {"strategy": "ddp", "devices": 2, "use_distributed_sampler": False, "default_root_dir": folder}
    torch.save({name: run(name, rank, 2, **ddp) for name in SCENARIOS}, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
