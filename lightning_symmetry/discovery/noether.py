"""Noether's theorem: the conserved quantity that belongs to a symmetry of a Hamiltonian system, if one does."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_symmetry.discovery.printing import write_generator
from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.polynomials import degree_of, evaluate_monomials, list_monomials
from lightning_symmetry.functional.spans import cosine_to_span
from lightning_symmetry.groups import Group
from lightning_symmetry.symmetry import Symmetry

# Noise of a twentieth of a generator makes a canonical defect of about 0.07, a scaling one of 0.63: what lies above
# this does not keep the symplectic form and gives no conserved quantity.
CANONICAL = 0.2

Kind = Literal["hamiltonian", "point"]


@final
@dataclass(frozen=True, eq=False)
class Charge:
    """A function Q of phase space whose Hamiltonian flow is a symmetry: conserved where the Hamiltonian is invariant.

    ``charge(z)`` evaluates it at points (..., 2n).

    Args:
        coefficients: (M,) of the monomials of phase space, in the order of `list_monomials`; None where there is no
            charge.
        dim: Dimension 2n of phase space.
        defect: Canonical defect of the generator, from 0 for one that keeps the symplectic form.
        form: (2n, 2n) matrix Omega of ``z' = Omega grad H(z)``.
        reason: Why there is no charge; "" where there is.
    """

    coefficients: Tensor | None
    dim: int
    defect: float
    form: Tensor
    reason: str = ""

    def __bool__(self) -> bool:
        """Whether there is a charge."""
        return self.coefficients is not None

    def __call__(self, z: Tensor) -> Tensor:
        """Evaluate the charge.

        Args:
            z: (..., 2n) points of phase space.

        Returns:
            (...).

        Raises:
            InvalidSetting: The generator has no charge.
        """
        numbers = self._require()
        return (evaluate_monomials(z.double(), degree_of(self.dim, len(numbers))) * numbers).sum(-1)

    def flow(self) -> Tensor:
        """Give the symmetry that it generates, ``X = Omega grad Q``.

        Returns:
            (2n, M) coefficients of a polynomial field.

        Raises:
            InvalidSetting: The generator has no charge.
        """
        numbers = self._require()
        return self.form @ _gradient(numbers, self.dim)

    def formula(self, axes: list[str] | None = None) -> str:
        """Write the charge, for axes (q_1, ..., p_1, ...).

        Args:
            axes: Names of the 2n coordinates; None for q0, q1, ..., p0, p1, ...

        Returns:
            Such as "q0 p1 - q1 p0".
        """
        numbers = self._require()
        half = self.dim // 2
        names = axes or [f"{letter}{i}" for letter in "qp" for i in range(half)]
        rows = F.pad(numbers[None], (0, 0, 0, self.dim - 1))
        # a field with one component is the function, written without its d/d
        return write_generator(rows, axes=names).replace(f" d/d{names[0]}", "").replace(f"d/d{names[0]}", "1")

    def _require(self) -> Tensor:
        if self.coefficients is None:
            raise InvalidSetting(
                f"a generator without a conserved quantity: {self.reason}",
                "a canonical one",
                "Ask bool(charge) first.",
            )
        return self.coefficients

    def __str__(self) -> str:
        """Tell the charge, or why there is none."""
        return f"Q = {self.formula()}" if self else f"no conserved quantity: {self.reason}"


def charges_of(symmetry: Symmetry, dim: int) -> list[Charge]:
    """Find the conserved quantity of every generator of a symmetry of a flow on phase space.

    The generators are written as matrices of the whole state, in the way that the input's action moves it: the same
    small matrix for every body, for example.

    Args:
        symmetry: Of a map from states (B, 2n) = (q, p) to states, with one moving input.
        dim: Length 2n of a state.

    Returns:
        One charge a generator; false, with the reason, where there is none.

    Raises:
        InvalidSetting: The input is not one tensor that moves linearly.

    Example:
        >>> symmetry = Symmetry.parse("SO(2) on vector(2) -> same").bind(torch.zeros(1, 4))
        >>> print(charges_of(symmetry, 4)[0])
        Q = q0 p1 - q1 p0
    """
    moving = symmetry.input.moving
    if len(moving) != 1 or not symmetry.group.linear:
        raise InvalidSetting(
            got=f"{symmetry.sentence!r}", expected="one input, of states, that moves linearly", remedy="Use vector."
        )
    action = moving[0][1]
    states = torch.cat([torch.zeros(1, dim), torch.eye(dim)]).double()
    moved = action.lie(copy.deepcopy(symmetry.group).to("cpu", torch.float64), states)
    charges = []
    for k in range(moved.shape[1]):
        shift, columns = moved[0, k], (moved[1:, k] - moved[0, k]).mT
        generator = F.pad(torch.cat([columns, shift[:, None]], 1), (0, 0, 0, 1))
        charges.append(noether_charge(generator, affine=True))
    return charges


def noether_charge(
    generator: Tensor,
    kind: Kind = "hamiltonian",
    form: Tensor | None = None,
    affine: bool = False,
    tol: float = CANONICAL,
) -> Charge:
    """Find the conserved quantity of a symmetry of ``z' = Omega grad H(z)``, z = (q, p).

    The generator X must keep the symplectic form: ``D(Omega^-1 X)`` is symmetric. Then ``Omega^-1 X = grad Q``, and
    the line integral ``Q(z) = int_0^1 z . Omega^-1 X(s z) ds`` is conserved wherever H does not change along X. For a
    linear one, X = A z, that is ``Q = z^T S z / 2`` with S = -Omega A; for a constant one ``Q = -(Omega c) . z``; a
    transformation of positions alone, q' = xi(q), is lifted to momenta and gives ``Q = p . xi(q)``.

    A symmetry of the flow that is not canonical, such as a scaling, has no charge: it is reported, never turned into
    one.

    Args:
        generator: (2n, 2n) matrix, homogeneous (2n+1, 2n+1) if affine, (2n,) constant, or (2n, M) coefficients of a
            polynomial field. For "point" the same on the n positions.
        kind: "hamiltonian" for a generator that moves phase space, "point" for one that moves positions.
        form: (2n, 2n) matrix Omega, in the order of the data; None for [[0, 1], [-1, 0]].
        affine: Whether a matrix is homogeneous.
        tol: Canonical defect from which on there is no charge; a smaller one is noise, and the nearest canonical
            generator's charge is given.

    Returns:
        The charge, which is false where there is none, with the reason.

    Raises:
        InvalidSetting: The kind is unknown, or a form is no symplectic matrix.
        DimensionMismatch: Phase space has an odd dimension, or the form does not fit.

    References:
        Arnold, Mathematical Methods of Classical Mechanics, 1989, section 38.

    Example:
        >>> turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        >>> print(noether_charge(torch.block_diag(turn, turn)))
        Q = q0 p1 - q1 p0
        >>> print(noether_charge(turn, kind="point"))
        Q = q0 p1 - q1 p0
        >>> print(noether_charge(torch.diag(torch.tensor([1.0, -0.5]))))
        no conserved quantity: the generator is not canonical (defect 0.63)
    """
    if kind not in ("hamiltonian", "point"):
        raise InvalidSetting(f"kind={kind!r}", '"hamiltonian" or "point"', "Say what the generator moves.")
    field = _read_field(generator, affine)
    if kind == "point":
        if form is not None:
            raise InvalidSetting("a form with kind='point'", "positions and their momenta", "Leave the form out.")
        return _lift(field)
    dim = len(field)
    omega = _read_form(form, dim)
    covector = torch.linalg.solve(omega, field)
    jacobian = _jacobian(covector, dim)
    size = float(_jacobian(field, dim).norm())
    # relative to a linear part, as for matrices; a constant field keeps every constant form
    defect = float((jacobian - jacobian.transpose(0, 1)).norm()) / size if size > 1e-12 * float(field.norm()) else 0.0
    if not bool(field.any()):
        return Charge(None, dim, 0.0, omega, "the generator vanishes")
    if defect >= tol:
        return Charge(None, dim, defect, omega, f"the generator is not canonical (defect {defect:.2f})")
    return Charge(_integrate(covector, dim), dim, defect, omega)


def generates(charge: Charge, group_or_basis: Group | Tensor) -> float:
    """Check a candidate charge: does the flow that it generates lie in an algebra?

    Args:
        charge: With coefficients.
        group_or_basis: On phase space: a bound group, matrices (K, 2n, 2n), homogeneous ones, or fields (K, 2n, M).

    Returns:
        Cosine between ``Omega grad Q`` and the span of the generators, 1 for a member.

    Example:
        >>> turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        >>> both = torch.block_diag(turn, turn)
        >>> round(generates(noether_charge(both), both[None]), 6)
        1.0
    """
    basis = group_or_basis.coefficients() if isinstance(group_or_basis, Group) else group_or_basis
    fields = [_read_field(one, affine=basis.shape[1] == charge.dim + 1) for one in basis]
    flow = charge.flow()
    width = max(flow.shape[1], *(one.shape[1] for one in fields))
    flow, *fields = (F.pad(one, (0, width - one.shape[1])) for one in (flow, *fields))
    return float(cosine_to_span(flow[None], torch.stack(fields))[0])


def _read_field(generator: Tensor, affine: bool) -> Tensor:
    """Write a generator as a polynomial field, (d, M)."""
    numbers = generator.detach().to("cpu", torch.float64)
    if numbers.ndim == 1:
        return F.pad(numbers[:, None], (len(numbers), 0))
    rows, columns = numbers.shape
    if rows == columns:
        return numbers[:-1] if affine else F.pad(numbers, (0, 1))
    if not degree_of(rows, columns):
        raise DimensionMismatch(
            f"a generator of shape {(rows, columns)}", "(d,), (d, d) or (d, M) for all monomials", "Check the shape."
        )
    return numbers


def _read_form(form: Tensor | None, dim: int) -> Tensor:
    if dim % 2:
        raise DimensionMismatch(
            f"a phase space of {dim} dimensions", "an even number", 'For positions alone pass kind="point".'
        )
    if form is None:
        identity = torch.eye(dim // 2, dtype=torch.float64)
        nothing = torch.zeros_like(identity)
        return torch.cat((torch.cat((nothing, identity), 1), torch.cat((-identity, nothing), 1)))
    omega = form.detach().to("cpu", torch.float64)
    if tuple(omega.shape) != (dim, dim):
        raise DimensionMismatch(f"a form of shape {tuple(omega.shape)}", f"({dim}, {dim})", "One row a coordinate.")
    if float((omega + omega.mT).norm()) > 1e-8 * float(omega.norm()) or torch.linalg.matrix_rank(omega) < dim:
        raise InvalidSetting("a form that is not skew or not invertible", "a symplectic matrix", "Check its blocks.")
    return omega


def _lift(field: Tensor) -> Charge:
    """Give p . xi(q) of a field of positions."""
    half, dim = len(field), 2 * len(field)
    degree = degree_of(*field.shape)
    targets = {monomial: k for k, monomial in enumerate(list_monomials(dim, degree + 1))}
    numbers = field.new_zeros(len(targets))
    for axis, row in enumerate(field):
        for factors, value in zip(list_monomials(half, degree), row.tolist(), strict=True):
            name = (*factors, half + axis)
            numbers[targets[name]] += value
    empty = not bool(field.any())
    omega = _read_form(None, dim)
    return Charge(None if empty else numbers, dim, 0.0, omega, "the generator vanishes" if empty else "")


def _jacobian(field: Tensor, dim: int) -> Tensor:
    """Give the derivatives of d components: (d, d', M), the coefficients of d X_i / d z_j."""
    return torch.stack([_gradient(row, dim) for row in field])


def _gradient(numbers: Tensor, dim: int) -> Tensor:
    """Give the derivatives of a function: (M,) to (d, M)."""
    monomials = list_monomials(dim, degree_of(dim, len(numbers)))
    places = {name: k for k, name in enumerate(monomials)}
    result = numbers.new_zeros(dim, len(monomials))
    for factors, value in zip(monomials, numbers.tolist(), strict=True):
        for axis in set(factors):
            rest = list(factors)
            rest.remove(axis)
            result[axis, places[tuple(rest)]] += factors.count(axis) * value
    return result


def _integrate(covector: Tensor, dim: int) -> Tensor:
    """Give Q with grad Q = covector by the line integral from the origin: (d, M) to (M',)."""
    degree = degree_of(dim, covector.shape[1])
    monomials = list_monomials(dim, degree)
    places = {name: k for k, name in enumerate(list_monomials(dim, degree + 1))}
    numbers = covector.new_zeros(len(places))
    for axis, row in enumerate(covector):
        for factors, value in zip(monomials, row.tolist(), strict=True):
            numbers[places[tuple(sorted((*factors, axis)))]] += value / (len(factors) + 1)
    return numbers
