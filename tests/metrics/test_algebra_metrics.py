"""Distances between spans of generators, on planted angles."""

from __future__ import annotations

from math import cos, pi, sin

import pytest
import torch

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.groups import SE, SO, Given
from lightning_symmetry.metrics import ClosureResidual, GeneratorAlignment, GrassmannDistance

TURN, SCALE = torch.tensor([[0.0, -1.0], [1.0, 0.0]]), torch.eye(2)


def tilted(angle: float) -> torch.Tensor:
    return (cos(angle) * TURN + sin(angle) * SCALE)[None]


@pytest.mark.parametrize("angle", [0.0, 1e-6, 0.3, pi / 2])
def test_a_planted_angle_is_measured(angle: float) -> None:
    alignment, distance = GeneratorAlignment("SO(2)"), GrassmannDistance(SO(2))
    for metric in (alignment, distance):
        metric.update(tilted(angle))
    assert float(alignment.compute()["cosine"]) == pytest.approx(cos(angle), abs=1e-6)
    # single precision is what the planted generator holds
    assert float(distance.compute()["distance"]) == pytest.approx(angle, abs=2e-7)


def test_missing_and_spare_directions_are_told_apart() -> None:
    both, alone = torch.stack([TURN, SCALE]), TURN[None]
    spare, missing = GeneratorAlignment(alone), GeneratorAlignment(both)
    spare.update(both)
    missing.update(alone)
    assert {k: round(float(v), 6) for k, v in spare.compute().items() if "se" not in k} == {
        "cosine": 1.0,
        "precision": 0.5,
    }
    assert {k: round(float(v), 6) for k, v in missing.compute().items() if "se" not in k} == {
        "cosine": 0.5,
        "precision": 1.0,
    }
    distance = GrassmannDistance(alone)
    distance.update(both)
    assert float(distance.compute()["distance"]) == pytest.approx(pi / 2)


def test_seeds_are_averaged_with_their_standard_error() -> None:
    metric, angles = GrassmannDistance("SO(2)"), torch.tensor([0.1, 0.2, 0.4, 0.5])
    for angle in angles.tolist():
        metric.update(Given(tilted(angle)))
    found = metric.compute()
    assert float(found["distance"]) == pytest.approx(float(angles.mean()), rel=1e-5)
    assert float(found["distance_se"]) == pytest.approx(float(angles.std() / 2), rel=1e-5)


def test_a_linear_group_lies_in_an_affine_one() -> None:
    metric = GeneratorAlignment(SE(2))
    metric.update(TURN[None])
    found = metric.compute()
    assert float(found["precision"]) == pytest.approx(1.0) and float(found["cosine"]) == pytest.approx(1 / 3)


def test_brackets_that_a_span_lacks_are_measured() -> None:
    for basis, expected in ((SO(3).basis(), 0.0), (SO(3).basis()[:2], 1.0)):
        metric = ClosureResidual()
        metric.update(basis)
        assert float(metric.compute()["residual"]) == pytest.approx(expected, abs=1e-10)


def test_other_spaces_are_refused() -> None:
    with pytest.raises(DimensionMismatch):
        GeneratorAlignment(SO(2)).update(torch.zeros(1, 4, 4))
