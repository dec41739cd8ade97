"""Data whose broken symmetries are known: the strengths find out, and the network is better for it."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import pytest

from lightning_symmetry.balancing import Ratio
from lightning_symmetry.callbacks import EquivarianceRegularizer
from lightning_symmetry.data import FallingSprings, Inertia
from lightning_symmetry.hosts import MotionRegressor

pytestmark = pytest.mark.slow

TENSORS = {"input": "tensors('5x0 + 5x1')", "output": "tensors('1x2')"}


def press(host: Any, data: Any, over: dict[str, str], balance: Any, epochs: int, **sides: str) -> Any:
    L.seed_everything(0, verbose=False)
    candidates = [{"name": name, "over": group, "law": {"name": "Haar"}, **sides} for name, group in over.items()]
    callbacks = [] if balance is None else [EquivarianceRegularizer(candidates, balance=balance)]
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = L.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, callbacks=callbacks, check_val_every_n_epoch=epochs, **quiet
    )
    trainer.fit(host, datamodule=data)
    found = {key: float(value) for key, value in trainer.callback_metrics.items()}
    return {**found, **trainer.test(host, datamodule=data, verbose=False)[0]}


def press_inertia(axis: str | None, balance: Any, epochs: int) -> Any:
    host = MotionRegressor(20, 9, [128, 128], lr=1e-3)
    axes = {name: f"about({name})" for name in "xyz"}
    return press(host, Inertia(axis, batch_size=250), axes, balance, epochs, **TENSORS)


def test_tuned_strengths_beat_none_and_equal_ones_on_inertia() -> None:
    plain, equal, tuned = (
        press_inertia("z", balance, 1000) for balance in (None, 1.3, Ratio(strength=1.3, start=0.25, window=0.05))
    )
    assert tuned["test/mse"] < plain["test/mse"] < equal["test/mse"]
    strengths = {axis: tuned[f"symmetry/{axis}/strength"] for axis in "xyz"}
    # the right error is at least five times smaller, so that the others lose at least a factor of 25
    assert strengths["z"] > 25 * max(strengths["x"], strengths["y"])


@pytest.mark.parametrize("axis", ["x", None])
def test_the_axis_is_named_and_all_are_left_alone_where_all_hold(axis: str | None) -> None:
    found = press_inertia(axis, Ratio(strength=1.3, start=0.9, window=0.1), 250)
    strengths = {name: found[f"symmetry/{name}/strength"] for name in "xyz"}
    if axis is None:
        assert min(strengths.values()) > 0.5 * max(strengths.values())
    else:
        assert strengths[axis] > 10 * max(s for name, s in strengths.items() if name != axis)


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
