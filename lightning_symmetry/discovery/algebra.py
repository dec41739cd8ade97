"""`name_algebra`: which Lie algebra a set of generators spans, with the evidence and a readable basis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import comb

import torch
from torch import Tensor

from lightning_symmetry.discovery.bases import Basis, Tolerance, read_basis
from lightning_symmetry.discovery.forms import InvariantForms, forms_of
from lightning_symmetry.discovery.nature import Algebra, Ideal
from lightning_symmetry.discovery.parts import Part, find_parts, join_names
from lightning_symmetry.discovery.structure import Structure, read_structure
from lightning_symmetry.functional.brackets import jacobi_residual
from lightning_symmetry.functional.lie_algebra import compress, killing_form, rank
from lightning_symmetry.functional.ranks import eigenvalues, span_of
from lightning_symmetry.functional.spans import canonical_basis, canonical_fields
from lightning_symmetry.groups import Group

CLOSED = 0.05
PROBABLY_CLOSED = 0.2
# Names that hold when the noise is misjudged by this factor either way count as fitting, too.
_MISJUDGED = 1.4
_EXACT = 1e-7
_ROUNDS = 3
# Parts of brackets outside the span that are weaker than this share of the strongest are not asked for.
_WEAK = 0.2


def name_algebra(
    group_or_basis: Group | Tensor,
    errors: Tensor | float | None = None,
    tol: Tolerance = "auto",
    resamples: Sequence[Tensor] = (),
    affine: bool | None = None,
) -> Algebra:
    """Tell which Lie algebra generators span.

    The brackets of an orthonormal basis give structure constants; the share that leaves the span (closure) says whether
    there is an algebra at all. Its invariants (derived series, centre, radical, inertia of the Killing form, and so on)
    do not depend on the basis; they are the ranks of matrices, decided at the level of noise that the errors and the
    closure tell, at which they contradict no theorem. The algebra is split into ideals, and each is looked up.

    Args:
        group_or_basis: A bound group, (K, n, n) matrices, or (K, d, M) coefficients of polynomial fields.
        errors: Standard errors of the numbers, one for all or shaped alike.
        tol: Relative size of their noise instead; "auto" reads it off the closure.
        resamples: The same basis from perturbed data, such as folds left out, each shaped as the basis: how often does
            the name come out?
        affine: Whether matrices are homogeneous; None for what the group says, or a last row of zeros.

    Returns:
        The algebra; named "not closed (closure 0.40)" where there is none.

    Raises:
        InvalidSetting: There are no generators.
        DimensionMismatch: They are neither matrices nor fields.

    Cost: r^6 operations for r generators, milliseconds up to ten of them.

    References:
        Humphreys, Introduction to Lie Algebras and Representation Theory, 1972.

    Example:
        >>> from lightning_symmetry.groups import SE
        >>> found = name_algebra(SE(2))
        >>> found.name, found.generators
        ('se(2)', ('x d/dy - y d/dx', 'd/dx', 'd/dy'))
        >>> name_algebra(SE(2).basis()[:2]).name
        'not closed (closure 1.00)'
    """
    basis = read_basis(group_or_basis, errors, tol, affine)
    names = Counter(name_algebra(one, errors, tol, affine=affine).name for one in resamples)
    folds = tuple(names.most_common())
    if basis.closure >= PROBABLY_CLOSED:
        return _describe_open(basis, folds)
    structure = read_structure(basis.constants, basis.noise)
    parts = find_parts(structure, basis.matrices)
    fitting = list(join_names(parts, basis.matrices))
    for factor in (_MISJUDGED, 1 / _MISJUDGED) if basis.noise > _EXACT else ():
        other = read_structure(basis.constants, basis.noise * factor)
        if not other.contradiction and other.key != structure.key:
            found = find_parts(other, basis.matrices)
            fitting += join_names(found, basis.matrices) if all(part.known for part in found) else ()
    fitting = list(dict.fromkeys(fitting))
    return _describe_closed(basis, structure, parts, tuple(fitting), folds)


def _describe_closed(
    basis: Basis,
    structure: Structure,
    parts: tuple[Part, ...],
    fitting: tuple[str, ...],
    folds: tuple[tuple[str, int], ...],
) -> Algebra:
    notes = []
    if basis.closure >= CLOSED:
        notes.append(f"probably an algebra: {basis.closure:.1%} of the brackets leave the span (below 5% is sure)")
    if structure.contradiction:
        notes.append("the dimensions contradict one another: too noisy, or not quite closed")
    membership: tuple[int, ...] = ()
    ideals = tuple(Ideal(part.names[0], len(part.space), part.kind, part.also) for part in parts)
    if len(parts) > 1 and len(fitting) == 1 and "+" not in fitting[0] and all(part.kind == "simple" for part in parts):
        # so(4) is known by its planes, not by its ideals
        whole = replace(parts[0], space=torch.eye(structure.dim, dtype=torch.float64))
        generators = _canonical(whole, basis, structure)
    else:
        generators = torch.cat([_canonical(part, basis, structure) for part in parts])
        membership = tuple(k for k, part in enumerate(parts) for _ in part.space)
    generators = _trim(generators, basis)
    forms: InvariantForms | None = None if basis.matrices is None else forms_of(basis)
    killing = killing_form(basis.constants)
    return Algebra(
        name=fitting[0] if len(fitting) == 1 else f"several algebras fit: {', '.join(fitting)}",
        fitting=fitting,
        dim=structure.dim,
        closure=basis.closure,
        noise=basis.noise,
        basis=generators,
        affine=basis.affine,
        errors=_entry_errors(generators, basis),
        ideals=ideals,
        membership=membership,
        constants=basis.constants,
        jacobi=jacobi_residual(basis.constants),
        killing=killing,
        inertia=structure.inertia,
        derived=structure.derived,
        lower_central=structure.lower_central,
        centre=structure.centre,
        radical=structure.radical,
        nilradical=structure.nilradical,
        rank=rank(basis.constants, structure.noise),
        levi=next((part.levi for part in parts if part.kind == "mixed"), ("", "")),
        nilpotent=next((part.nilpotent for part in parts if part.nilpotent), ""),
        weights=structure.weights,
        casimir=_casimir(basis, structure, killing),
        forms=forms,
        spectrum=_spectrum(basis),
        folds=folds,
        notes=tuple(notes),
    )


def _describe_open(basis: Basis, folds: tuple[tuple[str, int], ...]) -> Algebra:
    """Describe a span that is no algebra, and what it lacks."""
    missing = _missing(basis)
    notes = []
    grown, added = basis, 0
    for _ in range(_ROUNDS):
        wanted = _missing(grown)
        added += len(wanted)
        if added > len(basis.span) + 2:
            break
        grown = read_basis(_trim(torch.cat((grown.span, wanted)), basis), affine=basis.affine)
        if grown.closure < CLOSED:
            name = name_algebra(_trim(grown.span, basis), affine=basis.affine).name
            things = f"{added} more generator{'s' * (added > 1)}"
            notes.append(f"with {things}, its missing brackets, it is {name}")
            break
    else:
        notes.append("more brackets are missing than a few generators could add")
    generators = _trim(_sparse(basis.span, basis), basis)
    return Algebra(
        name=f"not closed (closure {basis.closure:.2f})",
        fitting=(),
        dim=len(basis.span),
        closure=basis.closure,
        noise=0.0,
        basis=generators,
        affine=basis.affine,
        errors=_entry_errors(generators, None),
        constants=basis.constants,
        jacobi=jacobi_residual(basis.constants),
        missing=missing,
        spectrum=_spectrum(basis),
        folds=folds,
        notes=tuple(notes),
    )


def _missing(basis: Basis) -> Tensor:
    """Give orthonormal directions of what brackets have outside the span, (m, ...)."""
    rows = basis.outside.flatten(0, 1).flatten(1)
    largest = float(torch.linalg.matrix_norm(rows, 2))
    return span_of(rows, _WEAK * largest).reshape(-1, *basis.outside.shape[2:])


def _trim(numbers: Tensor, basis: Basis) -> Tensor:
    """Cut off the monomials of degrees that nothing uses: (K, ...) to (K, ...)."""
    if not basis.degree:
        return numbers
    dim, degree = numbers.shape[1], 1
    while bool(numbers[..., comb(dim + degree, degree) :].any()):
        degree += 1
    return numbers[..., : comb(dim + degree, degree)]


def _canonical(part: Part, basis: Basis, structure: Structure) -> Tensor:
    """Write an ideal in a sparse basis; a simple one in its rotations, then its boosts, where these can be told."""
    whole = torch.einsum("ki,i...->k...", part.space, basis.span)
    if part.kind != "simple":
        return _sparse(whole, basis)
    c = compress(structure.constants, part.space)
    values, vectors = torch.linalg.eigh(killing_form(c))
    turning, boosting = vectors[:, values < 0].mT, vectors[:, values > 0].mT
    if not len(turning) or not len(boosting):
        return _sparse(whole, basis)
    inside = torch.einsum("ai,bj,ijk->abk", turning, turning, c)
    if float((inside @ boosting.mT).norm()) > max(CLOSED * float(inside.norm()), 4 * len(c) * structure.noise):
        # the compact directions of the numbers are no subalgebra: the axes are not those of the representation
        return _sparse(whole, basis)
    return torch.cat([_sparse(torch.einsum("ki,i...->k...", side, whole), basis) for side in (turning, boosting)])


def _sparse(generators: Tensor, basis: Basis) -> Tensor:
    return canonical_fields(generators) if basis.degree else canonical_basis(generators, basis.affine)


def _entry_errors(generators: Tensor, basis: Basis | None) -> tuple[float, ...]:
    """Give the standard error of the numbers of each generator: rounding at least."""
    noise = 0.0 if basis is None else basis.entry_noise
    sizes = generators.flatten(1)
    return tuple(max(noise * float(g.norm()), 5e-4 * float(g.abs().max())) for g in sizes)


def _casimir(basis: Basis, structure: Structure, killing: Tensor) -> tuple[float, ...]:
    """Give the eigenvalues of sum_ij (K^-1)_ij E_i E_j, where the algebra is semisimple."""
    if structure.radical or basis.matrices is None:
        return ()
    products = torch.einsum("ij,imn,jno->mo", torch.linalg.inv(killing), basis.span, basis.span)
    return tuple(sorted((float(v) for v in eigenvalues(products).real), reverse=True))


def _spectrum(basis: Basis) -> tuple[complex, ...]:
    """Give the eigenvalues of a generic unit combination of matrices."""
    if basis.matrices is None:
        return ()
    weights = torch.randn(len(basis.span), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = eigenvalues(torch.einsum("k,kij->ij", weights / weights.norm(), basis.span))
    return tuple(complex(round(v.real, 12), round(v.imag, 12)) for v in values.tolist())
