"""Data that do not move."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lightning_symmetry.actions.base import Action
from lightning_symmetry.groups import Element, Group


@final
class Scalar(Action):
    """Labels, energies, class scores: ``act(g, x) = x``, whatever the type of the data.

    Example:
        >>> Scalar().act(torch.eye(2)[None], torch.tensor([7]))
        tensor([7])
    """

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        return "scalar"

    def base_dim(self, x: Tensor) -> int | None:
        """Leave the dimension open."""
        return None

    def check(self, x: Tensor) -> None:
        """Accept everything."""

    def act(self, g: Element | Tensor, x: Tensor) -> Tensor:
        """Return the data themselves."""
        return x

    def lie(self, group: Group, x: Tensor) -> Tensor:
        """Return zeros, (B, K, ...)."""
        dtype = x.dtype if x.is_floating_point() else torch.float32
        return torch.zeros(x.shape[0], group.count, *x.shape[1:], dtype=dtype, device=x.device)

    def _move(self, g: Element, x: Tensor) -> Tensor:
        return x

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        return self.lie(group, x)
