"""Features of nodes."""

from __future__ import annotations

from typing import final

from torch import Tensor

from lightning_symmetry.actions.base import NodeAction
from lightning_symmetry.groups import Element


@final
class Nodes(NodeAction):
    """Features of the nodes along axis 1 are reordered with them and not otherwise moved, whatever their type.

    Example:
        >>> import torch
        >>> from lightning_symmetry.groups import Permutation
        >>> Nodes().act(Permutation(torch.tensor([[2, 0, 1]])), torch.tensor([[10, 11, 12]]))
        tensor([[12, 10, 11]])
    """

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        return "nodes"

    def node_count(self, x: Tensor) -> int | None:
        """Tell the length of axis 1."""
        return x.shape[1]

    def check(self, x: Tensor) -> None:
        """Accept every type; there must be an axis of nodes."""
        self._require_axes(x, 2)

    def _permute(self, g: Element, x: Tensor) -> Tensor:
        return g(x)
