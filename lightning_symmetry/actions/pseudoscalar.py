"""Numbers that change sign in a mirror: vorticity, helicity, handedness, the angular momentum of the plane."""

from __future__ import annotations

from typing import final

from torch import Tensor

from lightning_symmetry.actions.base import Action, orientation
from lightning_symmetry.groups import Element, Group


@final
class Pseudoscalar(Action):
    """Every number changes its sign where orientation does: ``act(g, x) = sign(det J) x``, whatever the shape.

    Example:
        >>> import torch
        >>> mirror = torch.diag(torch.tensor([-1.0, 1.0]))[None]
        >>> Pseudoscalar().act(mirror, torch.tensor([[3.0]]))
        tensor([[-3.]])
    """

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        return "pseudoscalar"

    def base_dim(self, x: Tensor) -> int | None:
        """Leave the dimension open."""
        return None

    def node_count(self, x: Tensor) -> int | None:
        """Tell the number of nodes that carry numbers."""
        return x.shape[1] if x.ndim == 3 else None

    def check(self, x: Tensor) -> None:
        """Refuse whole numbers; single numbers, (B,), are welcome."""
        super().check(x if x.ndim != 1 else x.unsqueeze(1))

    def _move(self, g: Element, x: Tensor) -> Tensor:
        return x * orientation(g, x).reshape(-1, *[1] * (x.ndim - 1))

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape[0], group.count, *x.shape[1:])
