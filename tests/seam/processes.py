"""Runs a worker script in two processes that talk to each other, as a launcher would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
QUIET = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def run_on_two_ranks(worker: str, folder: Path) -> list[dict[str, Any]]:
    """Run a script of this folder, which is given ``folder`` and writes ``rank<n>.pt`` there; give what they hold."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name(worker)), str(folder)],
        cwd=folder,
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
