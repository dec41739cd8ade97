"""What the processes of `devices` run: every column in every scenario, its results in one file a rank."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, DistributedSampler, Subset, TensorDataset

from lightning_symmetry.callbacks import Expect, augmentation, extraction, regularizer
from lightning_symmetry.discovery.level import save_levels
from lightning_symmetry.exceptions import ClaimFailed
from tests.seam.boring import deal, fit, make_data, weights
from tests.seam.support.columns import COLUMNS, Augmenting, Column, Expecting
from tests.seam.support.hosts import Manual, Noisy, Plain

# host, what the trainer does about samplers, further settings
SCENARIOS: dict[str, tuple[type[Plain], bool, dict[str, Any]]] = {
    "shared": (Plain, False, {}),
    "manual": (Manual, False, {}),
    "accumulating": (Plain, False, {"accumulate_grad_batches": 2}),
    "sampled": (Plain, True, {}),
    "noisy": (Noisy, False, {}),
}


def make_batches(rank: int, world: int, sampled: bool) -> Any:
    """This rank's rows of every global batch, by ourselves or by Lightning's sampler."""
    data = make_data(6)
    if not sampled:
        return deal([(x[rank::world], y[rank::world]) for x, y in data])
    pairs = TensorDataset(*(torch.cat(parts) for parts in zip(*data, strict=True)))
    if world == 2:
        return DataLoader(pairs, batch_size=4)
    # one process sees in one batch what the sampler gives to two
    orders = [list(DistributedSampler(pairs, 2, one)) for one in range(2)]
    return DataLoader(Subset(pairs, [i for both in zip(*orders, strict=True) for i in both]), batch_size=8)


def run(column: Column, scenario: str, rank: int, world: int, **settings: Any) -> dict[str, Any]:
    """Train one column in one scenario."""
    kind, sampled, own = SCENARIOS[scenario]
    torch.manual_seed(0)
    host, added = column.host(kind), column.build()
    data = make_batches(rank, world, sampled)
    settings = {"use_distributed_sampler": sampled, **own, **settings}
    trainer = fit(host, *added, data=data, **settings)
    claim = ""
    if isinstance(column, Expecting):
        try:
            fit(kind(), Expect("loss", at_most=-1.0), data=data, **settings)
        except Exception as error:
            claim = type(error).__name__ if isinstance(error, ClaimFailed) else str(error)
    found = added[0].discoveries if isinstance(column, Augmenting) else []
    learnt = {} if settings.get("strategy") == "ddp_spawn" else column.learnt(added)
    names = sorted(name for name in trainer.callback_metrics if name.startswith("symmetry/") or name == "loss")
    parameters = {name: p.detach().clone() for name, p in host.named_parameters()}
    return {
        "host": parameters if scenario == "noisy" else weights(host),
        "learnt": learnt,
        "found": [discovery.symmetry.group.basis().detach() for discovery in found],
        "metrics": names,
        "claim": claim,
    }


def main(how: str, folder: Path) -> None:
    """Run all columns."""
    for module in (augmentation, extraction):
        module.print_discovery = lambda found, folder: None
        module.write_report = lambda found, folder, x: found.save(folder)
    regularizer.print_levels = lambda levels, folder: None
    regularizer.write_levels = lambda levels, curves, folder: save_levels(levels, folder)
    if how == "spawn":
        many = {"strategy": "ddp_spawn", "devices": 2}
        torch.save(
            {c.key: run(c, "sampled", 0, 2, **many, default_root_dir=folder / c.key) for c in COLUMNS},
            folder / "spawned.pt",
        )
        return
    rank, many = int(os.environ["RANK"]), {"strategy": "ddp", "devices": 2, "default_root_dir": folder}
    results = {f"{c.key} {name}": run(c, name, rank, 2, **many) for c in COLUMNS for name in SCENARIOS}
    torch.save(results, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
