"""Vector fields whose components are polynomials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from typing_extensions import Self

from lightning_symmetry.exceptions import DimensionMismatch, InvalidSetting
from lightning_symmetry.functional.polynomials import degree_of, evaluate_monomials, list_monomials
from lightning_symmetry.functional.precision import apply_matrix, full_precision, working_dtype
from lightning_symmetry.groups.base import Group
from lightning_symmetry.groups.element import Index
from lightning_symmetry.groups.flow import Flow, Velocity

MOST_GENERATORS = 16
_SCALE = 0.3
_RADIUS = 4.0


@final
@dataclass(frozen=True, eq=False)
class PolynomialVelocity(Velocity):
    """B polynomial vector fields.

    Args:
        coefficients: (B, d, M) of the monomials, in the order of ``list_monomials``.
        degree: Largest degree.
        radius: Distance beyond which everything grows linearly; None damps nothing: a flow may then reach infinity.
    """

    coefficients: Tensor
    degree: int
    radius: float | None

    @property
    def dim(self) -> int:
        """Dimension d of the space."""
        return self.coefficients.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """The type of the coefficients."""
        return self.coefficients.dtype

    def rate(self) -> float:
        """Bound the Jacobian within the radius: sum over degrees e of e |c_e| radius^(e - 1), for the fastest row.

        Without a radius, within the one that damped fields have by default.
        """
        radius = _RADIUS if self.radius is None else self.radius
        ends = [comb(self.dim + order, order) for order in range(1, self.degree + 1)]
        parts = [(0, self.dim), *zip(ends[:-1], ends[1:], strict=True)]
        blocks = [self.coefficients[..., start:stop] for start, stop in parts]
        sizes = [
            order * radius ** (order - 1) * torch.linalg.vector_norm(block.detach(), dim=(1, 2))
            for order, block in enumerate(blocks, 1)
        ]
        return float(torch.stack(sizes).sum(0).max()) if len(self) else 0.0

    def __len__(self) -> int:
        """Give the number of fields."""
        return self.coefficients.shape[0]

    def __call__(self, p: Tensor) -> Tensor:
        """Give the velocity at points (B, N, d)."""
        return apply_matrix(self.coefficients.to(p.dtype), evaluate_monomials(p, self.degree, self.radius))

    def __neg__(self) -> PolynomialVelocity:
        """Turn every field round."""
        return PolynomialVelocity(-self.coefficients, self.degree, self.radius)

    def __getitem__(self, index: Index) -> PolynomialVelocity:
        """Select rows."""
        rows = self.coefficients[[index] if isinstance(index, int) else index]
        return PolynomialVelocity(rows, self.degree, self.radius)


@final
class PolynomialField(Group):
    """The flows of K vector fields whose components are polynomials: ``v_k(p) = sum_m c_km m(p)``.

    The monomials m are the coordinates, 1, then products of two, three, ... coordinates, so that degree 1 is the affine
    maps and the first d + 1 columns of ``c_k`` are the rows of a homogeneous matrix. Polynomials of degree e > 1 would
    carry points to infinity in finite time: beyond ``radius`` their monomials are damped to linear growth (see
    ``evaluate_monomials``), so that every flow exists everywhere and for all times. The fields are not normalised, on
    purpose: their norm, the root of the sum of squared coefficients, is the evidence.

    With ``count="all"`` nothing is learnt: the fields are all K = d M products of a monomial and an axis, the monomials
    of the first axis first, as candidates for a search. In words that is ``polynomials(degree)``, where nothing is
    damped.

    Args:
        degree: Largest degree of a monomial, at least 1.
        dim: Dimension d; None until ``bind``.
        count: Number K of fields; "all" for one a monomial and axis; None for one more than SO(d) has, but at most 16.
        coefficients: (K, d, M) as nested lists or a tensor, which are fixed then; None for ones to be learnt.
        affine: Whether the constant term is used; None until ``bind``, which all fields do not wait for: they use it.
        scale: Standard deviation of the initial coefficients.
        seed: Of the initial coefficients, which do not depend on torch's global generator.
        radius: Distance from the origin up to which the fields are polynomials, in the units of the points; None damps
            nothing, and flows may reach infinity in finite time.

    Raises:
        InvalidSetting: A setting makes no sense.

    Example:
        >>> turn = PolynomialField(1, coefficients=[[[0, -1, 0], [1, 0, 0]]])
        >>> turn.exp(torch.tensor([[torch.pi / 2]]))(torch.tensor([[[1.0, 0.0]]])).round(decimals=4).abs()
        tensor([[[0., 1.]]])
        >>> PolynomialField(1, dim=2, count="all").field(torch.tensor([[[3.0, 5.0]]]))[0, 0].mT
        tensor([[3., 5., 1., 0., 0., 0.],
                [0., 0., 0., 3., 5., 1.]])
    """

    def __init__(
        self,
        degree: int = 2,
        dim: int | None = None,
        count: int | Literal["all"] | None = None,
        coefficients: Sequence[Any] | Tensor | None = None,
        affine: bool | None = None,
        scale: float = _SCALE,
        seed: int = 0,
        radius: float | None = _RADIUS,
    ) -> None:
        super().__init__(dim)
        self._all = count == "all"
        for name, value in (("degree", degree), ("count", None if self._all else count)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InvalidSetting(f"{name}={value}", "a positive whole number", f"Pass {name} >= 1.")
        if radius is not None and not radius > 0:
            raise InvalidSetting(f"radius={radius}", "a positive distance", "Choose the size of the data.")
        if self._all and coefficients is not None:
            raise InvalidSetting("coefficients for all fields", "one or the other", "Leave count='all' out.")
        self.degree, self.scale, self.seed = degree, scale, seed
        self.radius = None if radius is None else float(radius)
        self._count = None if isinstance(count, str) else count
        self._given_count, self._affine, self._given_affine = self._count, affine, affine
        self.weight: nn.Parameter | None
        self.register_parameter("weight", None)
        self._given: Tensor | None
        given = None if coefficients is None else self._read(coefficients)
        # all fields follow from the dimension, so that a state need not hold them
        self.register_buffer("_given", given, persistent=not self._all)
        if self._all:
            self._affine = affine is not False
            self.bind(dim)
        elif self._given is not None:
            self._given_dim, self._count = self._given.shape[1], len(self._given)
            self._affine = bool(self._given[..., self._given_dim].any()) if affine is None else affine
            self.bind(dim or self._given_dim)
        elif dim is not None and affine is not None:
            self.bind(dim, affine)

    def _read(self, coefficients: Sequence[Any] | Tensor) -> Tensor:
        numbers = torch.as_tensor(coefficients)
        numbers = numbers.detach().clone() if numbers.is_floating_point() else numbers.float()
        fits = numbers.ndim == 3 and len(numbers) and degree_of(*numbers.shape[1:]) == self.degree
        if not fits or not bool(numbers.isfinite().all()):
            raise InvalidSetting(
                f"coefficients of shape {tuple(numbers.shape)}",
                f"finite numbers (K, d, M), one for each monomial up to degree {self.degree}",
                "Order them as list_monomials does: coordinates, 1, products of two, ...",
            )
        return numbers

    @property
    def linear(self) -> bool:
        """Polynomials are no matrices."""
        return False

    @property
    def count(self) -> int:
        """Number K of fields."""
        if self._count is None:
            raise DimensionMismatch(
                "a count of fields that follows from the dimension", "the dimension of the data", "Call bind(dim)."
            )
        return self._count

    @property
    def affine(self) -> bool:
        """Whether there is a constant term; as long as nobody has said so, there is none."""
        return bool(self._affine)

    @property
    def learnable(self) -> bool:
        """Whether training can change it."""
        return self._given is None and not self._all and (self.weight is None or self.weight.requires_grad)

    @property
    def sentence(self) -> str:
        """The group as the grammar reads it back."""
        if self._all:
            name, default = "polynomials", None
            settings: dict[str, Any] = {"dim": self._given_dim}
        else:
            name, default = "polynomial_field", _RADIUS
            numbers = self._given
            settings = {
                "dim": self._given_dim if numbers is None else None,
                "count": self._given_count,
                "coefficients": None if numbers is None else numbers.tolist(),
            }
        settings["affine"] = self._given_affine
        used = {key: value for key, value in settings.items() if value is not None}
        used |= {} if self.radius == default else {"radius": self.radius}
        return f"{name}({', '.join([str(self.degree), *(f'{key}={value}' for key, value in used.items())])})"

    def bind(self, dim: int | None, affine: bool | None = None) -> Self:
        """Complete what was left open and make the coefficients, or check what was given."""
        dim = self._given_dim if dim is None else dim
        if dim is None or dim == self.dim:
            return self
        known = self.dim or self._given_dim
        if known not in (None, dim):
            raise DimensionMismatch(
                f"data in {dim} dimensions", f"{known}, where {self.sentence} acts", "Leave the dimension out."
            )
        size = comb(dim + self.degree, self.degree)
        if self._all:
            every = torch.eye(dim * size).unflatten(1, (dim, size))
            self._given = every if self._affine else every[every[..., dim].sum(1) == 0]
            self._count, self.dim = len(self._given), dim
            return self
        if self._affine is None:
            self._affine = bool(affine) if self.weight is None else bool(self.weight[..., dim].any())
        if self._count is None:
            rotations = dim * (dim - 1) // 2
            self._count = min(rotations + 1, MOST_GENERATORS) if self.weight is None else len(self.weight)
        if self.weight is not None and self.weight.shape != (self._count, dim, size):
            raise DimensionMismatch(
                f"loaded coefficients of shape {tuple(self.weight.shape)}",
                f"({self._count}, {dim}, {size})",
                "Load the state into a group of the same degree, count and dimension.",
            )
        if self._given is None and self.weight is None:
            generator = torch.Generator().manual_seed(self.seed)
            start = torch.randn(self._count, dim, size, generator=generator) * self.scale
            start[..., dim] *= self._affine
            self.weight = nn.Parameter(start)
        self.dim = dim
        return self

    def degrees(self) -> Tensor:
        """Tell the degree of each field: the largest of a monomial whose coefficient is not zero.

        Returns:
            (K,) whole numbers.
        """
        numbers = self.coefficients().detach()
        orders = [len(factors) for factors in list_monomials(numbers.shape[1], self.degree)]
        used = (numbers != 0).any(1)
        return (used * torch.tensor(orders, device=numbers.device)).amax(1)

    def coefficients(self) -> Tensor:
        """Give the coefficients, (K, d, M)."""
        if self._given is not None:
            return self._given
        if self.weight is None:
            raise DimensionMismatch(
                f"{self.sentence} without a dimension", "the dimension of the data", "Call bind(dim, affine)."
            )
        return self.weight if self.affine else self.weight * self.pattern()

    def pattern(self) -> Tensor:
        """Tell which coefficients may be used, (d, M): all but a constant term that is not wanted."""
        numbers = self.weight if self._given is None else self._given
        if numbers is None:
            return self.coefficients()
        mask = torch.ones_like(numbers[0])
        mask[:, len(mask)] = float(self.affine)
        return mask

    def fix(self, coefficients: Tensor | None = None) -> PolynomialField:
        """Make the group of fixed fields."""
        numbers = self.coefficients() if coefficients is None else coefficients
        return PolynomialField(self.degree, coefficients=numbers.detach(), affine=self._affine, radius=self.radius)

    def dump(self) -> dict[str, Any]:
        """Describe the fields as they stand."""
        if self._all:
            return {"sentence": self.sentence}
        sentence = f"polynomial_field({self.degree})"
        numbers = {"degree": self.degree, "radius": self.radius, "coefficients": self.coefficients()}
        return {"sentence": sentence, **numbers}

    def exp(self, t: Tensor) -> Flow:
        """Make the time-one flows of ``sum_k t_bk v_k``, from coordinates (B, K)."""
        self._check_coordinates(t)
        with full_precision(t.device):
            t = t.to(working_dtype(t.dtype))
            combined = (t[:, :, None, None] * self.coefficients().to(t.dtype)).sum(1)
            return Flow.of(PolynomialVelocity(combined, self.degree, self.radius), t)

    def field(self, p: Tensor) -> Tensor:
        """Give the velocity of points under each field, (B, N, K, d)."""
        dtype = working_dtype(p.dtype)
        self._check_points(p)
        with full_precision(p.device):
            rows = self.coefficients().to(dtype).flatten(0, 1)
            velocity = apply_matrix(rows.unsqueeze(0), evaluate_monomials(p, self.degree, self.radius))
        return velocity.unflatten(-1, (self.count, -1))
