"""The real simple Lie algebras, looked up by dimension and by the signs of their Killing form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import final

MOST_DIMENSIONS = 66


@final
@dataclass(frozen=True)
class Simple:
    """A real simple Lie algebra under one of its names.

    Args:
        name: Such as "so(1,3)".
        dim: Real dimension.
        boosts: Number of positive directions of the Killing form; all others are negative.
        family: Of its complexification, such as "A3"; a second letter c for complex algebras taken as real ones.
            Algebras of one family, dimension and number of boosts are the same but for the exceptions that no name here
            meets.
        size: Real dimension of the space that it is named after.
    """

    name: str
    dim: int
    boosts: int
    family: str
    size: int


def find_simple(dim: int, positive: int, negative: int) -> tuple[tuple[Simple, ...], ...]:
    """Look up simple algebras.

    Args:
        dim: Dimension.
        positive: Positive eigenvalues of the Killing form.
        negative: Negative ones.

    Returns:
        Names, those of one and the same algebra together; more than one set where the numbers do not decide.

    Example:
        >>> [[one.name for one in same] for same in find_simple(6, 3, 3)]
        [['so(1,3)', 'sl(2,C)']]
        >>> [[one.name for one in same] for same in find_simple(10, 6, 4)]
        [['so(2,3)', 'sp(4,R)']]
    """
    if positive + negative != dim or dim > MOST_DIMENSIONS:
        return ()
    found: dict[str, list[Simple]] = {}
    for one in _list_simple():
        if (one.dim, one.boosts) == (dim, positive):
            found.setdefault(one.family, []).append(one)
    return tuple(tuple(same) for same in found.values())


@cache
def _list_simple() -> tuple[Simple, ...]:
    return tuple(one for one in _generate() if one.dim <= MOST_DIMENSIONS)


def _generate() -> Iterator[Simple]:
    for n in (3, *range(5, 13)):
        for p in range(n // 2 + 1):
            name = f"so({n})" if p == 0 else f"so({p},{n - p})"
            yield Simple(name, n * (n - 1) // 2, p * (n - p), _orthogonal(n), n)
    yield Simple("so(1,3)", 6, 3, "A1c", 4)
    for n in range(2, 9):
        yield Simple(f"sl({n},R)", n * n - 1, (n - 1) * (n + 2) // 2, _linear(n), n)
        for p in range(n // 2 + 1):
            name = f"su({n})" if p == 0 else f"su({p},{n - p})"
            yield Simple(name, n * n - 1, 2 * p * (n - p), _linear(n), 2 * n)
        yield Simple(f"sl({n},C)", 2 * (n * n - 1), n * n - 1, f"{_linear(n)}c", 2 * n)
    for m in range(2, 6):
        yield Simple(f"sp({2 * m},R)", m * (2 * m + 1), m * (m + 1), _symplectic(m), 2 * m)
        for p in range(m // 2 + 1):
            name = f"usp({2 * m})" if p == 0 else f"usp({2 * p},{2 * (m - p)})"
            yield Simple(name, m * (2 * m + 1), 4 * p * (m - p), _symplectic(m), 4 * m)
        yield Simple(f"sp({2 * m},C)", 2 * m * (2 * m + 1), m * (2 * m + 1), f"{_symplectic(m)}c", 4 * m)
    for n in (5, 6, 7, 8):
        yield Simple(f"so({n},C)", n * (n - 1), n * (n - 1) // 2, f"{_orthogonal(n)}c", 2 * n)
    for n in (3, 4, 5, 6):
        yield Simple(f"so*({2 * n})", n * (2 * n - 1), n * (n - 1), _orthogonal(2 * n), 4 * n)
    for n in (2, 3, 4):
        yield Simple(f"sl({n},H)", 4 * n * n - 1, (n - 1) * (2 * n + 1), _linear(2 * n), 4 * n)
    yield Simple("g2", 14, 0, "G2", 7)
    yield Simple("g2 (split)", 14, 8, "G2", 7)


def _linear(n: int) -> str:
    return f"A{n - 1}"


def _symplectic(m: int) -> str:
    return "B2" if m == 2 else f"C{m}"


def _orthogonal(n: int) -> str:
    return {3: "A1", 6: "A3"}.get(n, f"B{n // 2}" if n % 2 else f"D{n // 2}")
