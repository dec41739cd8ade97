"""Errors in units of the output's variance, whatever the size of the batch."""

from __future__ import annotations

import pytest
import torch

from lightning_symmetry.functional.residuals import as_rows, relative_residual, relative_to_variance


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (1,), (2, 3), (7, 2, 4), (0, 3)])
def test_errors_are_finite_and_free_of_scale_for_every_size(shape: tuple[int, ...]) -> None:
    y = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)

    def error(factor: torch.Tensor) -> torch.Tensor:
        return relative_to_variance(relative_residual(1.5 * y * factor, y * factor, 1.0), y * factor)

    values = error(scale)
    assert values.shape == shape[:1] and values.isfinite().all()
    torch.testing.assert_close(error(1e3 * scale), values)
    if shape[0]:
        (slope,) = torch.autograd.grad(values.mean(), scale)
        assert slope.abs() < 1e-9


def test_a_single_sample_is_measured_by_its_power() -> None:
    y = torch.tensor([[3.0, 4.0]])
    error = relative_residual(torch.zeros_like(y), y, 1.0)
    # the answer is off by all that it is
    torch.testing.assert_close(relative_to_variance(error, y), torch.ones(1))


def test_several_rows_a_sample_weigh_as_their_sample() -> None:
    y = torch.tensor([[1.0], [3.0], [5.0]])
    owner = torch.tensor([0, 0, 1])

    def pool(rows: torch.Tensor) -> torch.Tensor:
        return torch.stack([rows[owner == b].mean(0) for b in range(2)])

    # means of samples 2 and 5, of squares 5 and 25
    variance = 15 - 3.5**2
    torch.testing.assert_close(
        relative_to_variance(torch.tensor([1.0, 2.0]), y, pool), torch.tensor([1.0, 2.0]) / variance
    )


def test_one_graph_of_many_nodes_has_a_variance() -> None:
    y = torch.tensor([[1.0], [3.0]])
    ours = relative_to_variance(torch.ones(1), y, lambda rows: rows.mean(0, keepdim=True))
    torch.testing.assert_close(ours, torch.ones(1))


def test_the_quotient_descends_as_that_of_the_whole_batch() -> None:
    y = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    target = torch.randn(6, 2, dtype=torch.float64)
    error = (y - target).square().mean(1)
    ours = torch.autograd.grad(relative_to_variance(error, y).mean(), y, retain_graph=True)[0]
    plain = torch.autograd.grad(error.mean() / (y - y.mean(0)).square().mean(), y)[0]
    torch.testing.assert_close(ours, plain)


def test_rows_are_flat_where_there_are_none() -> None:
    assert as_rows(torch.zeros(0, 2, 3)).shape == (0, 6) and as_rows(torch.zeros(4)).shape == (4, 1)
