"""Classes, which do not move."""

from __future__ import annotations

from typing import final

from lightning_symmetry.actions.base import StillAction


@final
class Label(StillAction):
    """Which class something is, told by a number or by logits: ``act(g, x) = x``.

    Example:
        >>> import torch
        >>> Label().act(torch.eye(2)[None], torch.tensor([7]))
        tensor([7])
    """

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        return "label"
