"""Samplers: laws p(g | x) from which elements are drawn."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from typing_extensions import Self

from lightning_symmetry.exceptions import ActionMismatch, DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.precision import working_dtype
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Element, Group, LateParameters, Union

Reads = Literal["nothing", "set", "sequence"]
LARGEST_LIST = 1024
"""Most elements a sample that are listed rather than drawn."""


class Sampler(LateParameters, ABC):
    """A law of group elements, given the data.

    Draws belong to rows of the global batch. A shipped contract, ``lightning_symmetry.testing.SamplerContract``, checks
    it.

    Args:
        group: Whose elements are drawn; None until ``with_group``.

    Raises:
        InvalidSetting: The law does not exist on that group.
    """

    reads: ClassVar[Reads] = "nothing"
    """What the law depends on beyond the number of samples: the points of a sample in any order, or in theirs."""

    def __init__(self, group: Group | None = None) -> None:
        super().__init__()
        self._group: Group | None
        self.register_module("_group", group)

    @property
    def group(self) -> Group | None:
        """The group whose elements are drawn."""
        return self._group

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments beside the group, as they stand now, in plain values."""

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
        """Check the group, and complete what its dimension decides; calling it again changes nothing.

        Constructors end with it.

        Returns:
            Itself.

        Raises:
            InvalidSetting: The law does not exist on that group.
        """
        return self

    @property
    def widths(self) -> Tensor:
        """(K,): the present widths of the generators' coordinates.

        Raises:
            InvalidSetting: The law has none.
        """
        raise InvalidSetting(
            f"{type(self).__name__}, a law without widths",
            "a width for every generator",
            "Use Uniform, Normal or OneHot.",
        )

    @abstractmethod
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

    def support(self, x: Tensor) -> tuple[Element, Tensor] | None:
        """List every element that may be drawn, with its weight, where that is a short list.

        Args:
            x: (B, ...), the data.

        Returns:
            B*m elements, row b*m + j being the j-th of sample b, and weights (B, m), which sum to 1; or None where
            there are too many.
        """
        group, rows = self._require_group(), x.shape[0]
        if group.count or any(isinstance(part, Union) for part in group.modules()):
            return None  # members of a union share elements, which then weigh more
        try:
            finite = group.discrete
        except DimensionMismatch:  # too many to list
            return None
        if finite is None or len(finite) > LARGEST_LIST:
            return None
        order = len(finite)
        listed = finite[torch.arange(order).repeat(rows)]
        return listed, torch.full((rows, order), 1 / order, dtype=working_dtype(x.dtype), device=x.device)

    def _require_group(self) -> Group:
        if self._group is None:
            raise InvalidSetting(
                f"{type(self).__name__} without a group", "a group to draw from", "Pass group=, or use with_group."
            )
        return self._group


