"""How far two answers lie apart, one number a sample."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_symmetry.functional.distributed import sum_over_ranks
from lightning_symmetry.functional.precision import widen


def relative_residual(a: Tensor, b: Tensor, scale: Tensor | float) -> Tensor:
    """Average the squared difference over everything but the batch and divide by a scale.

    ``r_b = mean_i (a_bi - b_bi)^2 / scale_b``: without units where the scale is a mean square of the same quantity.

    Args:
        a: (B, ...).
        b: (B, ...) of the same shape.
        scale: Positive; a number or (B,), in the squared units of ``a``.

    Returns:
        (B,), at least float32.

    Example:
        >>> relative_residual(torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, 1.0]]), 2.0)
        tensor([1.])
    """
    squares = (widen(a) - widen(b)).square().reshape(a.shape[0], -1)
    return squares.mean(1) / scale


def relative_to_variance(error: Tensor, y: Tensor) -> Tensor:
    """Divide squared errors of samples by the variance of the outputs over the samples of all ranks.

    ``r_b = e_b / V`` with ``V = mean (y - mean y)^2``, V being differentiated too: the quotient does not change when y
    is scaled, so that minimising it cannot shrink the outputs. Its mean over ranks has the value and the gradient of
    the quotient on the global batch.

    Args:
        error: (B,), mean squares in the units of ``y`` squared.
        y: (B, ...), outputs.

    Returns:
        (B,), at least float32.

    Cost: one all-reduce of twice the size of one output.

    Example:
        >>> relative_to_variance(torch.tensor([2.0, 4.0]), torch.tensor([[1.0], [-1.0]]))
        tensor([2., 4.])
    """
    y, error = widen(y).reshape(len(y), -1), widen(error)
    features = y.shape[1]
    seen = y.detach()
    sums = torch.cat([seen.sum(0), (seen * seen).sum(0), error.detach().sum()[None], seen.new_tensor([float(len(y))])])
    sums = sum_over_ranks(sums)
    mean, power, total = sums[:features] / sums[-1], (sums[features:-2] / sums[-1]).mean(), sums[-2] / sums[-1]
    variance = power - mean.square().mean()
    # an answer that is (nearly) constant has no scale of its own: a thousandth of its power bounds the quotient
    floor = (1e-3 * power).clamp_min(1e-12)
    scale = torch.maximum(variance, floor)
    spread = (y - mean).square().mean(1)
    slope = torch.where(variance > floor, total / scale.square(), torch.zeros_like(scale))
    return error / scale - slope * (spread - spread.detach())
