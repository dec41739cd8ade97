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


def holds_everywhere(flag: bool, device: torch.device) -> bool:
    """Tell whether something holds on every rank, so that all take the same branch.

    Args:
        flag: Whether it holds here.
        device: Of this rank.
    """
    return not bool(sum_over_ranks(torch.tensor(float(not flag), device=device)))


def mean_over_ranks(total: Tensor, count: float | Tensor) -> Tensor:
    """Mean of samples spread over ranks: the sum of totals divided by the sum of counts.

    Args:
        total: Sum over this rank's samples.
        count: How many samples that was.
    """
    both = sum_over_ranks(torch.cat([total.reshape(-1), torch.as_tensor(count).to(total).reshape(1)]))
    return (both[:-1] / both[-1]).reshape(total.shape)
