"""References to nodes: lists of edges, bonds, neighbours."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lightning_symmetry.actions.base import NodeAction
from lightning_symmetry.exceptions import ActionMismatch, DimensionMismatch
from lightning_symmetry.groups import Element


@final
class Index(NodeAction):
    """Whole numbers that point at nodes are renamed, so that they point at the same nodes after these were reordered.

    If ``y = act(g, x)`` and the features of the nodes are ``h``, then ``g(h)[y] = h[x]``. Negative numbers fill up
    lists of unequal length and stay as they are.

    Example:
        >>> from lightning_symmetry.groups import Permutation
        >>> edges = torch.tensor([[[0, 1], [1, 2], [-1, -1]]])
        >>> Index().act(Permutation(torch.tensor([[2, 0, 1]])), edges)
        tensor([[[ 1,  2],
                 [ 2,  0],
                 [-1, -1]]])
    """

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        return "index"

    def check(self, x: Tensor) -> None:
        """Refuse everything but whole numbers."""
        if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
            raise ActionMismatch(
                f"{x.dtype} data for 'index'",
                "whole numbers that point at nodes",
                "Cast with x.long(), or declare features of the nodes as nodes.",
            )
        self._require_axes(x, 2)

    def _permute(self, g: Element, x: Tensor) -> Tensor:
        count = g.dim
        if bool((x >= count).any()):
            raise DimensionMismatch(
                f"a reference to node {int(x.max())}",
                f"numbers below {count}, the number of nodes that are reordered",
                "Count the nodes within each sample, from 0.",
            )
        places = (~g)(torch.arange(count, device=x.device).expand(x.shape[0], -1))
        flat = x.flatten(1).long()
        renamed = places.gather(1, flat.clamp_min(0)).where(flat >= 0, flat)
        return renamed.reshape(x.shape).to(x.dtype)
