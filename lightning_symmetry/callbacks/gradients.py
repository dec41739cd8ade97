"""How large the gradients of the task and of penalties are in the network's last weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_symmetry.exceptions import NoGradient
from lightning_symmetry.functional.distributed import holds_everywhere, mean_over_ranks


def find_loss(output: Any) -> Tensor | None:
    """Find the loss in what a training step returned; None where it has no gradient.

    Args:
        output: A loss, or a mapping with one.
    """
    loss = output.get("loss") if isinstance(output, Mapping) else output
    return loss if isinstance(loss, Tensor) and loss.requires_grad and loss.numel() == 1 else None


class Gradients:
    """The gradients of a batch, of which the first run of a closure counts."""

    def __init__(self) -> None:
        self._rows: Tensor | None = None

    def note(self, losses: Sequence[Tensor], network: nn.Module) -> None:
        """Differentiate the losses of a step.

        Args:
            losses: As `take_gradients` takes them.
            network: Whose weight.
        """
        if self._rows is None:
            self._rows = take_gradients(losses, network)

    def collect(self, device: torch.device) -> Tensor | None:
        """Give the norm of every mean gradient over ranks, once a batch.

        Args:
            device: Where ranks communicate.

        Returns:
            (n,), NaN for what was not measured; None where a rank measured nothing.
        """
        rows, self._rows = self._rows, None
        if not holds_everywhere(rows is not None, device) or rows is None:
            return None
        return torch.linalg.vector_norm(mean_over_ranks(rows, 1.0), dim=1)


def take_gradients(losses: Sequence[Tensor], network: nn.Module) -> Tensor:
    """Take every loss's gradient in the last trained weight that all of them depend on.

    That is the last one, but for losses that look at a feature inside the network: what comes after it is not theirs.

    Args:
        losses: Scalars; one without gradient was not measured.
        network: Whose weight.

    Returns:
        (n, size of the weight), at least float32; NaN for what was not measured.

    Raises:
        NoGradient: No weight is shared.

    Cost: one backward a loss, down to that weight alone.
    """
    measured = [i for i, loss in enumerate(losses) if loss.requires_grad]
    for weight in reversed([p for p in network.parameters() if p.requires_grad and p.ndim > 1]):
        # nothing is computed for a weight that a loss does not depend on
        found = [torch.autograd.grad(losses[i], weight, retain_graph=True, allow_unused=True)[0] for i in measured]
        if found and all(gradient is not None for gradient in found):
            dtype = torch.promote_types(weight.dtype, torch.float32)
            rows = weight.new_full((len(losses), weight.numel()), torch.nan, dtype=dtype)
            rows[measured] = torch.stack([gradient.flatten() for gradient in found]).to(dtype)
            return rows
    raise NoGradient(
        got=f"{len(measured)} losses of which no trained weight of {type(network).__name__} is shared by all",
        expected="a weight that the task's loss and every penalty depend on, to compare gradients in",
        remedy="Use 'ratio', 'dual' or 'uncertainty', which compare values.",
    )
