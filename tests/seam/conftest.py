from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lightning_symmetry.callbacks import augmentation, extraction, regularizer
from lightning_symmetry.discovery.level import save_levels


@pytest.fixture(autouse=True)
def stay_in_a_fresh_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reports and checkpoints go to the working directory, and every test starts from the same random state."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    yield


@pytest.fixture(autouse=True)
def keep_reports_light(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the numbers are written; a test that wants the pictures too asks for `full_report`."""
    if "full_report" not in request.fixturenames:
        for module in (augmentation, extraction):
            monkeypatch.setattr(module, "write_report", lambda found, folder, x: found.save(folder))
            monkeypatch.setattr(module, "print_discovery", lambda found, folder: None)
        monkeypatch.setattr(regularizer, "write_levels", lambda levels, curves, folder: save_levels(levels, folder))
        monkeypatch.setattr(regularizer, "print_levels", lambda levels, folder: None)


@pytest.fixture
def full_report() -> None:
    """Write and print the whole report."""
