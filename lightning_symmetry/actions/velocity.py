"""Vectors at points of the input: what a differential equation x' = F(x) makes of a state."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lightning_symmetry.actions.base import Action
from lightning_symmetry.exceptions import ActionMismatch
from lightning_symmetry.groups import Element, Group


@final
class Velocity(Action):
    """A point and a vector attached to it: ``act(g, (p, v)) = (g(p), Dg(p) v)``.

    It is the action on the output of a map F that gives each point p of the input a vector v = F(p): a field that has
    the symmetry makes an equation ``p' = F(p)`` whose solutions are carried to solutions. ``Symmetry.lift`` stacks the
    input's points over the vectors. The derivative along a velocity field zeta is ``(zeta(p), Dzeta(p) v)``, so that
    the defect of F is the bracket ``DF zeta - Dzeta F``. Unlike ``vector`` it takes groups that are not linear.

    Args:
        dim: Length d of the last axis; None takes the data's.

    Example:
        >>> from lightning_symmetry.groups import SE
        >>> g = SE(2).exp(torch.tensor([[0.0, 1.0, 2.0]]))
        >>> Velocity().act(g, torch.tensor([[[0.0, 0.0], [3.0, 4.0]]]))
        tensor([[[1., 2.],
                 [3., 4.]]])
    """

    affine = True
    attached = True

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        return "velocity" if self.dim is None else f"velocity({self.dim})"

    def base_dim(self, x: Tensor) -> int | None:
        """Tell the length of the last axis."""
        return x.shape[-1]

    def node_count(self, x: Tensor) -> int | None:
        """Tell the number of points of a sample."""
        return x.shape[2] if x.ndim == 4 else None

    def check(self, x: Tensor) -> None:
        """Refuse whole numbers and everything but points over vectors."""
        super().check(x)
        if x.ndim not in (3, 4) or x.shape[1] != 2 or self.dim not in (None, x.shape[-1]):
            raise ActionMismatch(
                f"data of shape {tuple(x.shape)} for {self.sentence!r}",
                f"points stacked over vectors, (B, 2, {self.dim or 'd'}) or (B, 2, N, {self.dim or 'd'})",
                "Use symmetry.lift(f), or torch.stack((points, vectors), 1).",
            )

    def compared(self, y: Tensor) -> Tensor:
        """Give the vectors: the points are those of the input."""
        return y[:, 1]

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """View points and vectors as (B, N, d) each."""
        points, vectors = x.reshape(*x.shape[:2], -1, x.shape[-1]).unbind(1)
        return points, vectors

    def _move(self, g: Element, x: Tensor) -> Tensor:
        points, vectors = self._split(x)
        return torch.stack((g(points), g.push(vectors, points)), 1).reshape(x.shape)

    def _permute(self, g: Element, x: Tensor) -> Tensor:
        return x if x.ndim == 3 else g(x.transpose(1, 2)).transpose(1, 2)

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        points, vectors = self._split(x)
        slopes = torch.func.jvp(group.field, (points,), (vectors,))
        return torch.stack([slope.movedim(2, 1) for slope in slopes], 2).reshape(x.shape[0], -1, *x.shape[1:])
