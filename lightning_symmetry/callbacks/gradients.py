"""How large the gradients of the task and of penalties are in the network's last weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def find_loss(output: Any) -> Tensor | None:
    """Find the loss in what a training step returned; None where it has no gradient.

    Args:
        output: A loss, or a mapping with one.
    """
    loss = output.get("loss") if isinstance(output, Mapping) else output
    return loss if isinstance(loss, Tensor) and loss.requires_grad and loss.numel() == 1 else None


def measure_gradients(losses: Sequence[Tensor], network: nn.Module) -> Tensor:
    """Measure the norm of every loss's gradient in the last weight that is trained.

    Args:
        losses: Scalars.
        network: Whose weight.

    Returns:
        (n,), NaN where a loss has no gradient.

    Cost: one backward a loss, down to that weight alone.
    """
    weights = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    sizes = []
    for loss in losses:
        gradient = None
        if weights and loss.requires_grad and bool(loss.isfinite()):
            (gradient,) = torch.autograd.grad(loss, weights[-1:], retain_graph=True, allow_unused=True)
        sizes.append(losses[0].new_full((), torch.nan) if gradient is None else torch.linalg.vector_norm(gradient))
    return torch.stack([size.to(sizes[0]) for size in sizes])
