"""Groups: what may happen to a space, as a Lie algebra part and a finite part."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.functional.expm import Structure, expm
from lightning_symmetry.functional.precision import full_precision, working_dtype
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups.element import AffineMap, Element, Kind


def name_in_words(kind: type) -> str:
    """Write a class as sentences do: acronyms stay, words are lower case, a stranger keeps its path.

    Args:
        kind: A class.

    Returns:
        A name that ``by_name`` reads back.

    Example:
        >>> name_in_words(Group)
        'group'
    """
    if kind.__module__.partition(".")[0] != __name__.partition(".")[0]:
        return f"{kind.__module__}.{kind.__qualname__}"
    name = kind.__name__
    return name if name.isupper() else re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class LateParameters(nn.Module, ABC):
    """A module with parameters whose shape the data decide.

    They are registered as None and made by ``bind``, or by loading a state.
    """

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        for name, parameter in self._parameters.items():
            saved = state_dict.get(prefix + name)
            if parameter is None and saved is not None:
                self._parameters[name] = nn.Parameter(torch.empty_like(saved))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class Group(LateParameters, ABC):
    """A group of transformations of d-dimensional space that contains a matrix Lie group, times a finite part.

    Its generators ``L_k`` are matrices; those of a group that translates are homogeneous: (d+1, d+1) with last row
    zero. A shipped contract, ``lightning_symmetry.testing.GroupContract``, checks every law.

    Args:
        dim: Dimension d of the space; None until ``bind``.

    Raises:
        DimensionMismatch: The group does not exist in that dimension.
    """

    structure: Structure = "general"
    acts_on: ClassVar[Kind] = "space"

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self._given_dim = dim
        self.dim: int | None = None

    @property
    @abstractmethod
    def count(self) -> int:
        """Number K of generators."""

    @property
    @abstractmethod
    def affine(self) -> bool:
        """Whether it translates, so that its generators are homogeneous."""

    @property
    @abstractmethod
    def sentence(self) -> str:
        """The group as the grammar reads it back, in the words that made it: binding does not change it."""

    @abstractmethod
    def basis(self) -> Tensor:
        """Give the generators.

        Returns:
            (K, n, n) with n = d, or n = d + 1 and last row zero for a group that translates.
        """

    @abstractmethod
    def bind(self, dim: int | None, affine: bool | None = None) -> Self:
        """Complete a dimension that was left open, or check the one that was given.

        Args:
            dim: Of the data's space; None where the data leave it open, which changes nothing.
            affine: For a learned group that was not told: whether it may translate. Known groups know.

        Returns:
            Itself.

        Raises:
            DimensionMismatch: The group acts on another dimension, or does not exist there.
        """

    @property
    def discrete(self) -> Element | None:
        """All elements of the finite part, the identity among them; None where there is none."""
        return None

    @property
    def learnable(self) -> bool:
        """Whether training can change it."""
        return any(p.requires_grad for p in self.parameters())

    def part(self, kind: Kind) -> Group | None:
        """Give the factor that moves one kind of thing; None where this group leaves it alone.

        Args:
            kind: "space" or "nodes".

        Returns:
            The group itself, or a factor of a product.
        """
        return self if kind == self.acts_on else None

    def draw_finite(self, rng: Rng, *shape: int, device: torch.device | None = None) -> Element | None:
        """Draw uniform elements of the finite part.

        Args:
            rng: Source of randomness.
            *shape: How many, the first number being that of samples; the result has a row for each.
            device: Where the draws are made.

        Returns:
            Elements, or None where there is no finite part.
        """
        finite = self.discrete
        return None if finite is None else finite[rng.integers(len(finite), *shape, device=device).flatten()]

    def select(self, t: Tensor, rng: Rng) -> Tensor:
        """Let a group that is no connected whole choose which of its coordinates may be active together.

        Args:
            t: (B, n, K) coordinates.
            rng: Source of randomness.

        Returns:
            (B, n, K); unchanged for all groups but unions.
        """
        return t

    def exp(self, t: Tensor) -> Element:
        """Make elements from algebra coordinates.

        ``g_b = exp(sum_k t_bk L_k)``.

        Args:
            t: (B, K); for a rotation generator, its angle in radians.

        Returns:
            B elements that remember ``t``, in the type of ``t`` (at least float32).

        Raises:
            DimensionMismatch: There is not one coordinate a generator.
        """
        basis = self.basis()
        if t.ndim != 2 or t.shape[1] != basis.shape[0]:
            raise DimensionMismatch(
                f"coordinates of shape {tuple(t.shape)}",
                f"(B, {basis.shape[0]})",
                "Give one coordinate for each generator.",
            )
        with full_precision(t.device):
            t = t.to(working_dtype(t.dtype))
            # Not a matrix product: TF32 would round the coordinates.
            matrix = self._exponential((t[:, :, None, None] * basis.to(t.dtype)).sum(1))
        return AffineMap.from_matrix(matrix, t) if self.affine else AffineMap(matrix, None, t)

    def field(self, p: Tensor) -> Tensor:
        """Give the velocity of points under each generator.

        ``v_k(p) = d/dt exp(t e_k)(p)`` at 0: ``L_k p``, for homogeneous generators ``L_k (p, 1)``.

        Args:
            p: (B, N, d).

        Returns:
            (B, N, K, d), at least float32.
        """
        dtype = working_dtype(p.dtype)
        d = p.shape[-1]
        basis = self.basis().to(dtype)
        if d != self.dim:
            raise DimensionMismatch(
                f"points of length {d}", f"length {self.dim}", "Bind the group to the data's space."
            )
        with full_precision(p.device):
            # (K, d) numbers for each coordinate of the point, summed coordinate by coordinate, untouched by TF32.
            parts = p.to(dtype)[..., None, None].unbind(-3)
            columns = basis[:, :d, :].unbind(-1)
            velocity = columns[d].expand(*p.shape[:-1], -1, -1) if self.affine else parts[0] * columns[0]
            for part, column in list(zip(parts, columns, strict=False))[0 if self.affine else 1 :]:
                velocity = torch.addcmul(velocity, part, column)
        return velocity

    def sample(self, n: int, rng: Rng, width: float = 1.0) -> Element:
        """Draw elements: coordinates uniform in [-width, width], times a uniform element of the finite part.

        Args:
            n: Number of elements.
            rng: Source of randomness.
            width: Largest coordinate; radians for rotations.

        Returns:
            n elements; they remember their coordinates where there is no finite part.
        """
        like = self.basis()
        t = rng.uniform(n, self.count, device=like.device, dtype=working_dtype(like.dtype))
        g = self.exp(self.select(((2 * t - 1) * width).unsqueeze(1), rng).squeeze(1))
        finite = self.draw_finite(rng, n, device=like.device)
        return g if finite is None else g @ finite

    def _exponential(self, matrix: Tensor) -> Tensor:
        """Exponentiate combinations of the generators, (B, n, n)."""
        return expm(matrix, self.structure)


class KnownGroup(Group, ABC):
    """A group whose generators follow from the dimension.

    Args:
        dim: Dimension d of the space; None until ``bind``.

    Raises:
        DimensionMismatch: The group does not exist in that dimension.
    """

    translates = False

    def __init__(self, dim: int | None = None) -> None:
        super().__init__(dim)
        self._basis: Tensor | None
        self.register_buffer("_basis", None, persistent=False)
        if dim is not None:
            self.bind(dim)

    @abstractmethod
    def generators(self, dim: int) -> Tensor:
        """Write the generators down.

        Args:
            dim: Dimension d.

        Returns:
            (K, n, n), n = d or d + 1, float32 (the entries are whole numbers, exact in every type).

        Raises:
            DimensionMismatch: The group does not exist in that dimension.
        """

    @property
    def affine(self) -> bool:
        """Whether it translates."""
        return self.translates

    @property
    def count(self) -> int:
        """Number K of generators."""
        return self.basis().shape[0]

    @property
    def sentence(self) -> str:
        """The group as the grammar reads it back."""
        name = name_in_words(type(self))
        return name if self._given_dim is None else f"{name}({self._given_dim})"

    def basis(self) -> Tensor:
        """Give the generators, (K, n, n)."""
        if self._basis is None:
            raise DimensionMismatch(
                f"{type(self).__name__} without a dimension",
                "the dimension of the space that it moves",
                f"Write {type(self).__name__}(dim), or call bind(dim).",
            )
        return self._basis

    def bind(self, dim: int | None, affine: bool | None = None) -> Self:
        """Complete a dimension that was left open, or check the one that was given."""
        if dim is None or dim == self.dim:
            return self
        if self.dim is not None:
            raise DimensionMismatch(
                f"data in {dim} dimensions",
                f"{self.dim}, where {self.sentence} acts",
                f"Write {type(self).__name__}({dim}), or leave the dimension out.",
            )
        self._basis = self.generators(dim)
        self.dim = dim
        return self
