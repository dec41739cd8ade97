"""Cells of crystals and periodic boxes."""

from __future__ import annotations

from typing import final

from torch import Tensor

from lightning_symmetry.actions.base import TangentAction
from lightning_symmetry.exceptions import ActionMismatch


@final
class Lattice(TangentAction):
    """The rows are the cell's vectors: each turns with the crystal, and translations leave it alone: ``C -> C J^T``.

    Fractional coordinates do not change then: declare those as scalar, Cartesian ones as points.

    Example:
        >>> import torch
        >>> quarter = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
        >>> Lattice().act(quarter, torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]))
        tensor([[[ 0.,  2.],
                 [-1.,  0.]]])
    """

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        return "lattice"

    def base_dim(self, x: Tensor) -> int | None:
        """Tell the length of a cell vector."""
        return x.shape[-1]

    def check(self, x: Tensor) -> None:
        """Refuse whole numbers and everything but (B, d, d)."""
        super().check(x)
        if x.ndim != 3 or x.shape[1] != x.shape[2]:
            raise ActionMismatch(
                f"data of shape {tuple(x.shape)} for 'lattice'",
                "the d cell vectors of every sample as rows, (B, d, d)",
                "Graph batches often stack the cells as (3 B, 3): reshape with cell.view(-1, 3, 3).",
            )
