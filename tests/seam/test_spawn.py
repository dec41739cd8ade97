"""Spawned processes bring no attributes back; what was learnt is in the report folder."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lightning_symmetry.symmetry import Symmetry
from tests.seam.boring import Host, fit, make_callback, make_trainer

ROOT = Path(__file__).parents[2]
SCRIPT = """
from pathlib import Path
from tests.seam.boring import Host, make_callback, make_loader, make_trainer

if __name__ == "__main__":
    host, callback = Host(), make_callback()
    trainer = make_trainer(callback, strategy="ddp_spawn", devices=2)
    trainer.fit(host, make_loader())
    assert callback.step == 0
    Path("metrics").write_text(" ".join(trainer.callback_metrics))
"""


def test_callbacks_cross_process_borders() -> None:
    callback = make_callback("vector -> learned")
    pickle.loads(pickle.dumps(callback))
    copy.deepcopy(callback)
    fit(Host(), callback)
    other = pickle.loads(pickle.dumps(callback))
    assert other.step == 4 and repr(other.symmetries.state_dict()) == repr(callback.symmetries.state_dict())
    make_trainer(other)
    fit(Host(), other)
    assert other.step == 8


@pytest.mark.slow
def test_results_are_read_from_the_report() -> None:
    Path("script.py").write_text(SCRIPT)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run([sys.executable, "script.py"], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    (report,) = Path().rglob("symmetry.yaml")
    found = Symmetry.load(report.parent)
    assert found.group.dim == 2 and isinstance(found.group.basis(), torch.Tensor)
    assert "symmetry/" in Path("metrics").read_text()
