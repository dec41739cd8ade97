"""How far the network is from having the symmetry."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.distributed import global_variance
from lightning_symmetry.functional.residuals import relative_residual
from lightning_symmetry.losses.base import Loss
from lightning_symmetry.losses.call import Call
from lightning_symmetry.paths import find_leaves
from lightning_symmetry.symmetrization import lie_derivative

_DISTANCES = ("mse", "kl")


@final
class Equivariance(Loss):
    """Finite equivariance error: E_g d( f(rho_in(g) x), rho_out(g) f(x) ).

    ``mse`` is the mean squared difference in units of the output's variance over the batch (of all ranks, without
    gradient), so that the strength does not depend on the target's units. ``kl`` compares the class distributions of
    logits: KL( softmax f(x) || softmax f(gx) ). Nothing is detached.

    Args:
        distance: "mse" or "kl".
        views: Elements a sample, each one forward of the network.

    Raises:
        InvalidSetting: The distance is unknown or ``views`` is not positive.
    """

    def __init__(self, distance: str = "mse", views: int = 1) -> None:
        super().__init__()
        if distance not in _DISTANCES:
            raise InvalidSetting(f"distance {distance!r}", f"one of {_DISTANCES}", "Use 'kl' for logits.")
        if views < 1:
            raise InvalidSetting(f"views={views}", "at least 1", "Give the number of elements a sample.")
        self.distance, self.views = distance, views

    def forward(self, call: Call) -> Tensor:
        """Return (B,) errors."""
        total: Tensor | float = 0.0
        for j, (view, answer) in enumerate(zip(call.views, call.answers, strict=True)):
            expected = find_leaves(call.symmetry.move_output(view.g, call.y))
            actual = find_leaves(answer)
            total = total + call.weights[:, j] * sum(self._compare(actual[p], expected[p]) for p in expected)
        return torch.as_tensor(total)

    def _compare(self, actual: Tensor, expected: Tensor) -> Tensor:
        if not actual.is_floating_point() or actual.ndim == 0:
            return actual.new_zeros((), dtype=torch.float32)
        if self.distance == "kl":
            log_p, log_q = (F.log_softmax(t.float(), 1) for t in (expected, actual))
            return F.kl_div(log_q, log_p, log_target=True, reduction="none").flatten(1).sum(1)
        return relative_residual(actual, expected, global_variance(expected))


@final
class InfinitesimalEquivariance(Loss):
    """Infinitesimal equivariance error: mean over generators of || Df(x) v_k(x) - w_k(f(x)) ||^2, relative to Var f.

    It needs no finite group element, so it sees only the connected component and only the neighbourhood of the
    identity, but it has no interpolation error.

    Args:
        method: "jvp" or "difference", see `lie_derivative`.
    """

    def __init__(self, method: str = "jvp") -> None:
        super().__init__()
        self.method = method

    def forward(self, call: Call) -> Tensor:
        """Return (B,) errors; costs one forward of K * B rows (with its tangent for "jvp")."""
        slopes = find_leaves(lie_derivative(call.f, call.x, call.symmetry, method=self.method))
        outputs = find_leaves(call.y)
        terms = []
        for path, slope in slopes.items():
            scale = global_variance(outputs[path])
            terms.append(relative_residual(slope, torch.zeros_like(slope), scale))
        return torch.stack(terms).sum(0)
