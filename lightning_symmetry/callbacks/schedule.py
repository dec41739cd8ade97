"""How long a training will be."""

from __future__ import annotations

import math
from typing import Any


def count_batches(trainer: Any) -> int | None:
    """Count the batches of a training in all, as far as its trainer knows before the first.

    Args:
        trainer: Its loaders exist.

    Returns:
        None where it has neither an end in epochs of a known length nor one in steps.
    """
    ends: list[float] = []
    epochs, steps = trainer.max_epochs, trainer.max_steps
    if epochs is not None and epochs >= 0:
        ends.append(epochs * float(trainer.num_training_batches))
    if steps is not None and steps >= 0:
        # a step ends an accumulation, so that it is at most so many batches
        ends.append(float(steps * max(trainer.accumulate_grad_batches, 1)))
    end = min(ends, default=math.inf)
    return int(end) if math.isfinite(end) else None
