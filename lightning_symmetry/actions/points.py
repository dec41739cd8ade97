"""Positions in space."""

from __future__ import annotations

from typing import final

from torch import Tensor

from lightning_symmetry.actions.base import Action
from lightning_symmetry.exceptions import ActionMismatch
from lightning_symmetry.groups import Element, Group


@final
class Points(Action):
    """The last axis is a position, which turns and is translated: ``act(g, p) = g(p)``.

    Args:
        dim: Length d of the last axis; None takes the data's.

    Example:
        >>> import torch
        >>> from lightning_symmetry.groups import Translation
        >>> Points().act(Translation(2).exp(torch.tensor([[1.0, 0.0]])), torch.zeros(1, 2))
        tensor([[1., 0.]])
    """

    affine = True

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        return "points" if self.dim is None else f"points({self.dim})"

    def base_dim(self, x: Tensor) -> int | None:
        """Tell the length of the last axis."""
        return x.shape[-1]

    def node_count(self, x: Tensor) -> int | None:
        """Tell the number of positions of a sample."""
        return x.shape[1] if x.ndim == 3 else None

    def check(self, x: Tensor) -> None:
        """Refuse whole numbers, positions of another length, and what is rather an image."""
        super().check(x)
        if self.dim is None and x.ndim > 3:
            raise ActionMismatch(
                f"data of shape {tuple(x.shape)} for 'points'",
                "positions, (B, d) or (B, N, d)",
                f"Write image, or points({x.shape[-1]}) if the last axis really holds positions.",
            )
        if self.dim not in (None, x.shape[-1]):
            raise ActionMismatch(
                f"a last axis of length {x.shape[-1]} for {self.sentence!r}",
                f"length {self.dim}",
                "Split concatenated positions into (B, N, d), or correct the dimension.",
            )

    def _move(self, g: Element, x: Tensor) -> Tensor:
        return g(x.reshape(x.shape[0], -1, x.shape[-1])).reshape(x.shape)

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        velocity = group.field(x.reshape(x.shape[0], -1, x.shape[-1]))
        return velocity.movedim(2, 1).reshape(x.shape[0], -1, *x.shape[1:])
