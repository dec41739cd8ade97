"""Samplers: laws p(g | x) from which elements are drawn."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import Self

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.precision import working_dtype
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Element, Group, LateParameters


class Sampler(LateParameters, ABC):
    """A law of group elements, given the data.

    Coordinates are drawn first, then exponentiated, so that gradients reach the group and learnable widths; a finite
    part contributes a uniform factor. Draws belong to rows of the global batch. A shipped contract,
    ``lightning_symmetry.testing.SamplerContract``, checks it.

    Args:
        group: Whose elements are drawn; None until ``with_group``.
        width: Size of the coordinates: one number, or one a generator; radians for rotations.
        learnable: Whether the widths are trained.

    Raises:
        InvalidSetting: A width is negative, or zero and to be learnt.
    """

    def __init__(
        self, group: Group | None = None, width: float | Sequence[float] = 1.0, learnable: bool = False
    ) -> None:
        super().__init__()
        self.width = float(width) if isinstance(width, (int, float)) else tuple(float(w) for w in width)
        self.learnable = learnable
        smallest = min([self.width] if isinstance(self.width, float) else self.width, default=1.0)
        if smallest < 0 or (learnable and smallest == 0):
            raise InvalidSetting(
                f"width={width}", "positive numbers" if learnable else "no negative number", "Choose another width."
            )
        self.raw_width: nn.Parameter | None
        self.register_parameter("raw_width", None)
        self._group: Group | None
        self.register_module("_group", group)
        self.bind()

    @property
    def group(self) -> Group | None:
        """The group whose elements are drawn."""
        return self._group

    def with_group(self, group: Group) -> Self:
        """Choose the group where none was given.

        Args:
            group: Shared, not copied.

        Returns:
            A sampler of that group; itself where it has a group of its own already.
        """
        if self._group is not None:
            return self
        bound = copy.deepcopy(self)
        bound._group = group
        return bound.bind()

    def bind(self) -> Self:
        """Make learnable widths as soon as the number of generators is known; calling it again changes nothing.

        Returns:
            Itself.
        """
        group = self._group
        if not self.learnable or self.raw_width is not None or group is None or group.dim is None:
            return self
        widths = self._constant(group.count)
        # The inverse of softplus.
        self.raw_width = nn.Parameter((widths + torch.log(-torch.expm1(-widths))).float().to(group.basis().device))
        return self

    @property
    def widths(self) -> Tensor:
        """(K,): the present widths, differentiable where they are learnt.

        Raises:
            InvalidSetting: There is no group, or not one width a generator.
        """
        count = self._require_group().count
        self.bind()
        if self.raw_width is not None:
            return torch.nn.functional.softplus(self.raw_width)
        return self._constant(count).float()

    def sample(self, x: Tensor, n: int, rng: Rng) -> tuple[Element, Tensor]:
        """Draw n elements for each sample.

        Args:
            x: (B, ...), the data.
            n: Elements a sample.
            rng: Source of randomness.

        Returns:
            B*n elements, row b*n + j being draw j of sample b; and their weights (B, n), which sum to 1 over n.

        Raises:
            InvalidSetting: There is no group.
        """
        group, rows = self._require_group(), x.shape[0]
        dtype = working_dtype(x.dtype)
        t = self._draw(x, n, group.count, rng, dtype) * self.widths.to(device=x.device, dtype=dtype)
        g = group.exp(group.select(t, rng).reshape(rows * n, group.count))
        if (finite := group.draw_finite(rng, rows, n, device=x.device)) is not None:
            g = g @ finite
        return g, torch.full((rows, n), 1 / n, dtype=dtype, device=x.device)

    @abstractmethod
    def _draw(self, x: Tensor, n: int, count: int, rng: Rng, dtype: torch.dtype) -> Tensor:
        """Draw coordinates of unit width, (B, n, K), on the device of ``x``."""

    def _require_group(self) -> Group:
        if self._group is None:
            raise InvalidSetting(
                f"{type(self).__name__} without a group", "a group to draw from", "Pass group=, or use with_group."
            )
        return self._group

    def _constant(self, count: int) -> Tensor:
        if isinstance(self.width, float):
            return torch.full((count,), self.width, dtype=torch.float64)
        if len(self.width) != count:
            raise InvalidSetting(
                f"{len(self.width)} widths for {count} generators", "one number, or one a generator", "Correct width=."
            )
        return torch.tensor(self.width, dtype=torch.float64)
