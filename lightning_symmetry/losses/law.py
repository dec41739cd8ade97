"""Terms on the law alone: they make learnt widths want to grow."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.losses.base import Loss
from lightning_symmetry.losses.call import Call
from lightning_symmetry.samplers import width_bounds

_FORMS = ("norm", "log")


@final
class WidthReward(Loss):
    """Reward for wide laws: "norm" is - || s ||_2 with full widths s_k, "log" is - mean_k log w_k with half-widths w_k.

    A width beyond its bound (see `width_bounds`) counts as the bound and earns nothing more, each on its own. "norm" is
    the published form: its slope is shared, so that the cheapest generator takes most of it. Under "log" every width
    has the same slope per e-fold, also the smallest, which therefore opens as fast as any other.

    Args:
        form: "norm" or "log".

    Raises:
        InvalidSetting: The form is unknown.

    Reference:
        Benton et al., Learning Invariances in Neural Networks from Training Data, 2020, eq. 4.
    """

    needs_output = False

    def __init__(self, form: str = "norm") -> None:
        super().__init__()
        if form not in _FORMS:
            raise InvalidSetting(f"form={form!r}", f"one of {_FORMS}", "Use 'norm' for the published reward.")
        self.form = form

    def forward(self, call: Call) -> Tensor:
        """Return a scalar, bounded below by its value at the bounds."""
        symmetry = call.symmetry
        widths, bounds = symmetry.sampler.widths, width_bounds(symmetry.group, symmetry.moves_pictures)
        capped = torch.minimum(widths, bounds.to(widths))
        return -torch.linalg.vector_norm(2 * capped) if self.form == "norm" else -capped.log().mean()
