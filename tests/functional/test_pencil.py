from __future__ import annotations

import math

import pytest
import scipy.linalg
import torch
from torch import Tensor

from lightning_symmetry.functional.pencil import solve_pencil, student, whiten, worst_on_the_other_half


def folds(rows: Tensor, count: int) -> Tensor:
    return torch.stack([part.mT @ part for part in rows.chunk(count)])


@pytest.fixture
def rows() -> Tensor:
    return torch.randn(640, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def metric() -> Tensor:
    points = torch.randn(640, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return folds(points * torch.tensor([1.0, 0.5, 2.0, 1.0, 3.0]).double(), 16)


def test_it_solves_what_scipy_solves(rows: Tensor, metric: Tensor) -> None:
    gram = folds(rows, 16)
    found = solve_pencil(gram, metric, whiten(metric.sum(0)).basis)
    expected = scipy.linalg.eigh(gram.sum(0).numpy(), metric.sum(0).numpy(), eigvals_only=True)
    torch.testing.assert_close(found.defects.square(), torch.tensor(expected), rtol=1e-6, atol=1e-14)
    torch.testing.assert_close(
        found.vectors.mT @ metric.sum(0) @ found.vectors, torch.eye(5).double(), atol=1e-8, rtol=0
    )


def test_units_do_not_matter(rows: Tensor, metric: Tensor) -> None:
    units = torch.tensor([1.0, 1e3, 1e-4, 7.0, 1e5]).double()
    gram = folds(rows, 16)
    plain = solve_pencil(gram, metric, whiten(metric.sum(0)).basis).defects
    scale = units[:, None] * units
    scaled = solve_pencil(gram * scale, metric * scale, whiten((metric * scale).sum(0)).basis).defects
    torch.testing.assert_close(plain, scaled, rtol=1e-8, atol=1e-10)


def test_errors_are_those_of_leaving_folds_out(rows: Tensor, metric: Tensor) -> None:
    gram = folds(rows, 16)
    found = solve_pencil(gram, metric, whiten(metric.sum(0)).basis)
    for i, v in enumerate(found.vectors.mT):
        left = []
        for k in range(16):
            others = [j for j in range(16) if j != k]
            left.append(math.sqrt(v @ gram[others].sum(0) @ v / (v @ metric[others].sum(0) @ v)))
        mean = sum(left) / 16
        expected = math.sqrt(15 / 16 * sum((value - mean) ** 2 for value in left))
        assert abs(float(found.errors[i]) - expected) < 1e-9 * max(1, expected)


def test_a_fold_without_samples_is_left_out(rows: Tensor, metric: Tensor) -> None:
    gram = folds(rows, 16)
    longer = [torch.cat([part, torch.zeros_like(part[:3])]) for part in (gram, metric)]
    found, same = (solve_pencil(g, d, whiten(d.sum(0)).basis) for g, d in ((gram, metric), tuple(longer)))
    assert same.folds == found.folds == 16
    torch.testing.assert_close(same.errors, found.errors)


def test_what_the_metric_cannot_see_is_told() -> None:
    points = torch.randn(50, 3, dtype=torch.float64)
    seen = whiten(torch.cat([points, points[:, :1], torch.zeros(50, 1)], 1).mT.double() @ torch.cat(
        [points, points[:, :1], torch.zeros(50, 1).double()], 1
    ))  # fmt: skip
    assert seen.basis.shape == (5, 3) and seen.lost.shape == (5, 2)


def test_directions_chosen_by_luck_fail_on_the_other_half() -> None:
    few = torch.randn(32, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gram, metric = folds(few, 16), torch.eye(40).double().expand(16, 40, 40)
    basis = whiten(metric.sum(0)).basis
    assert float(solve_pencil(gram, metric, basis).defects[7]) < 1e-6  # 32 rows cannot fill 40 dimensions
    assert worst_on_the_other_half(gram, metric, basis, 8) > 0.3


def test_quantiles_fall_towards_those_of_the_normal_law() -> None:
    two, one = zip(*(student(n) for n in (2, 3, 8, 16, 100)), strict=True)
    assert sorted(two, reverse=True) == list(two) and sorted(one, reverse=True) == list(one)
    assert student(16) == (2.131, 1.753)
    assert student(21) == pytest.approx((2.086, 1.725), abs=0.01) and student(10**6) == pytest.approx(
        (1.96, 1.645), abs=1e-3
    )
