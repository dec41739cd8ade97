"""Invariance-constrained training: transformations are constraints, whose multipliers say how much to augment.

Nobody searches for an augmentation policy. The user names families of transformations; the network is trained to keep
its loss on transformed data, drawn where that loss is large, within what is tolerable. The multiplier of a family rises
while it does not and falls to 0 where the network is invariant anyway; at the end it says what the invariance costs.

References:
    Hounie, Chamon and Ribeiro, Automatic data augmentation via invariance-constrained learning, ICML 2023,
    arXiv 2209.15031; Hounie, Ribeiro and Chamon, Resilient constrained learning, NeurIPS 2023, arXiv 2306.02426.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from lightning_symmetry.balancing import Dual
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.methods.dual.callback import DualAugmentation
from lightning_symmetry.methods.dual.families import Family, Geometric, Mixture, Photometric, operation, randaugment

__all__ = ["DualAugmentation", "Family", "Geometric", "Mixture", "Photometric", "dual", "operation", "randaugment"]


def dual(
    families: Any,
    epsilon: float | Sequence[float] | Literal["auto"] = "auto",
    mode: Literal["resilient", "plain"] = "resilient",
    sampler: Literal["mh", "uniform", "worst_of"] = "mh",
    steps: int = 2,
    variant: Literal["sampling", "lagrangian"] = "sampling",
    rate: float | None = None,
    relax_cost: float = 0.1,
    relax_rate: float | None = None,
    warmup: float = 0.05,
    module: str | None = None,
    criterion: str | None = None,
    seed: int = 0,
    name: str | None = None,
) -> DualAugmentation:
    """Train subject to a tolerable loss on transformed data, for every family of transformations.

    Published were mode="plain", variant="lagrangian", numbers for epsilon (0.1 to 2.1, chosen on a validation split)
    and rates of 1e-4 to 1e-2. The defaults need none of these: epsilon follows the loss on clean data, the rate the
    length of the training; a constraint that cannot be met is relaxed and does not drag the others along; and one
    training pass is enough.

    Args:
        families: As `DualAugmentation` takes them.
        epsilon: Tolerated loss: a number, one a family, or "auto": 1.2 times the running loss on clean data, plus a
            tenth of the first one.
        mode: "resilient" or "plain".
        sampler: "mh", "uniform" or "worst_of".
        steps: Proposals a sample.
        variant: "sampling" or "lagrangian".
        rate: Of the dual ascent.
        relax_cost: Of the resilient mode: the price of relaxing is relax_cost u^2.
        relax_rate: Of the relaxation.
        warmup: Share of the training, or number of batches, before the multipliers move.
        module: Dotted name of the network, where several are called.
        criterion: Dotted name of the loss, where several are called.
        seed: Seed of all draws.
        name: Name in logs, files and checkpoints.

    Returns:
        A callback for the Trainer.

    Raises:
        InvalidSetting: There is no such mode, or a number makes no sense.

    Example:
        >>> dual({"turns": "SO(2) on image -> label", "light": "brightness"}, epsilon=0.35).balance.tolerated
        [0.35]
    """
    if mode not in ("resilient", "plain"):
        raise InvalidSetting(f"mode={mode!r}", "'resilient' or 'plain'", "The default is 'resilient'.")
    balance = Dual(
        epsilon,
        rate=rate,
        resilient=mode == "resilient",
        relax_cost=relax_cost,
        relax_rate=relax_rate,
        warmup=warmup,
        relative=False,
    )
    return DualAugmentation(families, module, balance, criterion, variant, sampler, steps, seed, name)
