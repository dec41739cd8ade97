"""What each process of `test_extraction_ddp` runs: every scenario once, its results in one file a rank."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from lightning_symmetry.callbacks import GeneratorExtraction, extraction
from tests.seam.boring import Host, deal, make_data, make_trainer, weights

SENTENCES = {"given": "GL on vector -> vector", "learned output": "GL on vector -> learned", "suggested": None}
# which ranks are given validation batches
SCENARIOS: dict[str, tuple[str, tuple[int, ...]]] = {
    "fit": ("given", (0, 1)),
    "validate": ("given", (0, 1)),
    "fit, rank 1 without a batch": ("learned output", (0,)),
    "validate, rank 1 without a batch": ("given", (0,)),
    "validate, rank 0 without a batch": ("learned output", (1,)),
    "validate, suggested, rank 0 without a batch": ("suggested", (1,)),
}


class Stream(IterableDataset):
    """Batches without a length, of which Lightning cannot tell beforehand that there is none."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Any:
        return iter(self.batches)


def run(scenario: str, rank: int, world: int, **settings: Any) -> dict[str, Any]:
    """Read on this rank's rows of every global batch."""
    sentence, busy = SCENARIOS[scenario]
    # buffers would be synchronised in every step, for which Lightning waits where a rank has none
    host, callback = Host(lr=1e-3), GeneratorExtraction(SENTENCES[sentence])
    train = [(x[rank::world], y[rank::world]) for x, y in make_data(6)]
    val = make_data(5, seed=9)
    if world > 1:
        val = [(x[busy.index(rank) :: len(busy)], y[busy.index(rank) :: len(busy)]) for x, y in val if rank in busy]
    loader = DataLoader(Stream(val), batch_size=None)
    trainer = make_trainer(callback, **settings)
    if scenario.startswith("fit"):
        trainer.fit(host, deal(train), loader)
    else:
        trainer.validate(host, loader, verbose=False)
    (found,) = callback.discoveries
    return {
        "host": weights(host),
        "defects": [direction.defect for direction in found.spectrum.directions],
        "samples": found.spectrum.samples,
        "declared": found.spectrum.declared,
        "metrics": {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("symmetry/")},
    }


def main(folder: Path) -> None:
    """Run all scenarios under DDP."""
    written: list[str] = []
    extraction.write_report = lambda found, folder, x: written.append(str(folder))
    ddp = {"strategy": "ddp", "devices": 2, "use_distributed_sampler": False, "default_root_dir": folder}
    rank = int(os.environ["RANK"])
    results = {scenario: run(scenario, rank, 2, **ddp) for scenario in SCENARIOS}
    torch.save({"results": results, "written": written}, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
