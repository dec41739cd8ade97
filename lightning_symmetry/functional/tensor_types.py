"""Types of features: how many tensors of which rank lie side by side in a vector of numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from lightning_symmetry.exceptions import InvalidSetting, SentenceError

_TERM = re.compile(r"^(?P<copies>\d+)\s*x\s*(?P<rank>\d+)(?P<pseudo>p?)$")


@final
@dataclass(frozen=True)
class TensorType:
    """Several tensors of one rank, one after the other, each of them row-major.

    Args:
        copies: How many.
        rank: Number of indices: 0 for scalars, 1 for vectors, 2 for matrices.
        pseudo: Whether they change their sign in a mirror.
    """

    copies: int
    rank: int
    pseudo: bool = False

    def __str__(self) -> str:
        """Write it as `read_types` reads it."""
        return f"{self.copies}x{self.rank}{'p' if self.pseudo else ''}"

    def size(self, dim: int) -> int:
        """Count the numbers, with tensors of a ``dim``-dimensional space."""
        return self.copies * dim**self.rank


Types = tuple[TensorType, ...]


def read_types(text: str) -> Types:
    """Read types such as ``"5x0 + 5x1 + 2x2"``: copies x rank, in the order of the numbers.

    Args:
        text: A suffix p makes pseudo-tensors, as in "1x1p" for an axial vector.

    Returns:
        One entry a term.

    Raises:
        SentenceError: A term cannot be read.

    Example:
        >>> write_types(read_types("5x0+5x1 + 1x1p"))
        '5x0 + 5x1 + 1x1p'
    """
    terms = [_TERM.match(term.strip()) for term in text.split("+")]
    found = tuple(TensorType(int(m["copies"]), int(m["rank"]), bool(m["pseudo"])) for m in terms if m)
    if len(found) < len(terms) or not all(t.copies for t in found):
        raise SentenceError(
            got=f"the types {text!r}",
            expected="copies x rank, joined by +",
            remedy="For example '5x0 + 5x1 + 2x2': five scalars, five vectors, two matrices; 1x1p is an axial vector.",
        )
    return found


def write_types(types: Sequence[TensorType]) -> str:
    """Write types as `read_types` reads them."""
    return " + ".join(map(str, types))


def count_numbers(types: Sequence[TensorType], dim: int) -> int:
    """Count the numbers that types take up in ``dim`` dimensions.

    Example:
        >>> count_numbers(read_types("5x0 + 5x1"), 3)
        20
    """
    return sum(t.size(dim) for t in types)


def solve_dimension(types: Sequence[TensorType], width: int) -> int | None:
    """Find the dimension of the space in which types take up so many numbers.

    Returns:
        The dimension; None where none fits, or where all of them are scalars.

    Example:
        >>> solve_dimension(read_types("5x0 + 5x1"), 20), solve_dimension(read_types("1x2"), 8)
        (3, None)
    """
    if not any(t.rank for t in types):
        return None
    return next((d for d in range(1, width + 1) if count_numbers(types, d) == width), None)


def uniform_types(width: int, rank: int, dim: int) -> str:
    """Share a layer's width evenly among the ranks: ``dim^(r_max - r)`` tensors of rank r, again and again.

    What is left over goes to the highest rank that still fits, in the same way.

    Args:
        width: Numbers in all.
        rank: Highest rank.
        dim: Dimension of the space.

    Returns:
        Types of exactly that width.

    Raises:
        InvalidSetting: A number is not positive, or the rank negative.

    Example:
        >>> uniform_types(128, 2, 3)
        '47x0 + 15x1 + 4x2'
    """
    if width < 1 or rank < 0 or dim < 1:
        raise InvalidSetting(f"width={width}, rank={rank}, dim={dim}", "positive numbers, rank >= 0", "Correct them.")
    copies, left = [0] * (rank + 1), width
    while left:
        top = max(r for r in range(rank + 1) if (r + 1) * dim**r <= left)
        for r in range(top + 1):
            copies[r] += dim ** (top - r)
        left -= (top + 1) * dim**top
    return write_types([TensorType(n, r) for r, n in enumerate(copies) if n])
