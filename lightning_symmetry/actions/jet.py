"""Points of a jet space: where a solution of a partial differential equation is, its value, and its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.actions.base import Action, write_words
from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.functional.polynomials import evaluate_monomials, list_monomials
from lightning_symmetry.functional.precision import apply_matrix
from lightning_symmetry.functional.series import (
    differentiate_series,
    expand,
    factorials,
    invert_series,
    multiply_series,
)
from lightning_symmetry.groups import Element, Group

_GOLDEN = 0.618034


@final
class Jet(Action):
    r"""The derivatives of a function move with its graph: the prolongation of a group on (x, u).

    The columns are p independent variables x, q dependent ones u(x), and derivatives. A group of dimension p + q moves
    the graph of u, and the columns of the moved graph are ``act(g, x)``. Along the field :math:`\xi^i \partial_{x_i} +
    \phi^a \partial_{u^a}` the derivative :math:`u^a_J` moves by

    .. math:: \phi^a_J = D_J (\phi^a - \xi^i u^a_i) + \xi^i u^a_{J, i}

    with total derivatives D. A symmetry of an equation is then an invariance of its residual, at solutions. Derivatives
    that are no columns must not matter: those beyond the highest order never do, others do where a group mixes
    independent variables, and are asked for then. All derivatives up to an order, ``jet('t x', 'u', 2)``, serve every
    group.

    Args:
        independent: Names of single letters, as in ``'t x'``.
        dependent: Names, as in ``'u v'``.
        derivatives: Their names, such as ``'u_x u_xx u_t'``, in the order of the columns; or a number: all up to that
            order, lower ones first.

    Raises:
        InvalidSetting: A name makes no sense, or comes twice.

    Cost: 2^n evaluations of the group's field, or of the element, n being the highest order.

    Reference:
        Olver, Applications of Lie Groups to Differential Equations, 1986, theorem 2.36.

    Example:
        >>> from lightning_symmetry.groups import Given
        >>> boost = Given([[[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]]).bind(3)  # t d/dx + d/du
        >>> jet = Jet('t x', 'u', 'u_t u_x')
        >>> jet.columns, jet.lie(boost, torch.tensor([[2.0, 0.0, 1.0, 0.5, 0.25]])).tolist()
        (('t', 'x', 'u', 'u_t', 'u_x'), [[[0.0, 2.0, 1.0, -0.25, 0.0]]])
    """

    affine = True
    mixes_units = True

    def __init__(self, independent: str, dependent: str, derivatives: str | int) -> None:
        super().__init__()
        axes, fields = independent.split(), dependent.split()
        named = all(len(axis) == 1 for axis in axes) and not any("_" in name for name in fields)
        if not axes or not fields or not named or len({*axes, *fields}) < len(axes) + len(fields):
            raise InvalidSetting(
                f"independent={independent!r}, dependent={dependent!r}",
                "different names, independent ones of one letter, dependent ones without _",
                "For example jet('t x', 'u', 'u_x u_xx u_t').",
            )
        self.independent, self.dependent, self.derivatives = axes, fields, derivatives
        names = self._list(derivatives) if isinstance(derivatives, int) else derivatives.split()
        self._jets = [self._read(name) for name in names]
        if not names or len(set(self._jets)) < len(names):
            raise InvalidSetting(f"derivatives={derivatives!r}", "different names, at least one", "Correct them.")
        self.columns: tuple[str, ...] = (*axes, *fields, *names)
        self.order = max(len(factors) for _, factors in self._jets)
        self._missing = self._find_missing()

    def _list(self, order: int) -> list[str]:
        """List all derivatives up to an order, lower ones first."""
        monomials = list_monomials(len(self.independent), max(order, 1)) if order > 0 else ()
        wanted = sorted((name for name in monomials if name), key=lambda name: (len(name), name))
        return [f"{u}_{self._write(factors)}" for factors in wanted for u in self.dependent]

    def _write(self, factors: Sequence[int]) -> str:
        return "".join(self.independent[i] for i in factors)

    def _read(self, name: str) -> tuple[int, tuple[int, ...]]:
        """Read a derivative: its dependent variable, and the variables that it is taken by, sorted."""
        field, _, letters = name.partition("_")
        if field not in self.dependent or not letters or not set(letters) <= set(self.independent):
            raise InvalidSetting(
                f"the derivative {name!r}",
                f"one of {' '.join(self.dependent)}, _, and letters of {' '.join(self.independent)}",
                "For example u_xxt.",
            )
        return self.dependent.index(field), tuple(sorted(self.independent.index(letter) for letter in letters))

    def _find_missing(self) -> list[tuple[int, tuple[int, ...]]]:
        """List the derivatives, no columns, on which some group makes the motion of a column depend."""
        p, wanted = len(self.independent), set()
        for _, factors in self._jets:
            for name in list_monomials(p, self.order):
                part_of = all(name.count(i) <= factors.count(i) for i in set(name))
                if part_of and len(name) < len(factors):
                    wanted |= {tuple(sorted((*name, i))) for i in range(p)}
        known = set(self._jets)
        every = sorted((a, name) for a in range(len(self.dependent)) for name in wanted)
        return [jet for jet in every if jet not in known]

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        return write_words("jet", " ".join(self.independent), " ".join(self.dependent), self.derivatives)

    def base_dim(self, x: Tensor) -> int | None:
        """Tell the number of variables, independent and dependent."""
        return len(self.independent) + len(self.dependent)

    def check(self, x: Tensor) -> None:
        """Refuse whole numbers and everything but (B, J) with a column for each name."""
        super().check(x)
        if x.ndim != 2 or x.shape[1] != len(self.columns):
            raise ActionMismatch(
                f"data of shape {tuple(x.shape)} for {self.sentence!r}",
                f"(B, {len(self.columns)}) with the columns {' '.join(self.columns)}",
                "Stack them in this order.",
            )

    def pick(self, x: Tensor, names: str) -> Tensor:
        """Choose columns by their names.

        Args:
            x: (B, J).
            names: Such as ``'u u_x'``.

        Returns:
            (B, n), in the order of the names.

        Raises:
            InvalidSetting: There is no such column.
        """
        wanted = names.split()
        if not set(wanted) <= set(self.columns):
            raise InvalidSetting(f"the columns {names!r}", f"some of {' '.join(self.columns)}", "Correct the names.")
        return x[..., [self.columns.index(name) for name in wanted]]

    def _move(self, g: Element, x: Tensor) -> Tensor:
        return self._evaluate(lambda series: self._carry(g, x, series), x)

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        return self._evaluate(lambda series: self._prolong(group, x, series), x)

    def _evaluate(self, move: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Move by the known derivatives, and refuse where others would matter."""
        moved = move(self._series(x))
        if self._missing:
            # numbers that nothing else is made of: what depends on them changes
            size = float(x.detach().abs().max().clamp_min(1))
            fills = [size * (0.5 + _GOLDEN * (i + 1) % 1) for i in range(len(self._missing))]
            change = (move(self._series(x, fills)) - moved).detach().abs().amax()
            if float(change) > torch.finfo(x.dtype).eps ** 0.5 * float(moved.detach().abs().max()):
                names = [f"{self.dependent[a]}_{self._write(factors)}" for a, factors in self._missing]
                raise ActionMismatch(
                    f"a group that moves {self.sentence!r} by derivatives that are no columns",
                    f"as columns also {' '.join(names)}, and what these need",
                    f"Write jet('{' '.join(self.independent)}', '{' '.join(self.dependent)}', {self.order}), or take "
                    "a group that does not mix independent variables.",
                )
        return moved

    def _series(self, x: Tensor, fills: Sequence[float] = ()) -> Tensor:
        """Write the Taylor series of the dependent variables, (B, q, M), from the columns."""
        p, q = len(self.independent), len(self.dependent)
        place = {name: i for i, name in enumerate(list_monomials(p, self.order))}
        scale = factorials(p, self.order)
        columns = [torch.zeros_like(x[:, 0])] * (q * len(place))
        for a in range(q):
            columns[a * len(place) + place[()]] = x[:, p + a]
        for (a, factors), column in zip(self._jets, x[:, p + q :].unbind(1), strict=True):
            columns[a * len(place) + place[factors]] = column / scale[place[factors]]
        for (a, factors), value in zip(self._missing, fills, strict=False):
            columns[a * len(place) + place[factors]] = torch.full_like(x[:, 0], value)
        return torch.stack(columns, 1).unflatten(1, (q, len(place)))

    def _graph(self, x: Tensor, series: Tensor) -> Callable[[Tensor], Tensor]:
        """Give the graph of the dependent variables around each sample: (B, N, p) to (B, N, p + q)."""
        base = x[:, None, : len(self.independent)]
        return lambda s: torch.cat((base + s, apply_matrix(series, evaluate_monomials(s, self.order))), -1)

    def _prolong(self, group: Group, x: Tensor, series: Tensor) -> Tensor:
        """Differentiate the columns along the generators, (B, K, J)."""
        p, order, graph = len(self.independent), self.order, self._graph(x, series)
        field = expand(lambda s: group.field(graph(s)), x, p, order).movedim(1, -1)
        across, up = field.tensor_split((p,), -2)
        start = across[..., p]
        # minus its value at the sample, which the second term of the prolongation takes away again
        across = torch.cat((across[..., :p], torch.zeros_like(start).unsqueeze(-1), across[..., p + 1 :]), -1)
        slopes = torch.stack([differentiate_series(series, i, p, order) for i in range(p)], 1).unsqueeze(1)
        total = up - multiply_series(across.unsqueeze(-2), slopes, p, order).sum(2)
        derivatives = total * total.new_tensor(factorials(p, order))
        place = {name: i for i, name in enumerate(list_monomials(p, order))}
        jets = [derivatives[..., a, place[factors]] for a, factors in self._jets]
        return torch.cat((start, up[..., p], torch.stack(jets, -1)), -1)

    def _carry(self, g: Element, x: Tensor, series: Tensor) -> Tensor:
        """Read the columns of the moved graph, (B, J)."""
        p, order, graph = len(self.independent), self.order, self._graph(x, series)
        moved = expand(lambda s: g(graph(s)), x, p, order).movedim(1, -1)
        across, up = moved.tensor_split((p,), -2)
        inverse = invert_series(torch.stack([differentiate_series(across, i, p, order) for i in range(p)], 2), p, order)
        known: dict[tuple[int, ...], Tensor] = {(): up}
        for factors in sorted({name[:k] for _, name in self._jets for k in range(1, len(name) + 1)}, key=len):
            # the chain rule: by the new variables, a derivative is that by the old ones times the inverse Jacobian
            before = known[factors[:-1]]
            slopes = torch.stack([differentiate_series(before, i, p, order) for i in range(p)], 1)
            known[factors] = multiply_series(inverse[:, :, factors[-1]].unsqueeze(2), slopes, p, order).sum(1)
        jets = [known[factors][:, a, p] for a, factors in self._jets]
        return torch.cat((across[..., p], up[..., p], torch.stack(jets, -1)), -1)
