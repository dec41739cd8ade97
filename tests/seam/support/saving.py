"""Rows of the support table on checkpoints, each a law that a column has to hold."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.environments import SLURMEnvironment

from tests.seam.boring import fit, make_loader, make_trainer, same, weights
from tests.seam.support.columns import Column
from tests.seam.support.hosts import Manual, Plain
from tests.seam.test_resume import StatefulLoader


def assert_same_end(column: Column, left: tuple[Any, list[Any]], right: tuple[Any, list[Any]]) -> None:
    assert same(weights(left[0]), weights(right[0]))
    assert same(column.learnt(left[1]), column.learnt(right[1]))
    assert column.batches(left[1]) == column.batches(right[1])


def resume(column: Column) -> None:
    for kind in (Plain, Manual):
        whole, added = column.host(kind), column.build()
        fit(whole, *added, max_epochs=2)
        fit(column.host(kind), *column.build()).save_checkpoint("half.ckpt")
        resumed, again = column.host(kind), column.build()
        fit(resumed, *again, max_epochs=2, ckpt="half.ckpt")
        assert resumed.batches == 4
        assert_same_end(column, (whole, added), (resumed, again))


def save_within_an_epoch(column: Column) -> None:
    whole, added = column.host(Plain), column.build()
    saving = ModelCheckpoint(dirpath="saved", every_n_train_steps=2, save_top_k=-1, filename="{step}")
    fit(whole, *added, saving, data=StatefulLoader(), enable_checkpointing=True)
    resumed, again = column.host(Plain), column.build()
    fit(resumed, *again, data=StatefulLoader(), ckpt="saved/step=2.ckpt")
    assert resumed.batches == 2
    assert_same_end(column, (whole, added), (resumed, again))


class Preempted(Callback):
    """The cluster's signal arrives after a batch; the job ends, as when it is requeued."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 1:
            os.kill(os.getpid(), signal.SIGUSR1)
            trainer.should_stop = True


def requeue(column: Column, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning's own handler saves; the next job finds the file by itself."""
    whole, added = column.host(Plain), column.build()
    fit(whole, *added, data=StatefulLoader())
    Path("scontrol").write_text("#!/bin/sh\nexit 0\n")
    Path("scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path.cwd()}{os.pathsep}{os.environ['PATH']}")
    job = {"JOB_ID": "1", "JOB_NAME": "train", "NTASKS": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    cluster = {"plugins": [SLURMEnvironment(requeue_signal=signal.SIGUSR1)], "default_root_dir": "job"}
    fit(column.host(Plain), *column.build(), Preempted(), data=StatefulLoader(), **cluster)
    assert [path.name for path in Path("job").glob("*.ckpt")] == ["hpc_ckpt_1.ckpt"]
    resumed, again = column.host(Plain), column.build()
    fit(resumed, *again, data=StatefulLoader(), default_root_dir="job")
    assert resumed.batches == 2
    assert_same_end(column, (whole, added), (resumed, again))


def load_without_us(column: Column) -> None:
    """A checkpoint has the keys of a plain one, loads strictly, and training goes on without the package."""
    fit(column.host(Plain), *column.build()).save_checkpoint("ours.ckpt")
    fit(Plain()).save_checkpoint("plain.ckpt")
    ours, plain = (torch.load(f"{name}.ckpt", weights_only=True) for name in ("ours", "plain"))
    assert list(ours["state_dict"]) == list(plain["state_dict"]) and ours.keys() - {"callbacks"} == plain.keys() - {
        "callbacks"
    }
    assert same(weights(Plain.load_from_checkpoint("ours.ckpt", strict=True)), ours["state_dict"])
    assert fit(Plain(), ckpt="ours.ckpt", max_epochs=2).global_step == 8


def load_an_older_one(column: Column) -> None:
    """A checkpoint from before is continued: the module and its optimizer from there, what is new from the start."""
    fit(Plain()).save_checkpoint("plain.ckpt")
    host, added = column.host(Plain), column.build()
    trainer = make_trainer(*added, max_epochs=2)
    trainer.fit(host, make_loader(), ckpt_path="plain.ckpt")
    assert trainer.global_step == 8 and host.batches == 4
    assert column.batches(added) in (None, 4)
    plain = Plain()
    fit(plain, ckpt="plain.ckpt", max_epochs=2)
    assert same(weights(plain), weights(host)) == (column.key in ("expect", "extract"))
