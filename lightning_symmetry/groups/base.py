"""Groups: what may happen to a space, as a Lie algebra part and a finite part."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
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
    """A group of transformations of d-dimensional space: the flows of K vector fields, times a finite part.

    The generators ``L_k`` of a linear group are matrices; those of a group that translates are homogeneous: (d+1, d+1)
    with last row zero. Any other group overrides ``coefficients``, ``exp`` and ``field``. ``a * b`` is the product of
    two groups and ``a | b`` their union. A shipped contract, ``lightning_symmetry.testing.GroupContract``, checks every
    law.

    Args:
        dim: Dimension d of the space; None until ``bind``.

    Raises:
        DimensionMismatch: The group does not exist in that dimension.
    """

    structure: Structure = "general"
    acts_on: ClassVar[Kind] = "space"
    makers: ClassVar[dict[str, Callable[..., Group]]] = {}
    """Of "product", "union", "given" and "intensity": their modules, which need this one, enter them here."""

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

    @property
    def linear(self) -> bool:
        """Whether the generators are matrices, homogeneous ones included."""
        return True

    def basis(self) -> Tensor:
        """Give the generators of a linear group.

        Returns:
            (K, n, n) with n = d, or n = d + 1 and last row zero for a group that translates.

        Raises:
            InvalidSetting: The generators are no matrices.
        """
        raise InvalidSetting(
            f"{self.sentence}, whose generators are no matrices",
            "a linear group",
            "Use coefficients() or field(), which every group has.",
        )

    def coefficients(self) -> Tensor:
        """Give the numbers that make each generator.

        Returns:
            (K, ...): for a linear group its basis.
        """
        return self.basis()

    def pattern(self) -> Tensor:
        """Tell which numbers a generator of this kind of group may use.

        Returns:
            Zeros and ones, of the shape of one generator: everything but a homogeneous last row.
        """
        mask = torch.ones_like(self.coefficients()[:1].sum(0))
        if self.affine:
            mask[-1] = 0
        return mask

    def norms(self) -> Tensor:
        """Measure the generators.

        Returns:
            (K,) Frobenius norms, differentiable.
        """
        return torch.linalg.vector_norm(self.coefficients().flatten(1), dim=1)

    def fix(self, coefficients: Tensor | None = None) -> Group:
        """Make the group of fixed generators of this kind.

        Args:
            coefficients: (K, ...), shaped as those of this group; None keeps the present ones.

        Returns:
            A group that cannot be learnt, bound to the same space, without a finite part.
        """
        basis = self.coefficients() if coefficients is None else coefficients
        return self.makers["given"](basis.detach(), affine=self.affine)

    def dump(self) -> dict[str, Any]:
        """Describe the group, generators as they stand, in plain values and tensors that ``restore`` reads."""
        return {"sentence": self.sentence}

    def learnt(self) -> list[bool]:
        """Tell for each generator whether training can change it: only then is its norm evidence."""
        return [self.learnable] * self.count

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
        """All elements of the finite part, the identity first; None where there is none."""
        return None

    @property
    def learnable(self) -> bool:
        """Whether training can change it."""
        return any(p.requires_grad for p in self.parameters())

    @property
    def closed(self) -> bool:
        """Whether products of its elements belong to it: of all but unions."""
        return True

    def part(self, kind: Kind) -> Group | None:
        """Give the factor that moves one kind of thing; None where this group leaves it alone.

        Args:
            kind: "space", "nodes" or "values".

        Returns:
            The group itself, or a factor of a product.
        """
        return self if kind == self.acts_on else None

    def columns(self, kind: Kind) -> list[int]:
        """Tell which generators of this group those of ``part(kind)`` are, one after the other.

        Args:
            kind: "space", "nodes" or "values".

        Returns:
            Places among the K generators; none where there is no such part.
        """
        return [] if self.part(kind) is None else list(range(self.count))

    def __mul__(self, other: Group) -> Group:
        """Make the product with another group."""
        return self.makers["product"]([self, other])

    def __or__(self, other: Group) -> Group:
        """Make the union with another group."""
        return self.makers["union"]([self, other])

    def draw(self, t: Tensor, rng: Rng) -> Element:
        """Make random elements from random coordinates: ``exp(t)`` times a uniform element of the finite part.

        Args:
            t: (B, n, K), n draws for each of B samples.
            rng: Source of randomness of the finite part, and of what takes part in a union.

        Returns:
            B*n elements; they remember their coordinates where there is no finite part.
        """
        t, finite = self.select(t, rng)
        g = self.exp(t.flatten(0, 1))
        return g if finite is None else g @ finite

    def draw_finite(self, rng: Rng, rows: int, n: int = 1, device: torch.device | None = None) -> Element | None:
        """Draw uniform elements of the finite part.

        Args:
            rng: Source of randomness.
            rows: Number B of samples.
            n: Draws a sample.
            device: Where the draws are made.

        Returns:
            B*n elements, or None where there is no finite part.
        """
        return self.select(torch.zeros(rows, n, self.count, device=device), rng)[1]

    def select(self, t: Tensor, rng: Rng, active: Tensor | None = None) -> tuple[Tensor, Element | None]:
        """Draw the finite part, and in a union what takes part at all, so that both agree.

        Args:
            t: (B, n, K) coordinates.
            rng: Source of randomness.
            active: (B, n) of bool: where this group takes part; elsewhere nothing moves.

        Returns:
            The coordinates, zero where they take no part, and B*n elements of the finite part, or None.
        """
        finite = self.discrete
        t = t if active is None else t * active.unsqueeze(-1)
        if finite is None:
            return t, None
        index = rng.integers(len(finite), *t.shape[:2], device=t.device)
        return t, finite[(index if active is None else index * active).flatten()]

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
        self._check_coordinates(t)
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
        self._check_points(p)
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
        like = self.coefficients()
        t = rng.uniform(n, 1, self.count, device=like.device, dtype=working_dtype(like.dtype))
        return self.draw((2 * t - 1) * width, rng)

    def _check_coordinates(self, t: Tensor) -> None:
        if t.ndim != 2 or t.shape[1] != self.count:
            raise DimensionMismatch(
                f"coordinates of shape {tuple(t.shape)}",
                f"(B, {self.count})",
                "Give one coordinate for each generator.",
            )

    def _check_points(self, p: Tensor) -> None:
        if p.shape[-1] != self.dim:
            raise DimensionMismatch(
                f"points of length {p.shape[-1]}", f"length {self.dim}", "Bind the group to the data's space."
            )

    def _exponential(self, matrix: Tensor) -> Tensor:
        """Exponentiate combinations of the generators, (B, n, n)."""
        return expm(matrix, self.structure)
