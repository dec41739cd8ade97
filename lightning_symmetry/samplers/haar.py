"""The uniform law of compact groups."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor
from typing_extensions import Self

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.precision import working_dtype
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.rotations import log_rigid, log_rotation, uniform_rotations
from lightning_symmetry.groups import (
    SE,
    SO,
    About,
    AffineMap,
    E,
    Element,
    Group,
    O,
    Product,
    ProductElement,
    Translation,
    Union,
)
from lightning_symmetry.samplers.base import Sampler, read_rigid


@final
class Haar(Sampler):
    """The law that no element of the group changes: rotations uniform, finite parts uniform.

    It exists on compact groups: SO, O, rotations about an axis, finite groups, permutations, and products and unions of
    these. The translations of SE and E have none; they are uniform in a box. Uniform coordinates are something else:
    for d > 2 their exponentials crowd around some rotations.

    Rotations of the plane and of space keep their coordinates, the smallest ones, where there are no mirrors.

    Args:
        group: Whose elements are drawn.
        shift: Largest translation along each axis, in the units of the points.

    Raises:
        InvalidSetting: The group is not compact beside its translations, or ``shift`` is negative.

    Example:
        >>> from lightning_symmetry.groups import SO
        >>> g, _ = Haar(SO(3)).sample(torch.zeros(1000, 1), 1, Rng(0))
        >>> bool((g.linear.mean(0).abs() < 0.06).all())
        True
    """

    def __init__(self, group: Group | None = None, shift: float = 0.0) -> None:
        super().__init__(group)
        self.shift = float(shift)
        if self.shift < 0:
            raise InvalidSetting(f"shift={shift}", "no negative number", "Choose another width of the translations.")
        self.bind()

    @property
    def settings(self) -> dict[str, Any]:
        """The largest translation."""
        return {"shift": self.shift}

    def bind(self) -> Self:
        """Check that the group has such a law."""
        if self._group is not None:
            _check(self._group, self.shift)
        return self

    def sample(self, x: Tensor, n: int, rng: Rng) -> tuple[Element, Tensor]:
        """Draw elements directly, not through the Lie algebra."""
        group, rows, dtype = self._require_group(), x.shape[0], working_dtype(x.dtype)
        _check(group, self.shift)
        # what takes part at all, which in a union differs from draw to draw
        active, finite = group.select(torch.ones(rows, n, group.count, device=x.device, dtype=dtype), rng)
        weights = torch.full((rows, n), 1 / n, dtype=dtype, device=x.device)
        space, nodes = group.part("space"), group.part("nodes")
        if finite is not None and (space is None or not space.count):
            return finite, weights
        if space is None:
            return group.exp(active.flatten(0, 1)), weights
        g: Element = self._draw(space, active, rng)
        if nodes is not None:
            g = ProductElement(g, nodes.exp(active[..., :0].flatten(0, 1)), coordinates=g.coordinates)
        return g if finite is None else g @ finite, weights

    def _draw(self, space: Group, active: Tensor, rng: Rng) -> Element:
        """Draw elements of the connected part; what is not active, (B, n, K), stays still."""
        rows, n = active.shape[:2]
        if isinstance(space, About):
            angles = math.pi * (2 * rng.uniform(rows, n, 1, device=active.device, dtype=torch.float64) - 1)
            return space.exp((active * angles.to(active)).flatten(0, 1))
        basis = space.basis()
        dim = basis.shape[-1] - space.affine
        turns = basis[:, :dim, :dim].flatten(1).any(1)
        linear = torch.eye(dim, dtype=torch.float64).expand(rows, n, dim, dim)
        offset, coordinates = None, None
        if bool(turns.any()):
            on = active[..., turns].amax((-1,), keepdim=True).unsqueeze(-1).cpu() > 0
            linear = torch.where(on, uniform_rotations(rng.normal(rows, n, dim, dim, dtype=torch.float64)), linear)
        if space.affine:
            on = active[..., ~turns].cpu()
            offset = self.shift * on * (2 * rng.uniform(rows, n, dim, dtype=torch.float64) - 1)
        if isinstance(space, (SO, O, SE, E)) and dim <= 3:
            coordinates = log_rotation(linear) if offset is None else log_rigid(linear, offset)
        offset, coordinates = (None if t is None else t.to(active).flatten(0, 1) for t in (offset, coordinates))
        return AffineMap(linear.to(active).flatten(0, 1), offset, coordinates)


def _check(group: Group, shift: float) -> None:
    space = group.part("space")
    if space is None and group.part("values") is None:
        return
    if space is None or group.part("values") is not None:
        known = False
    elif space.dim is None:
        known = space.structure in ("skew", "rigid") or isinstance(space, (Translation, Product, Union))
    else:
        known = not space.count or isinstance(space, About) or read_rigid(space) is not None
        known |= isinstance(space, Translation) and shift > 0
    if not known:
        raise InvalidSetting(
            f"the Haar law of {group.sentence}", "a compact group", "It has no uniform law: use Uniform with a width."
        )
