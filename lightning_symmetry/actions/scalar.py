"""Data that do not move."""

from __future__ import annotations

from typing import final

from lightning_symmetry.actions.base import StillAction


@final
class Scalar(StillAction):
    """Energies, masses, scores: ``act(g, x) = x``, whatever the type of the data.

    Example:
        >>> import torch
        >>> Scalar().act(torch.eye(2)[None], torch.tensor([7]))
        tensor([7])
    """

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        return "scalar"
