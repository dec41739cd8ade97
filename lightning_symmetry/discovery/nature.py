"""`Algebra`: a Lie algebra that was found, as a frozen result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from lightning_symmetry.discovery.forms import InvariantForms
from lightning_symmetry.discovery.layout import align_columns
from lightning_symmetry.discovery.printing import describe_flow, write_generator, write_latex

_MOST_TERMS = 6
_WORDS = {"abelian": "abelian", "simple": "simple", "solvable": "solvable", "mixed": "neither solvable nor simple"}


@final
@dataclass(frozen=True)
class Ideal:
    """One of the ideals that an algebra is the direct sum of.

    Args:
        name: Such as "so(3)".
        dim: Its dimension.
        kind: "simple", "solvable", "mixed", or "abelian" for all that is abelian together.
        also: Other names of the same algebra.
    """

    name: str
    dim: int
    kind: str
    also: tuple[str, ...] = ()


@final
@dataclass(frozen=True, eq=False)
class Algebra:
    """Which Lie algebra generators span, and everything that was told from.

    Args:
        name: Such as "so(1,3)", "so(3) + so(3)", "solvable of dimension 4, derived 3"; or "several algebras fit: ..." ,
            or "not closed (closure 0.40)".
        fitting: All names that fit; none for a span that is not closed.
        dim: Number r of independent generators.
        closure: Share of the brackets that leave the span, from 0 to 1.
        noise: Standard deviation of a structure constant, that ranks were decided with.
        basis: (r, ...) readable basis, one ideal after the other; rotations, then boosts, of a simple one.
        affine: Whether its matrices are homogeneous.
        errors: Standard error of the numbers of each generator of the basis.
        constants: (r, r, r) structure constants of an orthonormal basis.
        jacobi: How far the constants are from satisfying the Jacobi identity.
        ideals: Of which the algebra is the direct sum.
        membership: For each generator of the basis the ideal that it lies in; empty where the basis is not laid out by
            ideals, as that of so(4).
        killing: (r, r) Killing form in the orthonormal basis; None where it is no algebra, as below.
        inertia: Positive, negative and zero eigenvalues of the Killing form.
        derived: Dimensions of the derived series after the algebra itself.
        lower_central: Dimensions of the lower central series.
        centre: Dimension of the centre.
        radical: Dimension of the largest solvable ideal.
        nilradical: Dimension of the largest nilpotent ideal.
        rank: Dimension of a Cartan subalgebra.
        levi: Semisimple algebra and radical, of one that is a semidirect sum of both.
        nilpotent: Name of the nilradical of a solvable algebra without a name.
        weights: Of a solvable algebra with one dimension outside the nilradical, its eigenvalues on it.
        casimir: Eigenvalues of ``sum_ij (K^-1)_ij E_i E_j`` where the algebra is semisimple; 1 on its own adjoint
            representation.
        forms: Bilinear forms that its matrices keep; None for fields.
        spectrum: Eigenvalues of a generic unit combination of its matrices: imaginary ones turn, real ones stretch.
        missing: (m, ...) orthonormal directions of brackets outside the span.
        folds: Names that came out of resampled bases, and how often.
        notes: Sentences on what the numbers do not say.
    """

    name: str
    fitting: tuple[str, ...]
    dim: int
    closure: float
    noise: float
    basis: Tensor
    affine: bool
    errors: tuple[float, ...]
    constants: Tensor
    jacobi: float
    ideals: tuple[Ideal, ...] = ()
    membership: tuple[int, ...] = ()
    killing: Tensor | None = None
    inertia: tuple[int, int, int] | None = None
    derived: tuple[int, ...] | None = None
    lower_central: tuple[int, ...] | None = None
    centre: int | None = None
    radical: int | None = None
    nilradical: int | None = None
    rank: int | None = None
    levi: tuple[str, str] = ("", "")
    nilpotent: str = ""
    weights: tuple[complex, ...] = ()
    casimir: tuple[float, ...] = ()
    forms: InvariantForms | None = None
    spectrum: tuple[complex, ...] = ()
    missing: Tensor = field(default_factory=lambda: torch.zeros(0))
    folds: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def closed(self) -> bool:
        """Whether it is an algebra."""
        return bool(self.fitting)

    @property
    def generators(self) -> tuple[str, ...]:
        """The readable basis in symbols."""
        return tuple(
            write_generator(g, error, affine=self.affine) for g, error in zip(self.basis, self.errors, strict=True)
        )

    @property
    def latex(self) -> tuple[str, ...]:
        """The readable basis in LaTeX."""
        return tuple(
            write_latex(g, error, affine=self.affine) for g, error in zip(self.basis, self.errors, strict=True)
        )

    @property
    def conclusion(self) -> str:
        """The result in one sentence."""
        also = [name for ideal in self.ideals for name in ideal.also] if len(self.ideals) == 1 else []
        other = f" (the same as {', '.join(also)})" if also else ""
        count = f"{self.dim} generator{'s' * (self.dim > 1)}"
        text = f"{self.name}{other}: {count}, closure {self.closure:.1%}"
        if self.folds:
            own = dict(self.folds).get(self.name, 0)
            text += f", {own}/{sum(n for _, n in self.folds)} folds agree"
        return f"{text}."

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Lay the readable basis out as a table: the header, and one row a generator."""
        flows = [describe_flow(g, self.affine) for g in self.basis]
        places = [self.ideals[k].name for k in self.membership] or [self.name if self.closed else "-"] * len(self.basis)
        texts = [
            write_generator(g, e, affine=self.affine, most=_MOST_TERMS)
            for g, e in zip(self.basis, self.errors, strict=True)
        ]
        return ["generator", "flow", "in"], [list(row) for row in zip(texts, flows, places, strict=True)]

    def facts(self) -> list[str]:
        """List what concerns all generators together, one line each."""
        lines = []
        if self.inertia is not None and self.derived is not None:
            positive, negative, zero = self.inertia
            lines += [
                f"Killing form: {positive} positive, {negative} negative, {zero} zero; rank {self.rank}",
                f"derived series {_write_series(self.dim, self.derived)}; lower central "
                f"{_write_series(self.dim, self.lower_central or ())}; centre {self.centre}, radical {self.radical}, "
                f"nilradical {self.nilradical}",
            ]
        if len(self.ideals) > 1 or any(one.kind != "simple" and one.name != self.name for one in self.ideals):
            listed = ", ".join(f"{one.name} (dimension {one.dim}, {_WORDS[one.kind]})" for one in self.ideals)
            lines.append(f"ideals: {listed}")
        if self.levi[0]:
            lines.append(f"Levi: {self.levi[0]} acting on the radical {self.levi[1]}")
        if self.nilpotent:
            lines.append(f"its nilradical is {self.nilpotent}")
        if self.weights:
            lines.append(f"weights on the nilradical: {', '.join(_write_number(w) for w in self.weights)}")
        if self.casimir:
            lines.append(f"Casimir operator: {_write_multiset(self.casimir)}")
        if self.forms is not None:
            lines.append(f"keeps: {self.forms}")
        if len(self.missing):
            lines.append(f"missing: {len(self.missing)} direction{'s' * (len(self.missing) > 1)} of brackets")
        if self.folds:
            total = sum(count for _, count in self.folds)
            lines.append("; ".join(f"{name} in {count}/{total} folds" for name, count in self.folds))
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Write plain values: what is printed and what was counted."""
        return {
            "name": self.name,
            "conclusion": self.conclusion,
            "fitting": list(self.fitting),
            "dim": self.dim,
            "closure": self.closure,
            "noise": self.noise,
            "jacobi": self.jacobi,
            "generators": list(self.generators),
            "latex": list(self.latex),
            "basis": self.basis.tolist(),
            "affine": self.affine,
            "ideals": [
                {"name": one.name, "dim": one.dim, "kind": one.kind, "also": list(one.also)} for one in self.ideals
            ],
            "membership": list(self.membership),
            "constants": self.constants.tolist(),
            "inertia": None if self.inertia is None else list(self.inertia),
            "derived": None if self.derived is None else list(self.derived),
            "lower_central": None if self.lower_central is None else list(self.lower_central),
            "centre": self.centre,
            "radical": self.radical,
            "nilradical": self.nilradical,
            "rank": self.rank,
            "levi": list(self.levi),
            "nilpotent": self.nilpotent,
            "casimir": list(self.casimir),
            "signatures": [] if self.forms is None else [list(one) for one in self.forms.signatures],
            "spectrum": [[v.real, v.imag] for v in self.spectrum],
            "weights": [[v.real, v.imag] for v in self.weights],
            "missing": self.missing.tolist(),
            "folds": [list(one) for one in self.folds],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        """Show the table as plain text."""
        header, rows = self.rows()
        return "\n".join([self.conclusion, align_columns([header, *rows]), *self.facts(), *self.notes])


def _write_series(dim: int, series: tuple[int, ...]) -> str:
    return ", ".join(map(str, (dim, *series)))


def _write_number(value: complex) -> str:
    if abs(value.imag) < 1e-3 * max(abs(value), 1e-12):
        return f"{value.real:.3g}"
    return f"{value.imag:.3g}i" if abs(value.real) < 1e-3 * abs(value) else f"{value.real:.3g}{value.imag:+.3g}i"


def _write_multiset(values: tuple[float, ...]) -> str:
    rounded = [f"{value:.2g}" for value in values]
    counts = {value: rounded.count(value) for value in rounded}
    return ", ".join(value if count == 1 else f"{value} ({count} times)" for value, count in counts.items())
