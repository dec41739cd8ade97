"""A group whose generators are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Self

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.expm import expm, expm_blocks
from lightning_symmetry.groups.base import Group

MOST_GENERATORS = 16


@final
class Learned(Group):
    """The one-parameter groups of generators that training finds.

    The generators are not normalised, on purpose: their norm is the evidence, and a normalised basis forces a false
    symmetry where there is none.

    Args:
        dim: Dimension d; None until ``bind``.
        count: Number K of generators; None for one more than SO(d) has, so that a spare can show what does not hold,
            but at most 16.
        affine: Whether they may translate; None until ``bind``.
        blocks: Linear parts are block-diagonal: the size of all blocks, or their sizes.
        scale: Standard deviation of the initial entries.
        seed: Of the initial entries, which do not depend on torch's global generator.

    Raises:
        InvalidSetting: A setting makes no sense.
        DimensionMismatch: The blocks do not fill the dimension.

    Example:
        >>> Learned(4, count=2, blocks=2, affine=False).basis()[:, :2, 2:].abs().sum().item()
        0.0
    """

    def __init__(
        self,
        dim: int | None = None,
        count: int | None = 1,
        affine: bool | None = None,
        blocks: int | Sequence[int] | None = None,
        scale: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__(dim)
        if count is not None and count < 1:
            raise InvalidSetting(f"count={count}", "at least one generator", "Pass count >= 1.")
        self._count, self._given_count, self._affine, self._given_affine = count, count, affine, affine
        self.blocks = blocks if blocks is None or isinstance(blocks, int) else tuple(blocks)
        self.scale, self.seed = scale, seed
        self.weight: nn.Parameter | None
        self.register_parameter("weight", None)
        self.mask: Tensor | None
        self.register_buffer("mask", None, persistent=False)
        if dim is not None and affine is not None:
            self.bind(dim, affine)

    @property
    def count(self) -> int:
        """Number K of generators."""
        if self._count is None:
            raise DimensionMismatch(
                "a count of generators that follows from the dimension", "the dimension of the data", "Call bind(dim)."
            )
        return self._count

    @property
    def affine(self) -> bool:
        """Whether it may translate; as long as nobody has said so, it may not."""
        return bool(self._affine)

    @property
    def learnable(self) -> bool:
        """Whether training can change it."""
        return self.weight is None or self.weight.requires_grad

    @property
    def sentence(self) -> str:
        """The group as the grammar reads it back; the first number is the count of generators."""
        words = [] if self._given_count is None else [str(self._given_count)]
        if self._given_dim is not None:
            words.append(f"dim={self._given_dim}")
        if self._given_affine is not None:
            words.append(f"affine={self._given_affine}")
        if self.blocks is not None:
            words.append(f"blocks={self.blocks if isinstance(self.blocks, int) else list(self.blocks)}")
        return f"learned({', '.join(words)})" if words else "learned"

    def bind(self, dim: int | None, affine: bool | None = None) -> Self:
        """Complete what was left open and make the generators, or check what was given."""
        dim = self._given_dim if dim is None else dim
        if dim is None or dim == self.dim:
            return self
        known = self.dim or self._given_dim
        if known not in (None, dim):
            raise DimensionMismatch(
                f"data in {dim} dimensions", f"{known}, where {self.sentence} acts", "Leave the dimension out."
            )
        if self._affine is None:
            # A loaded weight has decided already.
            self._affine = bool(affine) if self.weight is None else self.weight.shape[-1] == dim + 1
        if self._count is None:
            rotations = dim * (dim - 1) // 2
            self._count = min(rotations + 1, MOST_GENERATORS) if self.weight is None else self.weight.shape[0]
        size = dim + self._affine
        mask = self._make_mask(dim)
        if self.weight is None:
            generator = torch.Generator().manual_seed(self.seed)
            self.weight = nn.Parameter(torch.randn(self._count, size, size, generator=generator) * self.scale * mask)
        elif self.weight.shape != (self._count, size, size):
            raise DimensionMismatch(
                f"loaded generators of shape {tuple(self.weight.shape)}",
                f"({self._count}, {size}, {size})",
                "Load the state into a group of the same count and dimension.",
            )
        self.mask = mask.to(self.weight)
        self.dim = dim
        return self

    def basis(self) -> Tensor:
        """Give the generators, (K, n, n), zero wherever the mask is."""
        if self.weight is None or self.mask is None:
            raise DimensionMismatch(
                f"{self.sentence} without a dimension", "the dimension of the data", "Call bind(dim, affine)."
            )
        return self.weight * self.mask

    def pattern(self) -> Tensor:
        """Tell which entries the mask leaves free, (n, n)."""
        return super().pattern() if self.mask is None else self.mask

    def dump(self) -> dict[str, Any]:
        """Describe the generators as they stand."""
        return {"sentence": "given", "dim": self.dim, "affine": self.affine, "basis": self.basis()}

    def _sizes(self, dim: int) -> list[int]:
        if self.blocks is None:
            return [dim]
        sizes = [self.blocks] * (dim // self.blocks) if isinstance(self.blocks, int) else list(self.blocks)
        if sum(sizes) != dim:
            raise DimensionMismatch(
                f"blocks={self.blocks} in {dim} dimensions", "blocks that fill it", f"Choose sizes that sum to {dim}."
            )
        return sizes

    def _make_mask(self, dim: int) -> Tensor:
        mask = torch.block_diag(*(torch.ones(size, size) for size in self._sizes(dim)))
        if self._affine:
            mask = F.pad(F.pad(mask, (0, 1), value=1.0), (0, 0, 0, 1))
        return mask

    def _exponential(self, matrix: Tensor) -> Tensor:
        if self._affine:
            return expm(matrix, "affine")
        return expm(matrix) if self.blocks is None else expm_blocks(matrix, self._sizes(matrix.shape[-1]))
