"""Named Lie algebras that are not simple, looked up by their invariants."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.discovery.structure import Structure, read_structure
from lightning_symmetry.functional.brackets import commutators, structure_constants
from lightning_symmetry.functional.spans import orthonormal_span
from lightning_symmetry.groups import GL, SL, SO, Lorentz, Scale, Symplectic


def find_named(structure: Structure) -> tuple[str, ...]:
    """Look up algebras with the invariants of a given one.

    Args:
        structure: Invariants of an algebra that is no direct sum and not simple.

    Returns:
        All names that fit; none for an algebra without a name here.
    """
    return tuple(name for name, known in _read(structure.dim) if known.agrees(structure))


@cache
def _read(dim: int) -> tuple[tuple[str, Structure], ...]:
    entries = []
    for name, basis in list_named():
        if len(basis) != dim:
            continue
        span = orthonormal_span(basis)
        entries.append((name, read_structure(structure_constants(span, commutators(span))[0], 0.0)))
    return tuple(entries)


def list_named() -> Iterator[tuple[str, Tensor]]:
    """List all algebras that are known here by name, each with a basis of matrices.

    Example:
        >>> len({name for name, _ in list_named()}) > 20
        True
    """
    line = torch.ones(1, 1, 1)
    yield "aff(1)", _with_translations(line)
    for n in (1, 2, 3):
        yield "heisenberg" if n == 1 else f"heisenberg({n})", _heisenberg(n)
    yield "e(1,1)", _with_translations(Lorentz(2).basis())
    for n in (2, 3, 4, 5, 6):
        yield f"se({n})", _with_translations(SO(n).basis())
    for n in (2, 3, 4):
        yield f"sim({n})", _with_translations(torch.cat((SO(n).basis(), Scale(n).basis())))
        yield f"scaling with R^{n}", _with_translations(Scale(n).basis())
    for n in (2, 3, 4):
        yield f"aff({n})", _with_translations(GL(n).basis())
        yield f"saff({n})", _with_translations(SL(n).basis())
        yield f"poincare(1,{n})", _with_translations(Lorentz(n + 1).basis())
        yield f"weyl(1,{n})", _with_translations(torch.cat((Lorentz(n + 1).basis(), Scale(n + 1).basis())))
        yield f"galilei({n})", _galilei(n)
    yield "schroedinger(1)", _schroedinger()
    yield "sp(4,R) semidirect R^4", _with_translations(Symplectic(4).basis())


def _with_translations(linear: Tensor) -> Tensor:
    size = linear.shape[-1]
    shifts = torch.zeros(size, size + 1, size + 1)
    shifts[range(size), range(size), size] = 1
    return torch.cat((F.pad(linear, (0, 1, 0, 1)), shifts))


def _heisenberg(n: int) -> Tensor:
    """Write positions, momenta, and their bracket as strictly triangular matrices of n + 2 rows."""
    basis = torch.zeros(2 * n + 1, n + 2, n + 2)
    for i in range(n):
        basis[i, 0, i + 1] = 1
        basis[n + i, i + 1, n + 1] = 1
    basis[2 * n, 0, n + 1] = 1
    return basis


def _galilei(n: int) -> Tensor:
    """Write rotations, boosts x -> x + v t, and the translations of space and time on (x, t, 1)."""
    turns = F.pad(SO(n).basis(), (0, 2, 0, 2))
    rest = torch.zeros(2 * n + 1, n + 2, n + 2)
    for i in range(n):
        rest[i, i, n] = 1
        rest[n + i, i, n + 1] = 1
    rest[2 * n, n, n + 1] = 1
    return torch.cat((turns, rest))


def _schroedinger() -> Tensor:
    """Write sl(2, R) on (boost, translation) together with both and their bracket."""
    rest = torch.zeros(3, 4, 4)
    # each in the last column, and what it is conjugate to in the first row
    rest[0, 1, 3], rest[0, 0, 2] = 1, -1
    rest[1, 2, 3], rest[1, 0, 1] = 1, 1
    rest[2, 0, 3] = 1
    return torch.cat((F.pad(SL(2).basis(), (1, 1, 1, 1)), rest))
