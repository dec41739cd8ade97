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
    """Measure the norm of every loss's gradient in the last trained weight that all of them depend on.

    That is the last one, but for losses that look at a feature inside the network: what comes after it is not theirs.

    Args:
        losses: Scalars; one that is NaN or without gradient was not measured.
        network: Whose weight.

    Returns:
        (n,), NaN for what was not measured, and for everything where no weight is shared.

    Cost: one backward a loss, down to that weight alone.
    """
    measured = [i for i, loss in enumerate(losses) if loss.requires_grad and bool(loss.isfinite())]
    sizes = [losses[0].new_full((), torch.nan)] * len(losses)
    for weight in reversed([p for p in network.parameters() if p.requires_grad and p.ndim > 1]):
        # nothing is computed for a weight that a loss does not depend on
        found = [torch.autograd.grad(losses[i], weight, retain_graph=True, allow_unused=True)[0] for i in measured]
        if all(gradient is not None for gradient in found):
            for i, gradient in zip(measured, found, strict=True):
                sizes[i] = torch.linalg.vector_norm(gradient).to(sizes[i])
            break
    return torch.stack(sizes)
