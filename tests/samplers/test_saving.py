"""Symmetries keep the laws that they were saved with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lightning_symmetry import Symmetry
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import SE, SO
from lightning_symmetry.samplers import Haar, Normal, PCAFrames, PointFrames, Polar, Sampler, Uniform, by_name


@pytest.mark.parametrize(
    "law",
    [Uniform(SE(2), [0.1, 0.2, 0.3]), Haar(SE(2), 0.5), PCAFrames(SE(2)), PointFrames(SO(2)), Polar(SE(2))],
    ids=str,
)
def test_a_saved_symmetry_has_the_same_law(law: Sampler, tmp_path: Path) -> None:
    symmetry = Symmetry(law, "points", "scalar")
    x = Rng(0).normal(4, 6, 2)
    symmetry.bind(x, torch.zeros(4, 1))
    symmetry.save(tmp_path)
    loaded = Symmetry.load(tmp_path)
    assert type(loaded.sampler) is type(law)
    here, there = (s.sample(x, 3, Rng(1))[0] for s in (symmetry, loaded))
    points = x.repeat_interleave(3, 0)
    torch.testing.assert_close(there(points), here(points))


def test_laws_have_names() -> None:
    assert isinstance(by_name("pca_frames", SO(3)), PCAFrames)
    assert isinstance(by_name("PointFrames", SO(3)), PointFrames)
    assert isinstance(by_name("polar"), Polar) and by_name("haar", shift=0.5).settings == {"shift": 0.5}
    by_mapping = Symmetry.of({"over": "SE(3)", "law": {"name": "pca_frames"}, "input": "points", "output": "scalar"})
    assert isinstance(by_mapping.sampler, PCAFrames)


@pytest.mark.parametrize("law", [Normal, Uniform])
@pytest.mark.parametrize("learnable", [False, True])
def test_whether_widths_are_learnt_is_saved(law: type, learnable: bool, tmp_path: Path) -> None:
    symmetry = Symmetry(law(SO(2), 0.5, learnable=learnable), "vector", "vector")
    symmetry.bind(torch.zeros(2, 2), torch.zeros(2, 2))
    (tmp_path / "by_hand.yaml").write_text(symmetry.to_yaml())
    for again in (Symmetry.load(symmetry.save(tmp_path)), Symmetry.of(str(tmp_path / "by_hand.yaml"))):
        assert type(again.sampler) is law and again.sampler.learnable is learnable
