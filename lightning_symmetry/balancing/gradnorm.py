"""Strengths that make gradients equally large."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.balancing.base import Balancer
from lightning_symmetry.exceptions import InvalidSetting

# A gradient counts as this share of the largest among the errors at least, where weights begin.
SMALL = 1e-3
# What nothing is divided by.
TINY = 1e-30


@final
class GradNorm(Balancer):
    """Gradient normalisation: losses that train at equal rates get gradients of equal size in the last weight W.

    With i over the task and the T errors, L_i their values and n = T + 1,

        G_i = w_i |grad_W L_i|,    r_i = (L_i / L_i(0)) / mean_j ( L_j / L_j(0) ),
        minimise over w:  sum_i | G_i - mean_j G_j r_i^alpha |,    then scale w so that sum_i w_i = n,

    the targets being held fixed. A slow loss (r_i > 1) gets a larger gradient, the more so the larger alpha is. The
    whole objective is divided by the task's weight, which so stays 1: lambda_k = w_k / w_task.

    The descent is in log w, with log G_i - log target_i clipped at 1 instead of the sign of the difference, and begins
    at its solution for the first batch, w_i ~ 1 / |grad_W L_i|. So weights stay positive, nothing depends on units but
    for the task's, and it settles where G_i is proportional to r_i^alpha.
    Of what was not measured in a batch the last value counts. A strength stays within a factor ``most`` of where it
    began: the gradient of an error that vanishes could not be made large.

    The rule makes every error count as much as the task, however false the symmetry: use it for symmetries that are
    known to hold; `Ratio` finds out which do.

    Args:
        alpha: The larger, the more a slow loss is favoured; 0 for gradients of equal size.
        rate: Of the descent, a batch.
        most: See above.

    Raises:
        InvalidSetting: A number lies outside its range.

    Cost: one backward a loss that is measured, down to the last weight; every_n_steps of the callback makes it rarer.

    References:
        Chen, Badrinarayanan, Lee and Rabinovich, GradNorm, arXiv 1711.02257, equations 1 and 2.

    Example:
        >>> balancer = GradNorm()
        >>> balancer.observe(1.0, moved=False)
        >>> balancer.compare(2.0, torch.tensor([1.0, 4.0]), step=0)
        >>> balancer.track(torch.tensor([0.5, 0.5]), step=0)
        >>> [round(strength, 6) for strength in balancer.strengths(2, step=1)]
        [2.0, 0.5]
    """

    observes = True
    measures = True
    differentiates = True

    def __init__(self, alpha: float = 1.5, rate: float = 0.025, most: float = 100.0) -> None:
        super().__init__()
        if alpha < 0 or rate <= 0 or most < 1:
            raise InvalidSetting(
                got=f"alpha={alpha}, rate={rate}, most={most}",
                expected="alpha >= 0, rate > 0 and most >= 1",
                remedy="The defaults are 1.5, 0.025 and 100.",
            )
        self.alpha, self.rate, self.most = alpha, rate, most
        self.task: Tensor
        self.weights: Tensor
        self.begun: Tensor
        self.sizes: Tensor
        self.values: Tensor
        self.firsts: Tensor
        self.register_buffer("task", torch.full((), torch.nan, dtype=torch.float64))
        # the task first, NaN before it is known: log-weights, now and at first; gradients; values, now and at first
        for name in ("weights", "begun", "sizes", "values", "firsts"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))

    def strengths(self, terms: int, step: int) -> list[float]:
        """See `Balancer.strengths`; 0 before everything was measured once."""
        self._fit(terms)
        return (self.weights[1:] - self.weights[0]).exp().nan_to_num(0.0).tolist()

    def observe(self, loss: float, moved: bool) -> None:
        """See `Balancer.observe`."""
        self.task.fill_(abs(loss))

    def compare(self, task: float, gradients: Tensor, step: int) -> None:
        """See `Balancer.compare`."""
        self._fit(len(gradients))
        gradients = gradients.to(self.sizes)
        self.sizes = _renew(self.sizes, torch.cat((gradients.new_tensor([task]), gradients)))

    def track(self, values: Tensor, step: int) -> None:
        """See `Balancer.track`."""
        self._fit(len(values))
        self.values = _renew(self.values, torch.cat((self.task[None], values.to(self.values).abs())))
        self.firsts = _renew(self.values, self.firsts)
        if not bool((self.sizes.isfinite() & self.values.isfinite()).all()):
            return
        if bool(self.weights.isnan().any()):
            self._begin()
            return
        norms = self.weights.exp() * self.sizes
        rates = self.values / self.firsts.clamp_min(TINY)
        targets = norms.mean() * (rates / rates.mean().clamp_min(TINY)) ** self.alpha
        difference = norms.clamp_min(TINY).log() - targets.clamp_min(TINY).log()
        weights = self.weights - self.rate * difference.clamp(-1.0, 1.0)
        bound = math.log(self.most)
        relative, begun = weights - weights[0], self.begun - self.begun[0]
        self.weights = _normalise(torch.minimum(torch.maximum(relative, begun - bound), begun + bound))

    def _begin(self) -> None:
        task, errors = self.sizes[:1], self.sizes[1:]
        if float(task) and float(errors.max()):
            errors = errors.clamp_min(SMALL * float(errors.max()))
            self.weights = self.begun = _normalise(-torch.cat((task, errors)).log())

    def _fit(self, terms: int) -> None:
        nan = torch.nan
        self._size(terms + 1, weights=nan, begun=nan, sizes=nan, values=nan, firsts=nan)


def _renew(old: Tensor, new: Tensor) -> Tensor:
    return torch.where(new.isfinite(), new, old)


def _normalise(weights: Tensor) -> Tensor:
    """Scale weights, given by their logarithms, to a mean of 1."""
    return weights - torch.logsumexp(weights, 0) + math.log(len(weights))