class CoordinateSampler(Sampler, ABC):
    """A law of the Lie algebra's coordinates.

    They are drawn first, then exponentiated, so that gradients reach the group and learnable widths; a finite part
    contributes a uniform factor.

    Args:
        group: Whose elements are drawn; None until ``with_group``.
        width: Size of the coordinates: one number, or one a generator; radians for rotations.
        learnable: Whether the widths are trained.

    Raises:
        InvalidSetting: A width is negative, or zero and to be learnt.
    """

    learns_usually: ClassVar[bool] = False
    """Whether the widths are trained where nothing is said."""

    def __init__(
        self, group: Group | None = None, width: float | Sequence[float] = 1.0, learnable: bool = False
    ) -> None:
        super().__init__(group)
        self.width = float(width) if isinstance(width, (int, float)) else tuple(float(w) for w in width)
        self.learnable = learnable
        smallest = min([self.width] if isinstance(self.width, float) else self.width, default=1.0)
        if smallest < 0 or (learnable and smallest == 0):
            raise InvalidSetting(
                f"width={width}", "positive numbers" if learnable else "no negative number", "Choose another width."
            )
        self.raw_width: nn.Parameter | None
        self.register_parameter("raw_width", None)
        self.bind()

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments beside the group, as they stand now, in plain values."""
        return {"width": self.widths.tolist(), **self.learning}

    @property
    def learning(self) -> dict[str, bool]:
        """Whether the widths are trained, where it is not what is usual."""
        return {} if self.learnable == self.learns_usually else {"learnable": self.learnable}

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
        self.raw_width = nn.Parameter(
            (widths + torch.log(-torch.expm1(-widths))).float().to(group.coefficients().device)
        )
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
        """Draw coordinates, exponentiate them, and compose with uniform elements of the finite part."""
        group, rows = self._require_group(), x.shape[0]
        dtype = working_dtype(x.dtype)
        t = self._draw(x, n, group.count, rng, dtype) * self.widths.to(device=x.device, dtype=dtype)
        return group.draw(t, rng), torch.full((rows, n), 1 / n, dtype=dtype, device=x.device)

    @abstractmethod
    def _draw(self, x: Tensor, n: int, count: int, rng: Rng, dtype: torch.dtype) -> Tensor:
        """Draw coordinates of unit width, (B, n, K), on the device of ``x``."""

    def _constant(self, count: int) -> Tensor:
        if isinstance(self.width, float):
            return torch.full((count,), self.width, dtype=torch.float64)
        if len(self.width) != count:
            raise InvalidSetting(
                f"{len(self.width)} widths for {count} generators", "one number, or one a generator", "Correct width=."
            )
        return torch.tensor(self.width, dtype=torch.float64)


@dataclass(frozen=True)
class Rigid:
    """What a group of rigid motions holds beside all rotations.

    Args:
        translates: Whether it translates.
        mirrors: Whether it reflects.
    """

    translates: bool
    mirrors: bool


def read_rigid(group: Group) -> Rigid | None:
    """Recognise SO(d), O(d), SE(d) and E(d) by their Lie algebra.

    Args:
        group: Any group.

    Returns:
        What it holds beside the rotations; None for every other group.

    Example:
        >>> from lightning_symmetry.groups import GL, E
        >>> read_rigid(E(3)), read_rigid(GL(3))
        (Rigid(translates=True, mirrors=True), None)
    """
    if group.structure not in ("skew", "rigid") or group.part("space") is not group:
        return None
    translates = group.structure == "rigid"
    if group.dim is None:
        return Rigid(translates, mirrors=False)
    if group.count != group.dim * (group.dim - 1) // 2 + translates * group.dim:
        return None
    finite = group.discrete
    if finite is None:
        return Rigid(translates, mirrors=False)
    moved = finite(torch.eye(group.dim).expand(len(finite), -1, -1).to(group.basis()))
    return Rigid(translates, mirrors=bool((torch.linalg.det(moved) < 0).any()))


class FrameSampler(Sampler, ABC):
    """A law of elements that bring the data into a standard pose; any map averaged over it has the symmetry exactly.

    The inverse elements are the frame: ``F(h x) = h F(x)``.

    Args:
        group: SO, O, SE or E; None until ``with_group``.
    """

    reads: ClassVar[Reads] = "set"
    kinds = "SO, O, SE or E"

    @property
    def settings(self) -> dict[str, Any]:
        """There are none."""
        return {}

    def bind(self) -> Self:
        """Check the group."""
        if self._group is not None and not self._knows(self._group):
            raise InvalidSetting(
                f"{type(self).__name__} of {self._group.sentence}", f"{self.kinds}", "Use Uniform, or another group."
            )
        return self

    def _knows(self, group: Group) -> bool:
        return read_rigid(group) is not None

    def _cloud(self, x: Tensor) -> Tensor:
        """Read data as (B, N, d)."""
        dim = self._require_group().dim
        if dim is None or x.ndim not in (2, 3) or x.shape[-1] % dim or not x.is_floating_point():
            raise ActionMismatch(
                f"{x.dtype} data of shape {tuple(x.shape)}",
                f"points or vectors, (B, N, {dim or 'd'})",
                "A frame is read from the first moving input: let that be the points.",
            )
        return x.reshape(x.shape[0], -1, dim).to(working_dtype(x.dtype))
