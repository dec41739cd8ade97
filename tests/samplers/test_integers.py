"""Whole coordinates: powers of one element."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SO, Group
from lightning_symmetry.samplers import Integers, Sampler
from lightning_symmetry.symmetry import Symmetry
from lightning_symmetry.testing import SamplerContract


class TestIntegers(SamplerContract):
    subject = Integers

    def make(self, group: Group | None = None) -> Sampler:
        return Integers(group, width=0.5, largest=3)


class TestLearnableIntegers(SamplerContract):
    subject = Integers

    def make(self, group: Group | None = None) -> Sampler:
        return Integers(group, learnable=True)


def test_every_multiple_is_drawn_equally_often() -> None:
    g, _ = Integers(SO(2), width=0.25, largest=2).sample(torch.zeros(5000, 1), 1, Rng(0))
    values, counts = g.coordinates.unique(return_counts=True)
    assert values.tolist() == [-0.5, -0.25, 0.0, 0.25, 0.5]
    assert counts.tolist() == pytest.approx([1000] * 5, rel=0.1)


def test_elements_are_powers_of_one() -> None:
    order = 5
    g, _ = Integers(SO(2), width=2 * math.pi / order).sample(torch.zeros(100, 1, dtype=torch.float64), 1, Rng(0))
    unit = torch.eye(2, dtype=torch.float64).expand(100, -1, -1)
    # the spacing is single precision, and counts up to fifty times
    torch.testing.assert_close(torch.linalg.matrix_power(g.linear, order), unit, atol=1e-5, rtol=0)


@pytest.mark.parametrize("through", ["save", "to_yaml"])
def test_the_law_is_saved_with_its_range(through: str, tmp_path: Path) -> None:
    symmetry = Symmetry(Integers(SO(2), width=0.5, largest=3), "vector(2)", "scalar")
    x = torch.zeros(40, 2)
    if through == "save":
        symmetry.bind(x)
        again = Symmetry.of(str(symmetry.save(tmp_path)))
    else:
        (tmp_path / "turns.yaml").write_text(symmetry.to_yaml())
        again = Symmetry.of(tmp_path / "turns.yaml")
    first, second = (s.sample(x, 1, Rng(0))[0].coordinates for s in (symmetry, again))
    assert torch.equal(first, second)


@pytest.mark.parametrize("largest", [0, -1, 1.5])
def test_a_range_without_multiples_is_refused(largest: Any) -> None:
    with pytest.raises(InvalidSetting, match="largest"):
        Integers(SO(2), largest=largest)
