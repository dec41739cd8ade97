"""Augerino against known truths: widths that reach as far as the labels allow, and no farther."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import nn

from lightning_symmetry.actions import Image
from lightning_symmetry.balancing import Constraint, Fixed
from lightning_symmetry.callbacks import LearnableAugmentation
from lightning_symmetry.data import RotatedDigits, TurnedBlobs
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.groups import SO
from lightning_symmetry.hosts import Classifier
from lightning_symmetry.methods import augerino
from lightning_symmetry.samplers import Uniform
from lightning_symmetry.symmetry import Symmetry

ROTATIONS = "SO(2) on image -> label"


def make_host() -> Classifier:
    """The network of the published experiment: two convolutions, 16 and 32 channels."""
    host = Classifier(classes=4, lr=0.01)
    host.net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 4),
    )
    return host


def train(
    callback: LearnableAugmentation, data: Any, epochs: int, folder: Path, host: Any = make_host, seed: int = 0
) -> Trainer:
    seed_everything(seed, verbose=False)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        check_val_every_n_epoch=epochs,
    )
    trainer.fit(host(), data)
    return trainer


def full_width(callback: LearnableAugmentation) -> float:
    (law,) = callback.laws
    return 2 * law.generators[0].width


def half_width(v: float) -> float:
    """The published start: the full width is softplus(v)."""
    return math.log1p(math.exp(v)) / 2


def test_a_number_is_the_published_objective_and_nothing_the_constrained_one() -> None:
    published, tuned = augerino("image -> label", reward=0.05), augerino("image -> label")
    assert isinstance(published.balance, Fixed) and published.balance.values == [0.05]
    assert isinstance(tuned.balance, Constraint)
    assert [loss.form for c in (published, tuned) for loss in c.losses] == ["norm", "log"]
    for callback in (published, tuned):
        assert callback.probability == 1 and callback.average == 4
        assert isinstance(callback.symmetries[0].sampler, Uniform) and callback.symmetries[0].sampler.learnable


def test_images_move_by_six_generators_and_reflect_at_their_edges() -> None:
    (symmetry,) = augerino("image -> label").symmetries
    symmetry.bind(torch.zeros(2, 1, 8, 8))
    assert symmetry.group.count == 6
    ((_, action),) = symmetry.input.moving
    assert isinstance(action, Image) and action.padding == "reflection"
    (said,) = augerino("SO(2) on image(padding='zeros') -> label").symmetries
    assert said.input.moving[0][1].padding == "zeros"


def test_other_data_need_a_known_group() -> None:
    assert augerino("SE(3) on pos=points, z=scalar -> forces=vector").symmetries[0].sampler.learnable
    with pytest.raises(InvalidSetting, match="names no group.*SE\\(3\\)"):
        augerino("points -> scalar")
    with pytest.raises(InvalidSetting, match="generators are to be learnt.*semola"):
        augerino("learned(2) on image -> label")


def test_a_law_of_ones_own_is_kept() -> None:
    law = Symmetry(Uniform(SO(2), 0.7, learnable=True), "image", "label")
    assert augerino(law).symmetries[0] is law


class TestBlobs:
    """Rotations beyond `TurnedBlobs.widest` mix two classes; the labels themselves say how wide is right."""

    tolerance = 0.15

    @pytest.mark.slow
    @pytest.mark.parametrize("degrees", [45.0, 22.5])
    def test_the_published_reward_finds_the_width(self, degrees: float, tmp_path: Path) -> None:
        callback = augerino(ROTATIONS, reward=0.05, width=half_width(-1.0), average=0)
        data = TurnedBlobs(degrees=degrees)
        trainer = train(callback, data, 20, tmp_path)
        assert abs(full_width(callback) - 2 * data.widest) < self.tolerance
        assert trainer.callback_metrics["val/accuracy"] > 0.99

    @pytest.mark.slow
    @pytest.mark.parametrize("start", [-5.0, -1.0, 3.0])
    def test_without_a_constant_every_start_finds_the_width(self, start: float, tmp_path: Path) -> None:
        callback = augerino(ROTATIONS, width=half_width(start), average=0)
        train(callback, data := TurnedBlobs(degrees=45.0), 20, tmp_path)
        assert abs(full_width(callback) - 2 * data.widest) < self.tolerance

    @pytest.mark.slow
    def test_the_same_defaults_find_another_width(self, tmp_path: Path) -> None:
        callback = augerino(ROTATIONS, average=0)
        train(callback, data := TurnedBlobs(degrees=22.5), 20, tmp_path)
        assert abs(full_width(callback) - 2 * data.widest) < self.tolerance

    @pytest.mark.slow
    def test_without_a_reward_the_width_stays_small(self, tmp_path: Path) -> None:
        callback = augerino(ROTATIONS, reward=0.0, width=half_width(-1.0), average=0)
        train(callback, data := TurnedBlobs(degrees=45.0), 20, tmp_path)
        assert full_width(callback) < data.widest


@pytest.fixture(scope="module")
def ranges(tmp_path_factory: pytest.TempPathFactory) -> dict[float, dict[str, float]]:
    """Half-widths on digits that are turned by all angles, by up to 45 degrees, and not at all."""
    found = {}
    for degrees in (180.0, 45.0, 0.0):
        callback = augerino("image -> label", average=0)
        folder = tmp_path_factory.mktemp("digits")
        train(callback, RotatedDigits(degrees=degrees, fresh=True), 60, folder, lambda: Classifier(width=16))
        found[degrees] = {g.name: g.width for g in callback.laws[0].generators}
    return found


@pytest.mark.slow
def test_digits_turned_by_any_angle_are_turned_by_any_angle(ranges: dict[float, dict[str, float]]) -> None:
    rotation, *others = ranges[180.0].values()
    assert rotation > 2.8 and max(others) < rotation / 10


@pytest.mark.slow
def test_upright_digits_are_hardly_turned(ranges: dict[float, dict[str, float]]) -> None:
    assert ranges[0.0]["rotation"] < 0.3


@pytest.mark.slow
def test_digits_turned_by_up_to_45_degrees_prefer_rotations(ranges: dict[float, dict[str, float]]) -> None:
    # coefficients compare: one of 0.1 moves the farthest pixels by 0.1 to 0.14, whatever the generator. Under the log
    # each range goes with the root of what it costs, so that a factor of 2 is a factor of 4 in cost.
    rotation, *others = ranges[45.0].values()
    assert rotation > 2 * max(others)


@pytest.mark.slow
def test_the_published_reward_prefers_rotations(tmp_path: Path) -> None:
    callback = augerino("image -> label", reward=0.05, average=0)
    train(callback, RotatedDigits(degrees=45.0, fresh=True), 120, tmp_path, lambda: Classifier(width=16))
    rotation, *others = callback.laws[0].generators
    assert rotation.name == "rotation" and rotation.width > 3 * max(g.width for g in others)
