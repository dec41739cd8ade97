"""`LearnableAugmentation`: its contract and its arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_symmetry.callbacks import LearnableAugmentation
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.testing import CallbackContract


class TestLearnableAugmentation(CallbackContract):
    subject = LearnableAugmentation

    def make(self) -> LearnableAugmentation:
        return LearnableAugmentation("vector -> vector", balance=[1.0, 0.05, 0.1], probability=0.5)

    def make_off(self) -> LearnableAugmentation:
        return LearnableAugmentation("vector -> vector", balance=0.0, probability=0.0)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_probabilities_are_probabilities(probability: float) -> None:
    with pytest.raises(InvalidSetting, match="got .*expected "):
        LearnableAugmentation("vector -> vector", probability=probability)


def test_a_law_without_widths_only_augments(tmp_path: Path) -> None:
    turns = {"over": "SO(2)", "law": {"name": "Haar"}, "input": "vector", "output": "vector"}
    callback = LearnableAugmentation(turns, losses=[], probability=1.0)
    TestLearnableAugmentation().fit([callback], str(tmp_path))
    assert not callback.discoveries and not callback.laws
