"""Features of pairs of nodes: adjacency and distance matrices."""

from __future__ import annotations

from typing import final

from torch import Tensor

from lightning_symmetry.actions.base import NodeAction
from lightning_symmetry.exceptions import ActionMismatch
from lightning_symmetry.groups import Element


@final
class Edges(NodeAction):
    """Features of pairs, (B, N, N, ...), are reordered along both axes and not otherwise moved, whatever their type.

    Example:
        >>> import torch
        >>> from lightning_symmetry.groups import Permutation
        >>> Edges().act(Permutation(torch.tensor([[1, 0]])), torch.tensor([[[0, 1], [2, 3]]]))
        tensor([[[3, 2],
                 [1, 0]]])
    """

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        return "edges"

    def node_count(self, x: Tensor) -> int | None:
        """Tell the length of axis 1, which is that of axis 2."""
        return x.shape[1]

    def check(self, x: Tensor) -> None:
        """Accept every type; axes 1 and 2 must be the same nodes."""
        self._require_axes(x, 3)
        if x.shape[1] != x.shape[2]:
            raise ActionMismatch(
                f"data of shape {tuple(x.shape)} for 'edges'",
                "a number for every pair of nodes, (B, N, N, ...)",
                "Declare a list of edges as index.",
            )

    def _permute(self, g: Element, x: Tensor) -> Tensor:
        return g(g(x).transpose(1, 2)).transpose(1, 2)
