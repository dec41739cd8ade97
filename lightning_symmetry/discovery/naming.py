"""Plain names for generators."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.functional.polynomials import degree_of, list_monomials, write_monomial
from lightning_symmetry.groups import Group

# A cosine of 0.95 leaves 10 % of a generator's squared norm unexplained: less would no longer be what the name says,
# more would refuse generators learnt to the accuracy that a few thousand samples allow.
NAME_COSINE = 0.95
MIXED = "mixed"
# Terms of a formula that are smaller, relative to the largest, are noise.
_SMALL_TERM = 0.05
_MOST_TERMS = 5

Candidate = tuple[int, str, float]


@final
@dataclass(frozen=True)
class Naming:
    """A name and how well it fits.

    Args:
        name: Plain words, such as "rotation" or "translation along x"; "mixed" where none fits.
        cosine: Between the generator and the named direction, or the named algebra that should contain it.
    """

    name: str
    cosine: float


def name_generator(generator: Tensor, dim: int, affine: bool = False) -> Naming:
    """Name a generator by the smallest algebra that holds it.

    Of all named algebras to which the generator has a cosine of at least 0.95, the one of least dimension wins, and
    among equals the largest cosine: first single directions ("rotation", "scaling", "stretch along x", "squeeze",
    "boost", "shear", "translation along y", "rotation of 4 planes together"), then families ("rotation about a point",
    "rotation with scaling", "rotation" in any plane, "translation" in any direction, "symmetric stretch").

    Args:
        generator: (n, n), of any norm.
        dim: Dimension d of the space.
        affine: Whether the generator is homogeneous, n = d + 1.

    Returns:
        The name, "mixed" where no algebra fits, and the cosine to it (for "mixed", to the nearest single direction).

    Example:
        >>> name_generator(torch.tensor([[0.01, -2.0], [2.0, 0.0]]), dim=2).name
        'rotation'
        >>> name_generator(torch.eye(3), dim=3).name
        'scaling'
    """
    matrix = generator.detach().to("cpu", torch.float64)
    size = float(matrix.norm())
    if size == 0 or not math.isfinite(size):
        return Naming("nothing", 0.0) if size == 0 else Naming(MIXED, 0.0)
    matrix = matrix / size
    linear, offset = (matrix[:dim, :dim], matrix[:dim, dim]) if affine else (matrix, matrix.new_zeros(dim))
    candidates = [*_directions(linear, offset), *_families(linear, offset)]
    fitting = [c for c in candidates if c[2] >= NAME_COSINE]
    if fitting:
        _, name, cosine = min(fitting, key=lambda c: (c[0], -c[2]))
        return Naming(name, min(cosine, 1.0))
    return Naming(MIXED, min(max((c[2] for c in candidates if c[0] == 1), default=0.0), 1.0))


def name_field(coefficients: Tensor) -> Naming:
    """Name a polynomial vector field: an affine one as a generator, any other by its formula.

    Args:
        coefficients: (d, M) of the monomials, in the order of `list_monomials`.

    Returns:
        The name; for a formula of at most five terms, none below a twentieth of the largest, the cosine to the field.

    Example:
        >>> name_field(torch.tensor([[0.0, -2.0, 0.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0, 0.0, 0.0]])).name
        'rotation'
        >>> name_field(torch.tensor([[0.0, 0.0, 0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, -1.0, 0.0]])).name
        'x^2 d/dx - 0.5 x y d/dy'
    """
    numbers = coefficients.detach().to("cpu", torch.float64)
    size = float(numbers.norm())
    if size == 0 or not math.isfinite(size):
        return Naming("nothing", 0.0) if size == 0 else Naming(MIXED, 0.0)
    dim, count = numbers.shape
    affine = numbers.new_zeros(dim + 1, dim + 1)
    affine[:dim] = numbers[:, : dim + 1]
    share = float(affine.norm()) / size
    if share >= NAME_COSINE:
        naming = name_generator(affine, dim, affine=True)
        if naming.name != MIXED and share * naming.cosine >= NAME_COSINE:
            return Naming(naming.name, share * naming.cosine)
    large = numbers.abs() >= _SMALL_TERM * numbers.abs().max()
    cut = int(large.sum()) > _MOST_TERMS
    if cut:
        large &= numbers.abs() >= numbers.abs().flatten().topk(_MOST_TERMS).values[-1]
    kept = torch.where(large, numbers, 0.0)
    formula = _write_formula(kept / kept.abs().max(), count)
    return Naming(f"{formula} ..." if cut else formula, min(float(kept.norm()) / size, 1.0))


def _write_formula(numbers: Tensor, count: int) -> str:
    axes = axis_names(len(numbers)) if len(numbers) <= 3 else [f"x{i}" for i in range(len(numbers))]
    monomials = list_monomials(len(numbers), degree_of(len(numbers), count))
    terms = []
    for axis, row in zip(axes, numbers.tolist(), strict=True):
        for factors, value in zip(monomials, row, strict=True):
            if value:
                factor = "" if abs(abs(value) - 1) < 0.005 else f"{abs(value):.2g}"
                words = [word for word in (factor, write_monomial(factors, axes), f"d/d{axis}") if word]
                terms.append(("- " if value < 0 else "+ ") + " ".join(words))
    text = " ".join(terms)
    return text.removeprefix("+ ") if text[0] == "+" else "-" + text[2:]


def name_with_values(generator: Tensor, dim: int, affine: bool, moves_space: bool = True) -> Naming:
    """Name a generator whose last two rows and columns change the values of images.

    Args:
        generator: (n + 2, n + 2), of any norm; (2, 2) where no space is moved.
        dim: Dimension d of the space.
        affine: Whether the block of the space is homogeneous.
        moves_space: Whether there is such a block.

    Returns:
        The name of the larger block, or of both where neither says it all.

    Example:
        >>> name_with_values(torch.block_diag(torch.zeros(2, 2), torch.tensor([[0.0, 3.0], [0.0, 0.0]])), 2, False).name
        'brightness'
        >>> name_with_values(torch.tensor([[1.0, -0.5], [0.0, 0.0]]), 1, True, moves_space=False).name
        'contrast about the value 0.50'
    """
    matrix = generator.detach().to("cpu", torch.float64)
    size = float(matrix.norm())
    if size == 0 or not math.isfinite(size):
        return Naming("nothing", 0.0) if size == 0 else Naming(MIXED, 0.0)
    contrast, brightness = (matrix[-2, -2:] / size).tolist()
    share = math.hypot(contrast, brightness)
    single = max((abs(contrast), "contrast"), (abs(brightness), "brightness"))
    about = f"contrast about the value {-brightness / contrast:.2f}" if contrast else "brightness"
    values = single[1] if single[0] >= NAME_COSINE * share else about
    if not moves_space or share >= NAME_COSINE:
        return Naming(values, single[0] if values == single[1] else share)
    space = name_generator(matrix[:-2, :-2], dim, affine)
    rest = math.sqrt(max(1 - share * share, 0.0))
    if rest >= NAME_COSINE:
        return Naming(space.name, rest * space.cosine)
    return Naming(f"{space.name} with {values}", space.cosine)


def name_in(group: Group, coefficients: Tensor) -> Naming:
    """Name a generator of a group's kind.

    Args:
        group: Bound to its dimension.
        coefficients: Of one generator, of any norm.

    Returns:
        The name and how well it fits.
    """
    if group.part("values") is not None:
        return name_with_values(coefficients, group.dim or 0, group.affine, group.part("space") is not None)
    if group.linear:
        return name_generator(coefficients, group.dim or len(coefficients) - group.affine, group.affine)
    return name_field(coefficients)


def axis_names(dim: int) -> list[str]:
    """Name the axes of a space: x, y, z up to three dimensions, numbers beyond.

    Example:
        >>> axis_names(2), axis_names(4)
        (['x', 'y'], ['0', '1', '2', '3'])
    """
    return list("xyz"[:dim]) if dim <= 3 else [str(i) for i in range(dim)]


def _directions(linear: Tensor, offset: Tensor) -> Iterator[Candidate]:
    """One-dimensional algebras, with the cosine to each."""
    d = len(linear)
    axes = axis_names(d)
    plane = (lambda what, i, j: what) if d == 2 else (lambda what, i, j: f"{what} in the plane ({axes[i]}, {axes[j]})")
    about = [f"rotation about {axis}" for axis in axes]
    turn = (lambda i, j: about[-i - j]) if d == 3 else (lambda i, j: plane("rotation", i, j))
    yield 1, "scaling", abs(float(linear.trace())) / math.sqrt(d)
    for i in range(d):
        yield 1, f"translation along {axes[i]}", abs(float(offset[i]))
    if d == 1:
        return
    skew, even, diagonal = linear - linear.mT, linear + linear.mT, linear.diagonal()
    # each entry below is the cosine to one elementary matrix; the largest of a kind is its only serious candidate
    kinds: list[tuple[Tensor, Callable[[int, int], str]]] = [
        (torch.tril(skew, -1).abs().mT / math.sqrt(2), turn),
        (
            torch.tril(even, -1).abs().mT / math.sqrt(2),
            lambda i, j: "squeeze along the diagonals (boost)" if d == 2 else plane("boost", i, j),
        ),
        (
            torch.triu(diagonal[:, None] - diagonal, 1).abs() / math.sqrt(2),
            lambda i, j: f"squeeze of {axes[i]} against {axes[j]}",
        ),
        ((linear - torch.diag(diagonal)).abs(), lambda i, j: f"shear of {axes[i]} along {axes[j]}"),
        (torch.diag(diagonal).abs(), lambda i, j: f"stretch along {axes[i]}"),
    ]
    for cosines, name in kinds:
        i, j = divmod(int(cosines.argmax()), d)
        yield 1, name(i, j), float(cosines[i, j])
    if d > 2 and d % 2 == 0:
        turns = skew[range(1, d, 2), range(0, d, 2)]
        yield 1, f"rotation of {d // 2} planes together", abs(float(turns.sum())) / math.sqrt(d)


def _families(linear: Tensor, offset: Tensor) -> Iterator[Candidate]:
    """Larger algebras, with their dimension and the share of the generator that lies inside."""
    d = len(linear)
    skew, even = (linear - linear.mT) / 2, (linear + linear.mT) / 2
    turning, shift = float(skew.norm()), float(offset.norm())
    yield d, "translation", shift
    yield d, "stretch along the axes", float(linear.diagonal().norm())
    if d == 1:
        yield 2, "scaling about a point", math.hypot(abs(float(linear[0, 0])), shift)
        return
    scaling = abs(float(linear.trace())) / math.sqrt(d)
    if d == 2:
        yield 2, "squeeze", float((even - torch.eye(2, dtype=even.dtype) * linear.trace() / 2).norm())
        yield 2, "rotation with scaling", math.hypot(turning, scaling)
        if turning >= shift / 2:
            centre = torch.linalg.lstsq(skew, -offset[:, None]).solution[:, 0]
            place = ", ".join(f"{float(c):.2f}" for c in centre)
            yield 3, f"rotation about the point ({place})", math.hypot(turning, shift)
    else:
        if d % 2 == 0:
            blocks = skew[range(1, d, 2), range(0, d, 2)]
            yield d // 2, f"rotation of {d // 2} planes, each at its own speed", float(blocks.norm()) * math.sqrt(2)
        yield d * (d - 1) // 2, "rotation", turning
        boosts = float(even[0, 1:].norm()) * math.sqrt(2)
        yield d * (d - 1) // 2, "Lorentz transformation", math.hypot(boosts, float(skew[1:, 1:].norm()))
        yield d * (d + 1) // 2, "rigid motion", math.hypot(turning, shift)
    if scaling >= shift / 2:
        yield d + 1, "scaling about a point", math.hypot(scaling, shift)
    yield d * (d + 1) // 2, "symmetric stretch", float(even.norm())
