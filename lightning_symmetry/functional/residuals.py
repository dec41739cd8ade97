"""How far two answers lie apart, one number a sample."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_symmetry.functional.distributed import sum_over_ranks
from lightning_symmetry.functional.precision import widen


def as_rows(t: Tensor) -> Tensor:
    """Flatten everything but the batch: (B, ...) to (B, D), also where D is 1 or B is 0.

    Args:
        t: (B, ...).

    Example:
        >>> as_rows(torch.zeros(3)).shape, as_rows(torch.zeros(0, 2, 2)).shape
        (torch.Size([3, 1]), torch.Size([0, 4]))
    """
    return t.flatten(1) if t.ndim > 1 else t.unsqueeze(1)


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
    return as_rows((widen(a) - widen(b)).square()).mean(1) / scale


def relative_to_variance(error: Tensor, y: Tensor, pool: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Divide squared errors of samples by the variance of the outputs over the samples of all ranks.

    ``r_b = e_b / V`` with ``V = mean (y - mean y)^2``, V being differentiated too: the quotient does not change when y
    is scaled, so that minimising it cannot shrink the outputs. Its mean over ranks has the value and the gradient of
    the quotient on the global batch. A single row has no variance: its power ``mean y^2`` stands in.

    Args:
        error: (B,), mean squares in the units of ``y`` squared.
        y: (B, ...), outputs; (R, ...) where samples have several rows, such as the nodes of graphs.
        pool: Then averages (R, ...) to (B, ...), so that all samples weigh the same.

    Returns:
        (B,), at least float32.

    Cost: one all-reduce of twice the size of one output.

    Example:
        >>> relative_to_variance(torch.tensor([2.0, 4.0]), torch.tensor([[1.0], [-1.0]]))
        tensor([2., 4.])
    """
    y, error = as_rows(widen(y)), widen(error)
    features, pool = y.shape[1], pool or (lambda rows: rows)
    seen = y.detach()
    counts = seen.new_tensor([float(len(error)), float(len(y))])
    sums = torch.cat([pool(seen).sum(0), pool(seen * seen).sum(0), error.detach().sum()[None], counts])
    sums = sum_over_ranks(sums)
    samples, rows = sums[-2:]
    mean, power, total = sums[:features] / samples, (sums[features:-3] / samples).mean(), sums[-3] / samples
    mean = torch.where(rows > 1, mean, torch.zeros_like(mean))
    variance = power - mean.square().mean()
    # an answer that is (nearly) constant has no scale of its own: a thousandth of its power bounds the quotient
    floor = (1e-3 * power).clamp_min(1e-12)
    scale = torch.maximum(variance, floor)
    spread = pool((y - mean).square().mean(1))
    slope = torch.where(variance > floor, total / scale.square(), torch.zeros_like(scale))
    return error / scale - slope * (spread - spread.detach())
