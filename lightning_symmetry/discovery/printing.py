"""Generators as people write them: symbols, LaTeX, sympy, and what their flow does, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.functional.polynomials import degree_of, list_monomials, write_monomial
from lightning_symmetry.functional.ranks import eigenvalues

# Without errors, numbers this close, relative to the largest, are taken for the round one.
_ROUND = 1e-3
# Eigenvalues this close, relative to the largest, are the same.
_ALIKE = 0.05
_MOST_RATIO = 6
_ROOTS = {"sqrt(2)": 2**0.5, "sqrt(3)": 3**0.5, "sqrt(2)/2": 0.5**0.5, "sqrt(3)/2": 0.75**0.5, "sqrt(3)/3": 3**-0.5}


def snap(value: float, error: float) -> tuple[str, float]:
    """Replace a number by the simplest one within two standard errors.

    Zero comes first, then whole numbers, halves, thirds, and roots of two and three.

    Args:
        value: The number.
        error: Its standard error.

    Returns:
        How it is written, and its value; three digits where nothing simple is near.

    Example:
        >>> snap(0.98, 0.02), snap(-0.709, 0.001), snap(0.3, 0.01)
        (('1', 1.0), ('-sqrt(2)/2', -0.707...), ('0.3', 0.3))
    """
    bound = 2 * error
    if abs(value) <= bound:
        return "0", 0.0
    sign, size = ("-", -1.0) if value < 0 else ("", 1.0), abs(value)
    for parts in (1, 2, 3):
        nearest = round(size * parts)
        if nearest and abs(nearest / parts - size) <= bound:
            return f"{sign[0]}{nearest}" + ("" if parts == 1 else f"/{parts}"), sign[1] * nearest / parts
    for text, root in _ROOTS.items():
        if abs(root - size) <= bound:
            return sign[0] + text, sign[1] * root
    return f"{value:.3g}", value


def write_generator(
    generator: Tensor,
    errors: Tensor | float | None = None,
    axes: Sequence[str] | None = None,
    affine: bool = False,
    most: int | None = None,
) -> str:
    """Write a generator as a vector field, its largest terms first.

    Args:
        generator: (n, n) matrix, homogeneous if affine, or (d, M) coefficients of a polynomial field.
        errors: Standard errors of its numbers, one for all or shaped alike; None for a thousandth of the largest.
        axes: Names of the coordinates; None for x, y, z, or x0, x1, ... in more than three dimensions.
        affine: Whether the matrix is homogeneous.
        most: How many terms at most are written out; None for all.

    Returns:
        Text such as "x d/dy - y d/dx"; "0" where nothing is left.

    Raises:
        DimensionMismatch: The generator is neither, or there is not one name an axis.

    Example:
        >>> write_generator(torch.tensor([[0.01, -0.99], [1.01, 0.0]]), errors=0.02)
        'x d/dy - y d/dx'
        >>> write_generator(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), axes=["t", "x"])
        '2 t d/dt + x d/dx'
    """
    terms = _list_terms(generator, errors, axes, affine)
    written = _join(
        [(text, [word for word in (monomial, f"d/d{axis}") if word]) for text, monomial, axis in terms[:most]]
    )
    return written if most is None or len(terms) <= most else f"{written} ... ({len(terms) - most} more terms)"


def write_latex(
    generator: Tensor,
    errors: Tensor | float | None = None,
    axes: Sequence[str] | None = None,
    affine: bool = False,
) -> str:
    r"""Write a generator in LaTeX.

    Args:
        generator: As for `write_generator`.
        errors: As there.
        axes: As there.
        affine: As there.

    Returns:
        Text for a formula.

    Example:
        >>> print(write_latex(torch.tensor([[0.0, -1.0], [1.0, 0.0]])))
        x \partial_{y} - y \partial_{x}
    """
    words = []
    for text, monomial, axis in _list_terms(generator, errors, axes, affine):
        for plain, root in (("sqrt(2)", r"\sqrt{2}"), ("sqrt(3)", r"\sqrt{3}")):
            text = text.replace(plain, root)
        words.append((text, [word for word in (monomial, rf"\partial_{{{axis}}}") if word]))
    return _join(words)


def to_sympy(
    generator: Tensor,
    errors: Tensor | float | None = None,
    axes: Sequence[str] | None = None,
    affine: bool = False,
) -> tuple[Any, ...]:
    """Give the components of a generator as sympy expressions, of real symbols named after the axes.

    Args:
        generator: As for `write_generator`.
        errors: As there.
        axes: As there.
        affine: As there.

    Returns:
        d expressions: the velocity of each coordinate.

    Example:
        >>> to_sympy(torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
        (-y, x)
    """
    import sympy

    names = _name_axes(_to_field(generator, affine).shape[0], axes)
    symbols = {name: sympy.Symbol(name, real=True) for name in names}
    components = {name: sympy.Integer(0) for name in names}
    for text, monomial, axis in _list_terms(generator, errors, axes, affine):
        factors = [symbols[word.split("^")[0]] ** int((word.split("^") + ["1"])[1]) for word in monomial.split()]
        components[axis] += sympy.sympify(text) * sympy.Mul(*factors)
    return tuple(components[name] for name in names)


def describe_flow(generator: Tensor, affine: bool = False) -> str:
    """Say in words what a generator's flow does.

    Args:
        generator: (n, n) matrix, homogeneous if affine, or (d, M) coefficients of a polynomial field.
        affine: Whether the matrix is homogeneous.

    Returns:
        Such as "rotation, period 2 pi", "scaling by e^t", "boost", "translation", "shear".

    Example:
        >>> describe_flow(torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
        'rotation, period 2 pi'
        >>> describe_flow(torch.diag(torch.tensor([3.0, 1.0])))
        'scaling with weights 3, 1'
    """
    field = _to_field(generator, affine)
    dim = len(field)
    size = float(field.norm())
    if not size:
        return "nothing moves"
    if float(field[:, dim + 1 :].norm()) > _ALIKE * size:
        used = (field.abs() > _ALIKE / 10 * size).any(0).nonzero().flatten().tolist()
        return f"nonlinear flow, of degree {max(len(list_monomials(dim, degree_of(*field.shape))[k]) for k in used)}"
    linear, offset = field[:, :dim], field[:, dim] if field.shape[1] > dim else field.new_zeros(dim)
    if float(linear.norm()) < _ALIKE * size:
        return "translation"
    values = eigenvalues(linear)
    largest = float(values.abs().max())
    # eigenvalues of a nilpotent matrix are roots of its noise
    if float(torch.linalg.matrix_power(linear / linear.norm(), dim).norm()) < _ALIKE**2:
        return "shear" if float((linear @ linear).norm()) < _ALIKE * float(linear.norm()) ** 2 else "nilpotent flow"
    real, imaginary = values.real / largest, values.imag / largest
    fixed = float((linear @ torch.linalg.pinv(linear, rtol=_ALIKE) @ offset - offset).norm()) > _ALIKE * size
    if float(imaginary.abs().max()) < _ALIKE:
        text = _describe_scaling(real, largest)
    elif float(real.abs().max()) < _ALIKE:
        text = _describe_turning(imaginary, largest)
    else:
        text = f"rotation at speed {largest * float(imaginary.abs().max()):.3g} together with scaling"
    return f"{text}, with a translation" if fixed else text


def _describe_scaling(real: Tensor, largest: float) -> str:
    if float((real - real[0]).abs().max()) < _ALIKE:
        rate = largest * float(real.mean())
        return "scaling by e^t" if abs(rate - 1) < _ALIKE else f"scaling by e^({rate:.3g} t)"
    ordered = real.sort().values
    if float((ordered + ordered.flip(0)).abs().max()) < _ALIKE and int((real.abs() > _ALIKE).sum()) == 2:
        return "boost" if abs(largest - 1) < _ALIKE else f"boost at rapidity {largest:.3g} t"
    weights = ", ".join(snap(float(v) * largest, _ALIKE * largest / 4)[0] for v in ordered.flip(0))
    return f"scaling with weights {weights}"


def _describe_turning(imaginary: Tensor, largest: float) -> str:
    speeds = imaginary[imaginary > _ALIKE].sort().values
    ratios = speeds / speeds[0]
    planes = f"rotation{f' of {len(speeds)} planes' if len(speeds) > 1 else ''}"
    if float((ratios - ratios.round()).abs().max()) > _ALIKE or float(ratios.max()) > _MOST_RATIO:
        return f"{planes} at speeds {', '.join(f'{largest * float(v):.3g}' for v in speeds)}"
    turns = 2 / (largest * float(speeds[0]))
    text, _ = snap(turns, _ALIKE / 4 * turns)
    factor = {"1": "pi", "1/2": "pi/2"}.get(text, f"{text} pi")
    return f"{planes}, period {factor}"


def _to_field(generator: Tensor, affine: bool) -> Tensor:
    numbers = generator.detach().to("cpu", torch.float64)
    rows, columns = numbers.shape
    if affine and rows == columns:
        return numbers[:-1]
    if rows == columns:
        return F.pad(numbers, (0, 1))
    if not degree_of(rows, columns):
        raise DimensionMismatch(
            f"a generator of shape {(rows, columns)}", "(n, n), or (d, M) for all monomials", "Check the shape."
        )
    return numbers


def _name_axes(dim: int, axes: Sequence[str] | None) -> list[str]:
    if axes is None:
        return list("xyz"[:dim]) if dim <= 3 else [f"x{i}" for i in range(dim)]
    if len(axes) != dim:
        raise DimensionMismatch(f"{len(axes)} names", f"{dim}, one an axis", "Name every coordinate.")
    return list(axes)


def _list_terms(
    generator: Tensor, errors: Tensor | float | None, axes: Sequence[str] | None, affine: bool
) -> list[tuple[str, str, str]]:
    """List (factor, monomial, axis), the largest first and positive ones before negative ones."""
    field = _to_field(generator, affine)
    names = _name_axes(len(field), axes)
    monomials = list_monomials(len(field), degree_of(*field.shape))
    if errors is None:
        spread = torch.full_like(field, _ROUND / 2 * float(field.abs().max()))
    else:
        spread = torch.as_tensor(errors, dtype=torch.float64)
        spread = _to_field(spread, affine) if spread.ndim else spread.expand(field.shape)
    terms = []
    for axis, row, uncertain in zip(names, field.tolist(), spread.tolist(), strict=True):
        for factors, value, error in zip(monomials, row, uncertain, strict=True):
            text, exact = snap(value, error)
            if exact:
                terms.append((-round(abs(exact), 6), exact < 0, text, write_monomial(factors, names), axis))
    return [(text, monomial, axis) for _, _, text, monomial, axis in sorted(terms, key=lambda term: term[:2])]


def _join(terms: list[tuple[str, list[str]]]) -> str:
    pieces = []
    for text, words in terms:
        size = text.removeprefix("-")
        factor = [] if size == "1" else [size]
        pieces.append(("- " if text.startswith("-") else "+ ") + " ".join([*factor, *words]))
    joined = " ".join(pieces)
    return "0" if not joined else joined.removeprefix("+ ") if joined[0] == "+" else "-" + joined[2:]
