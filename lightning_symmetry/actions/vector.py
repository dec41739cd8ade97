"""Vectors: velocities, forces, states."""

from __future__ import annotations

from typing import final

from torch import Tensor

from lightning_symmetry.actions.base import Action
from lightning_symmetry.exceptions import ActionMismatch
from lightning_symmetry.groups import Element, Group


@final
class Vector(Action):
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

    def _split(self, x: Tensor, dim: int) -> Tensor:
        if x.shape[-1] % dim:
            raise ActionMismatch(
                f"a last axis of length {x.shape[-1]} for {self.sentence!r}",
                f"a multiple of {dim}, the length of one vector",
                "Give the dimension, as in vector(3), or name the tensor that holds vectors.",
            )
        return x.reshape(x.shape[0], -1, dim)

    def _move(self, g: Element, x: Tensor) -> Tensor:
        return g.push(self._split(x, g.dim)).reshape(x.shape)

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        vectors = self._split(x, group.dim or x.shape[-1])
        velocity = group.field(vectors)
        if group.affine:
            velocity = velocity - group.field(vectors.new_zeros(1, 1, vectors.shape[-1]))
        return velocity.movedim(2, 1).reshape(x.shape[0], -1, *x.shape[1:])
