"""Fields on a grid whose values turn as well: flows, forces, gradients, features of steerable networks."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lightning_symmetry.actions.base import Action, jacobian, write_words
from lightning_symmetry.actions.grid import GridAction
from lightning_symmetry.exceptions import ActionMismatch, InvalidSetting
from lightning_symmetry.functional.precision import apply_matrix
from lightning_symmetry.groups import GL, SO, AffineMap, Element, Group


@final
class Field(GridAction):
    """The content is carried along, and the channels are moved by an action of the fibre.

    ``(g X)(p) = rho(J) X(g^-1 p)``, J being the Jacobian of g at ``g^-1 p``. By default the channels are n vectors of
    the plane, (x right, y down), one after the other: rho(J) = J. The derivative along a velocity v is
    ``-grad X . v + drho(Dv) X``.

    Args:
        fibre: The action on the channels of one pixel; None for vectors. In words: ``field('scalar')``,
            ``field("rep('C4')")``.
        padding: What lies outside: "zeros", "border" or "reflection".
        gradient: Of ``lie``: "central" or "spectral".

    Raises:
        InvalidSetting: A setting is unknown.

    Example:
        >>> quarter = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
        >>> wind = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 3, 3)
        >>> Field().act(quarter, wind)[0, :, 1, 1].round()
        tensor([0., 1.])
    """

    def __init__(self, fibre: Action | None = None, padding: str = "zeros", gradient: str = "central") -> None:
        super().__init__(padding, gradient)
        if fibre is not None and (not isinstance(fibre, Action) or isinstance(fibre, GridAction)):
            raise InvalidSetting(
                f"fibre={fibre!r}",
                "an action on vectors of channels, such as Scalar()",
                "by_name reads words: by_name(\"field('scalar')\").",
            )
        self.fibre = fibre

    @property
    def sentence(self) -> str:
        """The action as the grammar reads it back."""
        words = [] if self.fibre is None else [self.fibre.sentence]
        return write_words("field", *words, **self._settings())

    def check(self, x: Tensor) -> None:
        """Refuse whole numbers, everything but (B, C, H, W), and channels that the fibre's action does not move."""
        super().check(x)
        if x.ndim != 4:
            raise ActionMismatch(
                f"data of shape {tuple(x.shape)} for {self.sentence!r}",
                "a batch of fields, (B, C, H, W)",
                "Merge further axes into the batch, or stack the vectors' components as channels.",
            )
        if self.fibre is not None:
            self.fibre.check(x.flatten(2).mT)
        elif x.shape[1] % 2:
            raise ActionMismatch(
                f"{x.shape[1]} channels for {self.sentence!r}",
                "an even number, (x, y) of one vector after the other",
                "Declare single numbers as image, or name the fibre: field('scalar').",
            )

    def _move(self, g: Element, x: Tensor) -> Tensor:
        sources = (~g)(self._pixels(x))
        carried = self._carry(x, sources)
        rows, count = carried.shape[0], carried[0, 0].numel()
        values = carried.flatten(2).mT
        # One Jacobian serves all pixels of an affine map.
        local = jacobian(g, sources[:, :1] if isinstance(g, AffineMap) else sources).to(values.dtype)
        if local.shape[1] > 1:
            local, values = local.expand(rows, -1, -1, -1).flatten(0, 1), values.reshape(rows * count, 1, -1)
        else:
            local = local.squeeze(1)
        if self.fibre is None:
            vectors = values.reshape(len(values), -1, 2)
            moved = apply_matrix(local, vectors).reshape(rows, count, -1)
        else:
            moved = self.fibre.act(AffineMap(local), values).reshape(rows, count, -1)
        return moved.mT.reshape(x.shape)

    def _derive(self, group: Group, x: Tensor) -> Tensor:
        values, pixels = x.flatten(2).mT, self._pixels(x)
        if group.linear:
            slope = group.basis()[:, None, :2, :2].to(x)  # (K, 1, 2, 2), the same at every pixel
        else:
            axes = torch.eye(2, dtype=x.dtype, device=x.device)
            columns = [torch.func.jvp(group.field, (pixels,), (axis.expand_as(pixels),))[1] for axis in axes]
            slope = torch.stack(columns, -1).to(x.dtype)[0].transpose(0, 1)
        if self.fibre is None:
            vectors = values.unflatten(-1, (-1, 2)).unsqueeze(1)
            turned = (slope[None, :, :, None] @ vectors.unsqueeze(-1)).squeeze(-1).flatten(-2)
        else:
            turned = self._turn(self.fibre, slope, values)
        return self._drag(group, x) + turned.mT.unflatten(-1, x.shape[-2:])

    @staticmethod
    def _turn(fibre: Action, slope: Tensor, values: Tensor) -> Tensor:
        """Differentiate the fibre's action along matrices (K, H*W or 1, 2, 2): (B, K, H*W, C)."""
        basis = GL(2).basis().to(slope)
        share = torch.einsum("knij,mij->mkn", slope, basis) / 2
        used = (share.detach().abs() > 1e-6).flatten(1).any(1)
        if not bool(used.any()):
            return values.new_zeros(values.shape[0], slope.shape[0], *values.shape[1:])
        # A fibre of rotations knows nothing else: ask it for no more than is needed.
        group: Group = GL(2) if bool(used[1:].any()) else SO(2)
        change = fibre.lie(group.to(slope), values)
        return torch.einsum("mkn,bmnc->bknc", share[: change.shape[1]], change)
