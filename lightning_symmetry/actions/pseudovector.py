"""Axial vectors: angular momenta, torques, magnetic fields."""

from __future__ import annotations

from typing import final

from torch import Tensor

from lightning_symmetry.actions.base import TangentAction, orientation
from lightning_symmetry.groups import Element


@final
class Pseudovector(TangentAction):
    """The last axis is n axial vectors of space, one after the other: ``act(g, x) = sign(det J) J x``.

    They turn like vectors, and a mirror turns them the other way: the cross product of two vectors is one. In the plane
    an axial vector has a single component: see ``Pseudoscalar``.

    Example:
        >>> import torch
        >>> inversion = -torch.eye(3)[None]
        >>> Pseudovector().act(inversion, torch.tensor([[0.0, 0.0, 1.0]]))
        tensor([[0., 0., 1.]])
    """

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        return "pseudovector"

    def base_dim(self, x: Tensor) -> int | None:
        """Tell that axial vectors are those of space."""
        return 3

    def node_count(self, x: Tensor) -> int | None:
        """Tell the number of nodes that carry vectors."""
        return x.shape[1] if x.ndim == 3 else None

    def check(self, x: Tensor) -> None:
        """Refuse whole numbers, and axes that are not made of vectors of space."""
        super().check(x)
        self._split(x, 3)

    def _move(self, g: Element, x: Tensor) -> Tensor:
        sign = orientation(g, x)
        return super()._move(g, x) * sign.reshape(-1, *[1] * (x.ndim - 1))
