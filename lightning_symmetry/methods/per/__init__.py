"""PER: candidate symmetries press on the weights, and after a while each as hard as the data support it.

Every weight and bias is penalised by its squared distance from what commutes with each candidate group, in a network of
tensors of known ranks. At first all candidates press alike; then, once, their strengths are divided by the squared
distances that are left: what the data support keeps its strength, what they contradict loses orders of magnitude.

References:
    Kim, Lee, Yang and Lee, Regularizing Towards Soft Equivariance Under Mixed Symmetries, ICML 2023, arXiv 2306.00356.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from lightning_symmetry.balancing import Ratio
from lightning_symmetry.callbacks import EquivarianceRegularizer
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.losses import Equivariance, Projection

__all__ = ["per"]

# strength, power; when the rule is applied and how long distances are averaged before, as shares of the training
_PRESETS = {
    "inertia": (100.0, 2.0, 2000 / 8000, 50 / 8000),
    "cossim": (0.01, 2.0, 500 / 2000, 50 / 2000),
    "motion": (5.0, 5.0, 100 / 500, 50 / 500),
}


def per(
    symmetries: Any,
    preset: Literal["inertia", "cossim", "motion"] = "inertia",
    measure: Literal["weights", "samples"] = "weights",
    types: Mapping[str, str] | None = None,
    module: str | None = None,
    strength: float | None = None,
    power: float | None = None,
    start: float | None = None,
    window: float | None = None,
    form: Literal["mse", "logmse", "cosine"] = "mse",
    bias: bool = True,
    normalise: bool = False,
    gate: float | None = None,
    every_n_steps: int = 1,
    seed: int = 0,
    name: str | None = None,
) -> EquivarianceRegularizer:
    """Press the weights towards several groups, and tune the strengths once as published.

    loss = task + sum_k lambda_k R_k, with R_k of `Projection` and, after a share ``start`` of the training,
    lambda_k = strength (min_j R_j / R_k)^power.

    The published settings belong to data sets and to distances that are not normalised; strengths there were tuned by
    hand. The rule looks at the mean over the window, where the published program keeps one noisy batch of it. For data
    of one's own see `EquivarianceRegularizer`, which needs no strength, with ``losses=[Projection()]``.

    Args:
        symmetries: Candidates, sentences such as "about(z, mirrors=True) on tensors('5x0 + 5x1') -> tensors('1x2')".
        preset: "inertia", "cossim" or "motion": strengths of 100, 0.01, 5, powers of 2, 2, 5, applied after 25 %, 25 %,
            20 % of the training.
        measure: "weights" as published; "samples" puts `Equivariance` in their place, for networks of any kind.
        types: Of the layers' features, see `Projection`; a `GatedTensorNetwork` tells them itself.
        module: Dotted name of the network, where several are called.
        strength: In place of the preset's.
        power: Likewise.
        start: Likewise; a share of the training, or a number of batches.
        window: Likewise.
        form: Of the distance of weights, see `Projection`.
        bias: Whether biases count.
        normalise: Measure distances in units of what random weights have; those of samples are in units of the output's
            variance anyway.
        gate: The largest normalised distance that may pass for a symmetry, see `Ratio`; published was none, so that the
            best of several false candidates keeps its strength.
        every_n_steps: Penalties on every n-th batch only.
        seed: Of what the verdict draws.
        name: Name in logs, files and checkpoints.

    Returns:
        A callback for the Trainer.

    Raises:
        InvalidSetting: There is no such preset or measure, a number makes no sense, or there is a gate for distances
            that are not normalised.

    Example:
        >>> sides = "tensors('5x0 + 5x1') -> tensors('1x2')"
        >>> per([f"about({axis}, mirrors=True) on {sides}" for axis in "xyz"]).balance.power
        2.0
    """
    if preset not in _PRESETS:
        raise InvalidSetting(f"preset={preset!r}", f"one of {', '.join(_PRESETS)}", "The first is 'inertia'.")
    weighs = measure == "weights"
    if measure not in ("weights", "samples"):
        raise InvalidSetting(f"measure={measure!r}", "'weights' or 'samples'", "Published is 'weights'.")
    if gate is not None and weighs and not normalise:
        raise InvalidSetting(f"gate={gate} for distances in units of the weights", "normalise=True", "Leave one out.")
    published = _PRESETS[preset]
    given = (strength, power, start, window)
    chosen = [old if new is None else new for new, old in zip(given, published, strict=True)]
    return EquivarianceRegularizer(
        symmetries,
        module=module,
        losses=[Projection(types, normalise, bias, form) if weighs else Equivariance()],
        balance=Ratio(chosen[1], chosen[2], chosen[3], chosen[0], math.inf if gate is None else gate, repeat=False),
        every_n_steps=every_n_steps,
        seed=seed,
        name=name,
    )
