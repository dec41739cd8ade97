"""What was measured during training: kept for the report, and logged through whatever logger there is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor


class Journal:
    """Curves of named scalars over batches.

    Attributes:
        curves: Name to values; ``"step"`` holds the batches at which they were taken.
    """

    def __init__(self) -> None:
        self.curves: dict[str, list[float]] = {"step": []}

    def write(
        self,
        trainer: Any,
        host: Any,
        step: int,
        measure: Callable[[], Mapping[str, Tensor]],
        values: Mapping[str, Tensor],
    ) -> None:
        """Keep and log scalars on the batches on which the trainer logs; norms also go to the progress bar.

        Args:
            trainer: Says when, and whether at all.
            host: Its ``log`` is used.
            step: Batches so far.
            measure: Gives the norms; asked only when they are wanted.
            values: The losses' last values.
        """
        if (step - 1) % max(trainer.log_every_n_steps, 1):
            return
        norms = measure()
        self.curves["step"].append(float(step))
        for name, value in {**norms, **values}.items():
            curve = self.curves.setdefault(name, [])
            # a loss that joins later, after a warm-up, has a gap at the beginning
            curve.extend([math.nan] * (len(self.curves["step"]) - 1 - len(curve)))
            curve.append(float(value))
            # barebones trainers warn on every call of log
            if not getattr(trainer, "barebones", False):
                host.log(f"symmetry/{name}", value.float(), prog_bar=name in norms, batch_size=1)

    def of(self, prefix: str) -> dict[str, list[float]]:
        """The curves of one symmetry, by their short names."""
        own = {k.removeprefix(f"{prefix}/"): v for k, v in self.curves.items() if k.startswith(f"{prefix}/")}
        return {"step": self.curves["step"], **own}

    def state_dict(self) -> dict[str, list[float]]:
        """Plain values."""
        return {name: list(curve) for name, curve in self.curves.items()}

    def load_state_dict(self, state: Mapping[str, list[float]]) -> None:
        """Restore."""
        self.curves = {name: list(curve) for name, curve in state.items()}
