"""How far a supposed conserved quantity drifts along trajectories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.functional.random import Rng

# A charge must drift this many times less than random quadratic functions do.
_MUCH_LESS = 20.0
_RANDOM_CHARGES = 16


@final
@dataclass(frozen=True)
class Drift:
    """How far functions of phase space drift along trajectories, relative to their size: medians over trajectories.

    Args:
        charge: Of the charge.
        worst: Its largest one.
        random: Of random quadratic functions: what is conserved by chance.
        energy: Of the energy, which the trajectories conserve as well as they were integrated; None if not given.
        truth: Of the true charge; None if not given.
    """

    charge: float
    worst: float
    random: float
    energy: float | None = None
    truth: float | None = None

    @property
    def conserved(self) -> bool:
        """Whether it drifts at least twenty times less than random functions do."""
        return self.charge * _MUCH_LESS < self.random

    def __str__(self) -> str:
        """Tell the drift in one line, with everything it can be compared with."""
        words = {"random quadratic": self.random, "energy": self.energy, "true charge": self.truth}
        beside = ", ".join(f"{name} {value:.2g}" for name, value in words.items() if value is not None)
        verdict = "conserved" if self.conserved else "not conserved"
        return f"{verdict}: relative drift {self.charge:.2g} (worst {self.worst:.2g}; {beside})"


def check_drift(
    charge: Callable[[Tensor], Tensor],
    trajectories: Tensor,
    energy: Callable[[Tensor], Tensor] | None = None,
    truth: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
) -> Drift:
    """Follow a charge along trajectories that were not learnt from.

    The drift on one is ``max_t |Q(t) - Q(0)|`` over the root mean square of Q on all of them. A generator with cosine
    0.999 to the true one may still give a charge that drifts by percents, so that cosines are not enough.

    Args:
        charge: What `noether_charge` gives, or any function (..., 2n) to (...).
        trajectories: (B, T, 2n), float64 where the drift matters below 1e-6.
        energy: The Hamiltonian, as a baseline.
        truth: The true charge, as a baseline.
        seed: Of the random quadratic functions.

    Returns:
        The drifts.

    Raises:
        DimensionMismatch: Trajectories are not (B, T, 2n) with at least two times.

    Example:
        >>> time = torch.linspace(0, 6, 50, dtype=torch.float64)
        >>> circle = torch.stack((time.cos(), -time.sin()), -1)[None]
        >>> found = check_drift(lambda z: z.square().sum(-1), circle)
        >>> found.conserved, found.charge < 1e-12
        (True, True)
    """
    if trajectories.ndim != 3 or trajectories.shape[1] < 2:
        raise DimensionMismatch(
            f"trajectories of shape {tuple(trajectories.shape)}", "(B, T, 2n), T > 1", "Stack whole trajectories."
        )
    z = trajectories.detach().to("cpu", torch.float64)
    forms = Rng(seed).normal(_RANDOM_CHARGES, z.shape[-1], z.shape[-1], dtype=torch.float64)
    own = _drift(charge(z))
    others = torch.stack([_drift(torch.einsum("bti,ij,btj->bt", z, form, z)).median() for form in forms])
    return Drift(
        charge=float(own.median()),
        worst=float(own.max()),
        random=float(others.median()),
        energy=None if energy is None else float(_drift(energy(z)).median()),
        truth=None if truth is None else float(_drift(truth(z)).median()),
    )


def _drift(values: Tensor) -> Tensor:
    size = values.square().mean().sqrt()
    return (values - values[:, :1]).abs().amax(1) / size.clamp_min(torch.finfo(values.dtype).tiny)
