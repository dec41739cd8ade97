"""Solitons of the Korteweg-de Vries equation, point by point: place, value and derivatives."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lightning_symmetry.actions import Jet
from lightning_symmetry.data.base import KnownEquation
from lightning_symmetry.functional.polynomials import list_monomials
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.functional.series import differentiate_series, factorials, invert_series, multiply_series
from lightning_symmetry.groups import Given
from lightning_symmetry.symmetry import Symmetry


@final
class KdVJets(KnownEquation):
    r"""Points of exact solutions of :math:`u_t + u u_x + u_{xxx} = 0`, each of two solitons that pass each other.

    .. math:: u = 12 \, \partial_x^2 \log (1 + e^{\theta_1} + e^{\theta_2} + (\tfrac{k_1 - k_2}{k_1 + k_2})^2
        e^{\theta_1 + \theta_2}), \quad \theta_i = k_i x - k_i^3 t + \delta_i

    Every sample is a point (t, x) in [-1, 1] x [-3, 3] of a solution of its own: k1 in [0.9, 1.3], k2 in [0.4, 0.8],
    delta normal. Input (B, 12) is the columns t, x, u and all derivatives up to the third; target (B, 1) the rate
    :math:`-u u_x - u_{xxx}`, which is u_t at solutions.

    Args:
        samples: Of the training part.
        batch_size: Samples a step.
        seed: Of everything drawn.
        double: Deal float64.

    Raises:
        InvalidSetting: There is nothing to train on.

    Reference:
        Hirota, Exact solution of the Korteweg-de Vries equation for multiple collisions of solitons, 1971.

    Example:
        >>> KdVJets().truth().group.count
        4
    """

    reads = "u u_x u_xx u_xxx"

    @property
    def jet(self) -> Jet:
        """How a group of (t, x, u) moves the columns."""
        return Jet("t x", "u", 3)

    def truth(self) -> Symmetry:
        """Give d/dx, d/dt, the boost t d/dx + d/du, and the scaling x d/dx + 3 t d/dt - 2 u d/du."""
        basis = torch.zeros(4, 4, 4, dtype=torch.float64)
        basis[0, 1, 3] = basis[1, 0, 3] = basis[2, 1, 0] = basis[2, 2, 3] = basis[3, 1, 1] = 1
        basis[3, 0, 0], basis[3, 2, 2] = 3, -2
        return Symmetry(Given(basis, affine=True), self.jet, "scalar", name="korteweg_de_vries")

    def target(self, x: Tensor) -> Tensor:
        """Give the rate -u u_x - u_xxx: (B, 12) -> (B, 1)."""
        u, u_x, u_xxx = self.jet.pick(x, "u u_x u_xxx").split(1, 1)
        return -u * u_x - u_xxx

    def draw(self, rng: Rng, rows: int) -> Tensor:
        """Draw points of solutions, (rows, 12), float64."""
        place = (2 * rng.uniform(rows, 2, dtype=torch.float64) - 1) * torch.tensor([1.0, 3.0])
        k = torch.tensor([0.9, 0.4]) + 0.4 * rng.uniform(rows, 2, dtype=torch.float64)
        return self.solve(place, k, rng.normal(rows, 2, dtype=torch.float64))

    def solve(self, place: Tensor, k: Tensor, delta: Tensor) -> Tensor:
        """Evaluate solutions of two solitons and their derivatives.

        Args:
            place: (B, 2), t and x.
            k: (B, 2), different and not zero: a soliton is 3 k^2 high and moves at speed k^2.
            delta: (B, 2), where the solitons are at t = 0, times -k.

        Returns:
            (B, 12) columns.
        """
        meeting = ((k[:, :1] - k[:, 1:]) / (k[:, :1] + k[:, 1:])).square()
        exponents = torch.stack((-(k**3), k), -1)
        theta = (exponents * place[:, None]).sum(-1) + delta
        exponents = torch.cat((torch.zeros_like(exponents[:, :1]), exponents, exponents.sum(1, keepdim=True)), 1)
        theta = torch.cat((torch.zeros_like(theta[:, :1]), theta, theta.sum(1, keepdim=True) + meeting.log()), 1)
        # two orders more than the columns, since u is a second derivative
        order = self.jet.order + 2
        names, scale = list_monomials(2, order), place.new_tensor(factorials(2, order))
        # a factor before the sum of exponentials changes no derivative of its logarithm
        waves = [
            theta.softmax(1) * exponents[..., 0] ** name.count(0) * exponents[..., 1] ** name.count(1) for name in names
        ]
        total = torch.stack([wave.sum(1) for wave in waves], 1) / scale
        inverse = invert_series(total[:, None, None], 2, order)[:, 0, 0]
        slope = multiply_series(differentiate_series(total, 1, 2, order), inverse, 2, order)
        derivatives = 12 * differentiate_series(slope, 1, 2, order) * scale
        wanted = [tuple(sorted("tx".index(letter) for letter in name[2:])) for name in self.jet.columns[2:]]
        return torch.cat((place, derivatives[:, [names.index(factors) for factors in wanted]]), 1)
