"""Groups as matrices that move features, for penalties on weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.equivariant_maps import APPROXIMATE, EXACT
from lightning_symmetry.groups import AffineMap, Given, Group, Learned

_INSTEAD = "Measure this symmetry by samples: Equivariance() instead of Projection()."


@final
@dataclass(frozen=True)
class Matrices:
    """The linear parts of a group, float64; translations leave features and kernels alone.

    Args:
        generators: (K, d, d), those that do not vanish.
        elements: (M, d, d) of the finite part, the identity first; for permutations two that generate all.
        tolerance: Relative size of what counts as zero: more where the generators were estimated.
        complete: Whether the finite part is listed element by element, which regular channels need.
    """

    generators: Tensor
    elements: Tensor
    tolerance: float
    complete: bool = True

    @classmethod
    def of(cls, group: Group) -> Matrices:
        """Read a group that knows the dimension of its space.

        Raises:
            InvalidSetting: It is being learnt, or has no matrices.
        """
        if group.learnable:
            raise InvalidSetting(
                got=f"{group.sentence}, which is being learnt",
                expected="a group that stays as it is while weights are projected: bases are not made anew",
                remedy=f"Freeze it with requires_grad_(False). {_INSTEAD}",
            )
        parts = [kind for kind in ("space", "nodes", "values") if group.part(kind) is not None]
        size = group.dim or 0
        if parts == ["nodes"]:
            axes = torch.eye(size, dtype=torch.float64)
            swapped = axes[[*range(size)][1::-1] + [*range(2, size)]]
            return cls(axes.new_zeros(0, size, size), torch.stack((axes, swapped, axes.roll(1, 0))), EXACT, False)
        finite = group.discrete if parts == ["space"] and group.linear else None
        if parts != ["space"] or not group.linear or not (finite is None or isinstance(finite, AffineMap)):
            raise InvalidSetting(
                got=f"{group.sentence}, which is more than matrices of the space",
                expected="matrices such as those of SO(3), or permutations alone",
                remedy=_INSTEAD,
            )
        linear = group.basis().detach().to("cpu", torch.float64)[:, :size, :size]
        elements = torch.eye(size)[None] if finite is None else finite.linear.detach()
        estimated = any(isinstance(part, (Given, Learned)) for part in group.modules())
        tolerance = APPROXIMATE if estimated else EXACT
        return cls(linear[linear.flatten(1).any(1)], elements.to("cpu", torch.float64), tolerance)
