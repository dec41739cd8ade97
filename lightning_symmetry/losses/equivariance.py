"""How far the network is from having the symmetry."""

from __future__ import annotations

from functools import partial
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.precision import widen
from lightning_symmetry.functional.residuals import relative_residual, relative_to_variance
from lightning_symmetry.losses.base import Loss
from lightning_symmetry.losses.call import Call
from lightning_symmetry.losses.feature import FeatureSite
from lightning_symmetry.paths import find_leaves, get_leaf
from lightning_symmetry.symmetrization import lie_derivative

_DISTANCES = ("mse", "kl")


@final
class Equivariance(Loss):
    """Finite equivariance error: E_g d( f(rho_in(g) x), rho_out(g) f(x) ).

    ``mse`` is the mean squared difference in units of the output's variance, see `relative_to_variance`: it depends
    neither on the target's units nor on the scale of the answers, so that it cannot be lowered by shrinking them.
    ``kl`` compares the class distributions of logits, KL( softmax f(x) || softmax f(gx) ). Where samples have several
    rows, as graphs have nodes, these are averaged. No target is detached.

    Args:
        distance: "mse" or "kl".
        views: Elements a sample, each one forward of the network.
        feature: Dotted name, below the network, of a submodule whose output is looked at instead of the network's.
        action: How the group moves that output, as the right-hand side of a sentence says it.

    Raises:
        InvalidSetting: The distance is unknown or ``views`` is not positive.
    """

    def __init__(
        self, distance: str = "mse", views: int = 1, feature: str | None = None, action: str | None = None
    ) -> None:
        super().__init__()
        if distance not in _DISTANCES:
            raise InvalidSetting(f"distance {distance!r}", f"one of {_DISTANCES}", "Use 'kl' for logits.")
        if views < 1:
            raise InvalidSetting(f"views={views}", "at least 1", "Give the number of elements a sample.")
        self.distance, self.views = distance, views
        self.feature, self._site = feature, FeatureSite.of(feature, action)

    def forward(self, call: Call) -> Tensor:
        """Return (B,) errors."""
        call = call if self._site is None else self._site.enter(call)
        total = torch.zeros_like(call.weights[:, 0])
        for path, y in find_leaves(call.y).items():
            if not y.is_floating_point() or not y.ndim:
                continue
            kl = self.distance == "kl"
            error, pool = torch.zeros_like(total), partial(call.rows.pool, path=path)
            for j, (view, answer) in enumerate(zip(call.views, call.answers, strict=True)):
                expected = get_leaf(call.symmetry.move_output(view.g, call.y, call.rows), path)
                actual = get_leaf(answer, path)
                distance = _diverge(actual, expected) if kl else relative_residual(actual, expected, 1.0)
                error = error + call.weights[:, j] * pool(distance)
            total = total + (error if kl else relative_to_variance(error, y, pool))
        return total


def _diverge(actual: Tensor, expected: Tensor) -> Tensor:
    log_p, log_q = (F.log_softmax(widen(t), 1) for t in (expected, actual))
    return F.kl_div(log_q, log_p, log_target=True, reduction="none").flatten(1).sum(1)


@final
class InfinitesimalEquivariance(Loss):
    """Infinitesimal equivariance error: mean over generators of || Df(x) v_k(x) - w_k(f(x)) ||^2, relative to Var f.

    It needs no finite group element, so it sees only the connected component and only the neighbourhood of the
    identity, but it has no interpolation error.

    Args:
        backend: "jvp" or "difference", see `lie_derivative`.
        feature: Dotted name, below the network, of a submodule whose output is looked at instead of the network's.
        action: How the group moves that output, as the right-hand side of a sentence says it.
    """

    views = 0

    def __init__(self, backend: str = "jvp", feature: str | None = None, action: str | None = None) -> None:
        super().__init__()
        if backend not in ("jvp", "difference"):
            raise InvalidSetting(f"backend={backend!r}", "'jvp' or 'difference'", "The latter needs no jvp.")
        self.backend = backend
        self.feature, self._site = feature, FeatureSite.of(feature, action)

    def forward(self, call: Call) -> Tensor:
        """Return (B,) errors; costs one forward of K * B rows (with its tangent for "jvp").

        Raises:
            InvalidSetting: The group is finite.
        """
        if not call.symmetry.group.count:
            raise InvalidSetting(
                got=f"{call.symmetry.sentence!r}, whose group is finite",
                expected="a group with a continuous part, of which there are generators",
                remedy="Use Equivariance(), which draws elements.",
            )
        call = call if self._site is None else self._site.enter(call)
        slopes = find_leaves(lie_derivative(call.f, call.x, call.symmetry, backend=self.backend))
        outputs = find_leaves(call.y)
        terms = []
        for path, slope in slopes.items():
            pool = partial(call.rows.pool, path=path)
            error = pool(relative_residual(slope, torch.zeros_like(slope), 1.0))
            terms.append(relative_to_variance(error, outputs[path], pool))
        return torch.stack(terms).sum(0)
