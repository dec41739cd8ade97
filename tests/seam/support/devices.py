"""Rows of the support table on several processes, compilers, and strategies that are refused."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import lightning.pytorch.strategies as strategies
import pytest
import torch

from lightning_symmetry.discovery.level import load_levels
from lightning_symmetry.exceptions import UnsupportedTrainer
from lightning_symmetry.symmetry import Symmetry
from tests.seam.boring import close, deal, make_data, make_trainer, same
from tests.seam.support.columns import Augmenting, Column, Expecting, Regularizing, compare
from tests.seam.support.hosts import CompiledChild, Plain
from tests.seam.support.worker import run

ROOT = Path(__file__).parents[3]
WORKER = Path(__file__).with_name("worker.py")


def start(*command: str) -> Path:
    """Run a command in a folder of its own and wait for it."""
    folder = Path(tempfile.mkdtemp())
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *command, str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=850,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder


@functools.cache
def ranks() -> list[dict[str, Any]]:
    """Every column in every scenario by two processes, once for all cells."""
    folder = start("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(WORKER), "ddp")
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@functools.cache
def spawned() -> dict[str, Any]:
    """Every column under ``ddp_spawn``, as the process that started it sees the end."""
    folder = start(str(WORKER), "spawn")
    return {**torch.load(folder / "spawned.pt", weights_only=True), "folder": folder}


def share(column: Column, scenario: str) -> None:
    """The ranks agree to the last bit, and where one process can see the same batches, they learn what it learns."""
    left, right = (rank[f"{column.key} {scenario}"] for rank in ranks())
    assert left["host"] and same(left["host"], right["host"]) and same(left["learnt"], right["learnt"])
    assert left["metrics"] == right["metrics"] and left["claim"] == right["claim"]
    # a batch normalisation sees half of the batch on each rank, and so does a metric that is not synchronised
    if scenario != "noisy" and not isinstance(column, Expecting):
        one = run(column, scenario, 0, 1)
        assert close(one["host"], left["host"]) and close(one["learnt"], left["learnt"])
    if isinstance(column, Expecting):
        assert left["claim"] == "ClaimFailed" and float(left["learnt"]["measured"]) > 0


def spawn(column: Column) -> None:
    """The weights come back by Lightning, what was learnt by the report."""
    results, one = spawned()[column.key], run(column, "sampled", 0, 1)
    assert close(one["host"], results["host"]) and column.metric in results["metrics"]
    assert isinstance(column, Expecting) == ("ClaimFailed" in results["claim"])
    if isinstance(column, Regularizing):
        (file,) = Path(spawned()["folder"], column.key).rglob("levels.json")
        multipliers = torch.tensor([level.dual for level in load_levels(file)], dtype=torch.float64)
        assert torch.allclose(multipliers, one["learnt"]["dual"], rtol=1e-6, atol=1e-6)
    if not isinstance(column, Augmenting):
        return
    (report,) = Path(spawned()["folder"], column.key).rglob("symmetry.yaml")
    assert torch.allclose(Symmetry.load(report.parent).group.basis(), one["found"][0], atol=1e-5)


def refuse(column: Column, strategy: str) -> str:
    """Refuse before anything is touched; a strategy of Lightning's own, made without the devices it needs."""
    kind = getattr(strategies, strategy)
    added, host = column.build(), column.host(Plain)
    trainer = make_trainer(*added)
    trainer._accelerator_connector.strategy = object.__new__(kind)
    trainer.training, host.trainer = True, trainer
    with pytest.raises(UnsupportedTrainer) as caught:
        added[0].setup(trainer, host, "fit") if added else host.measure((torch.zeros(3, 2), torch.zeros(3, 2)))
    assert not {"training_step", "forward"} & vars(host).keys() and strategy in str(caught.value)
    return str(caught.value)


def compile_child(column: Column) -> None:
    compare(column, CompiledChild)


def compile_module(column: Column) -> None:
    """Whole, through Lightning; the oracle is not compiled."""

    def train(host: Any, added: Any) -> Any:
        trainer = make_trainer(*added)
        data = deal(make_data())
        trainer.fit(host if hasattr(host, "hand") else torch.compile(host, backend="eager"), data)
        return trainer

    column.check(Plain, train, 1e-6)
