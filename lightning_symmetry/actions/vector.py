"""Vectors: velocities, forces, states."""

from __future__ import annotations

from typing import final

from torch import Tensor

from lightning_symmetry.actions.base import TangentAction
from lightning_symmetry.groups import Group


@final
class Vector(TangentAction):
    """The last axis is n vectors of length d, one after the other; they turn but are not translated.

    ``act(g, x) = (J x_1, ..., J x_n)`` with the linear part J of g.

    Args:
        dim: Length d of one vector; None takes the group's dimension, and the whole axis if the group leaves that open
            too.

    Example:
        >>> import torch
        >>> quarter = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
        >>> Vector().act(quarter, torch.tensor([[1.0, 0.0, 0.0, 1.0]]))
        tensor([[ 0.,  1., -1.,  0.]])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        return "vector" if self.dim is None else f"vector({self.dim})"

    def base_dim(self, x: Tensor) -> int | None:
        """Tell the length of one vector where it was given."""
        return self.dim

    def bind(self, x: Tensor, group: Group) -> None:
        """Give a group without dimension that of the whole axis."""
        self.check(x)
        space = group.part("space")
        if space is not None:
            space.bind(space.dim or self.dim or x.shape[-1], affine=self.affine)
            self._split(x, space.dim or x.shape[-1])

    def node_count(self, x: Tensor) -> int | None:
        """Tell the number of nodes that carry vectors."""
        return x.shape[1] if x.ndim == 3 else None

    def check(self, x: Tensor) -> None:
        """Refuse whole numbers, and axes that are not made of vectors."""
        super().check(x)
        if self.dim is not None:
            self._split(x, self.dim)
