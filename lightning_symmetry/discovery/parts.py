"""The ideals that a Lie algebra is the direct sum of, each with its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.discovery.atlas import find_named
from lightning_symmetry.discovery.simple import Simple, find_simple
from lightning_symmetry.discovery.structure import FACTORS, Structure, read_structure
from lightning_symmetry.functional.lie_algebra import compress, direct_summands, nilradical, radical
from lightning_symmetry.functional.ranks import eigenvalues, null_of

# A generic eigenvalue's real part below this share of its size belongs to a rotation.
_IMAGINARY = 0.1
_DRAWS = 8


@final
@dataclass(frozen=True, eq=False)
class Part:
    """An ideal that is a direct sum no further, or all that is abelian.

    Args:
        names: One, or several that the numbers cannot tell apart.
        also: Other names of the same algebra.
        space: (k, r), orthonormal coordinates.
        kind: "abelian", "simple", "solvable" or "mixed".
        levi: Names of the semisimple algebra and of the radical that a mixed one consists of.
        nilpotent: Name of the nilradical of a solvable one without a name.
        known: Whether it has a name, rather than a description.
    """

    names: tuple[str, ...]
    also: tuple[str, ...]
    space: Tensor
    kind: str
    levi: tuple[str, str] = ("", "")
    nilpotent: str = ""
    known: bool = True


def find_parts(structure: Structure, matrices: Tensor | None = None) -> tuple[Part, ...]:
    """Write an algebra as a direct sum of ideals and name each.

    Args:
        structure: Of the whole algebra.
        matrices: (r, n, n), its basis as linear maps, which tells so(3) from su(2); None where there are none.

    Returns:
        The parts: the largest first, what is abelian last.
    """
    c, noise = structure.constants, structure.noise
    parts = []
    for space in direct_summands(c, noise):
        acting = None if matrices is None else torch.einsum("ki,imn->kmn", space, matrices)
        if len(space) == len(c):
            parts.append(_name_part(space, structure, acting))
        else:
            # the level of noise was settled with the whole
            parts.append(_name_part(space, read_structure(compress(c, space), noise / FACTORS[0]), acting))
    return tuple(sorted(parts, key=lambda part: (part.kind == "abelian", -len(part.space), part.names)))


def join_names(parts: tuple[Part, ...], matrices: Tensor | None) -> tuple[str, ...]:
    """Name a direct sum, by a name of its own where it has one.

    Args:
        parts: From `find_parts`.
        matrices: (r, n, n) or None.

    Returns:
        The names that fit.
    """
    names = [part.names for part in parts]
    if all(len(one) == 1 for one in names):
        single = [one[0] for one in names]
        if len(parts) == 2 and [part.kind for part in parts] == ["simple", "abelian"] and len(parts[1].space) == 1:
            # linear maps are those of determinant one and the scalings, whatever they act on
            if single[0].startswith("sl(") and single[0].endswith(",R)"):
                return (single[0].replace("sl", "gl"),)
        if matrices is not None and len(parts) == 2 and [len(part.space) for part in parts] == [3, 3]:
            reach = [_reach(torch.einsum("ki,imn->kmn", part.space, matrices)) for part in parts]
            if reach == [4, 4] and _reach(matrices) == 4:
                own = {("su(2)", "su(2)"): "so(4)", ("sl(2,R)", "sl(2,R)"): "so(2,2)"}.get((single[0], single[1]))
                if own:
                    return (own,)
        return (" + ".join(single),)
    # only one part is ever in doubt in practice: the others are repeated
    doubtful = max(names, key=len)
    return tuple(" + ".join(choice if one is doubtful else one[0] for one in names) for choice in doubtful)


def _name_part(space: Tensor, structure: Structure, matrices: Tensor | None) -> Part:
    if structure.derived == (0,):
        name = f"R^{structure.dim}"
        if structure.dim == 1:
            name = "so(2)" if matrices is not None and _is_turning(matrices[0]) else "R"
        return Part((name,), (), space, "abelian")
    if not structure.radical:
        names, also = _name_simple(structure, matrices)
        return Part(names, also, space, "simple")
    named = find_named(structure)
    known = bool(named)
    if structure.solvable:
        nilpotent = structure.nilradical == structure.dim
        words = (
            f"{'nilpotent' if nilpotent else 'solvable'} of dimension {structure.dim}, derived {structure.derived[0]}"
        )
        inner = ""
        if not known and not nilpotent:
            inner = _name_within(structure, nilradical(structure.constants, structure.noise))
        return Part(named or (words,), (), space, "solvable", nilpotent=inner, known=known)
    ideal = radical(structure.constants, structure.noise)
    levi = (_name_within(structure, null_of(ideal)), _name_within(structure, ideal))
    words = " semidirect ".join(f"({one})" if " " in one else one for one in levi)
    return Part(named or (words,), (), space, "mixed", levi, known=known)


def _name_within(structure: Structure, space: Tensor) -> str:
    """Name a subalgebra, or the quotient by an ideal from the complement of that."""
    one = read_structure(compress(structure.constants, space), structure.noise / FACTORS[0])
    return " or ".join(join_names(find_parts(one), None))


def _name_simple(structure: Structure, matrices: Tensor | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    positive, negative, _ = structure.inertia
    sets = find_simple(structure.dim, positive, negative)
    if not sets:
        return (f"semisimple of dimension {structure.dim}, Killing form (+{positive}, -{negative})",), ()
    size = None if matrices is None else _reach(matrices)
    if size is not None:
        # an algebra moves at least the space that it is named after, but for the doubled ones of the complex family
        exact = tuple(same for same in sets if any(one.size == size for one in same))
        sets = exact or sets
    chosen = [_choose(same, size, structure, matrices) for same in sets]
    also = tuple(one.name for same, first in zip(sets, chosen, strict=True) for one in same if one is not first)
    return tuple(first.name for first in chosen), also if len(sets) == 1 else ()


def _choose(same: tuple[Simple, ...], size: int | None, structure: Structure, matrices: Tensor | None) -> Simple:
    """Choose among the names of one algebra that which tells how it acts."""
    by_name = {one.name: one for one in same}
    if structure.dim == 3:
        whole, half = ("so(3)", "su(2)") if "so(3)" in by_name else ("so(1,2)", "sl(2,R)")
        if matrices is None:
            return by_name["so(3)" if whole == "so(3)" else "sl(2,R)"]
        return by_name[half if _twice_spin(structure.constants, matrices) % 2 else whole]
    return next((one for one in same if one.size == size), same[0])


def _twice_spin(c: Tensor, matrices: Tensor) -> int:
    """Give twice the largest spin of a three-dimensional simple algebra: odd where a full turn is no identity."""
    best, found = 0.0, 0
    for weights in torch.randn(_DRAWS, 3, dtype=c.dtype, generator=torch.Generator().manual_seed(0)):
        weights = weights / weights.norm()
        root = float(eigenvalues(torch.einsum("i,ijk->kj", weights, c)).abs().max())
        acting = eigenvalues(torch.einsum("i,imn->mn", weights, matrices)).abs().max()
        # the root is small where the element happens to be nearly nilpotent
        if root > best:
            best, found = root, round(2 * float(acting) / root)
    return found


def _reach(matrices: Tensor) -> int:
    """Give the dimension of the space that is moved: the rank of all matrices side by side."""
    sizes = torch.linalg.svdvals(torch.cat(tuple(matrices), 1))
    return int((sizes > _IMAGINARY * sizes[0]).sum())


def _is_turning(matrix: Tensor) -> bool:
    values = eigenvalues(matrix)
    size = float(values.abs().max())
    # eigenvalues of a nilpotent matrix are roots of its noise
    return size > _IMAGINARY * float(torch.linalg.matrix_norm(matrix, 2)) and float(values.real.abs().max()) < (
        _IMAGINARY * size
    )
