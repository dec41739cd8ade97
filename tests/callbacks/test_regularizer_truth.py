"""Gravity breaks tilts by a known amount: the ratio of the strengths tells how strongly."""

from __future__ import annotations

import tempfile
from typing import Any

import lightning.pytorch as L
import pytest

from lightning_symmetry.balancing import Ratio
from lightning_symmetry.callbacks import EquivarianceRegularizer
from lightning_symmetry.data import FallingSprings
from lightning_symmetry.hosts import MotionRegressor

pytestmark = pytest.mark.slow


def press(host: Any, data: Any, over: dict[str, str], balance: Any, epochs: int, **sides: Any) -> Any:
    L.seed_everything(0, verbose=False)
    candidates = [{"name": name, "over": group, **sides} for name, group in over.items()]
    callbacks = [] if balance is None else [EquivarianceRegularizer(candidates, balance=balance)]
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    with tempfile.TemporaryDirectory() as folder:
        settings = {"max_epochs": epochs, "check_val_every_n_epoch": epochs, "default_root_dir": folder, **quiet}
        trainer = L.Trainer(accelerator="cpu", logger=False, callbacks=callbacks, **settings)
        trainer.fit(host, datamodule=data)
        found = {key: float(value) for key, value in trainer.callback_metrics.items()}
        return {**found, **trainer.test(host, datamodule=data, verbose=False)[0]}


def test_the_ratio_of_strengths_says_how_strongly_gravity_breaks_the_symmetry() -> None:
    ratios = []
    for gravity in (0.0, 1.0, 3.0):
        host = MotionRegressor(30, 15, [128, 128], lr=3e-3)
        data = FallingSprings(gravity, samples=1000, batch_size=250)
        groups = {"about": "about(z)", "tilts": "tilts(z)"}
        found = press(
            host, data, groups, Ratio(strength=0.1, start=0.8, window=0.2), 150, input="vector(3)", output="vector(3)"
        )
        ratios.append(found["symmetry/tilts/strength"] / found["symmetry/about/strength"])
    assert 0.3 < ratios[0] < 3
    assert ratios[0] > 2 * ratios[1] > 4 * ratios[2]
