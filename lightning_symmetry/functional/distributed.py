"""Sums and means over all ranks, plain ones where nothing is distributed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist


def is_distributed() -> bool:
    """Whether more than one process takes part."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def sum_over_ranks(value: Tensor) -> Tensor:
    """Add a tensor over all ranks; no gradient flows through it.

    Args:
        value: Any tensor, of the same shape on every rank.

    Returns:
        The sum, on every rank.
    """
    value = value.detach().clone()
    if is_distributed():
        dist.all_reduce(value)
    return value


def mean_over_ranks(total: Tensor, count: float | Tensor) -> Tensor:
    """Mean of samples spread over ranks: the sum of totals divided by the sum of counts.

    Args:
        total: Sum over this rank's samples.
        count: How many samples that was.
    """
    both = sum_over_ranks(torch.cat([total.reshape(-1), torch.as_tensor(count).to(total).reshape(1)]))
    return (both[:-1] / both[-1]).reshape(total.shape)


def global_variance(y: Tensor) -> Tensor:
    """Variance over the samples of all ranks, averaged over the features of one sample.

    Args:
        y: (B, ...) outputs.

    Returns:
        A scalar without gradient; the mean square where there is one sample or no spread at all.
    """
    y = y.detach().flatten(1).to(torch.promote_types(y.dtype, torch.float32))
    features = y.shape[1]
    sums = sum_over_ranks(torch.cat([y.sum(0), (y * y).sum(0), y.new_tensor([float(len(y))])]))
    mean, square = sums[:features] / sums[-1], sums[features:-1] / sums[-1]
    variance, power = (square - mean * mean).mean(), square.mean()
    # a network that still answers a constant has no scale of its own: a thousandth of its power bounds the quotient
    return torch.maximum(variance, 1e-3 * power).clamp_min(1e-12)
