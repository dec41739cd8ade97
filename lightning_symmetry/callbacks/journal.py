"""What was measured during training: kept for the report, and logged through whatever logger there is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from lightning_symmetry.discovery import label_generators, width_key
from lightning_symmetry.samplers import learns_widths
from lightning_symmetry.symmetry import Symmetry


class Journal:
    """Curves of named scalars over batches.

    Attributes:
        curves: Name to values; ``"step"`` holds the batches at which they were taken.
    """

    def __init__(self) -> None:
        self.curves: dict[str, list[float]] = {"step": []}

    @staticmethod
    def is_due(trainer: Any, step: int) -> bool:
        """Whether the trainer logs on a batch, the first of which is 1."""
        return (step - 1) % max(trainer.log_every_n_steps, 1) == 0

    def write(
        self,
        trainer: Any,
        host: Any,
        step: int,
        symmetries: Iterable[Symmetry],
        values: Mapping[str, Tensor],
    ) -> None:
        """Keep and log scalars; norms and widths also go to the progress bar.

        Args:
            trainer: Says whether anything is logged.
            host: Its ``log`` is used.
            step: Batches so far.
            symmetries: Whose norms and widths are measured.
            values: The losses' last values.
        """
        sizes = {name: size for symmetry in symmetries for name, size in _measure(symmetry)}
        self.curves["step"].append(float(step))
        for name, value in {**sizes, **values}.items():
            curve = self.curves.setdefault(name, [])
            # a loss that joins later, after a warm-up, has a gap at the beginning
            curve.extend([math.nan] * (len(self.curves["step"]) - 1 - len(curve)))
            curve.append(float(value))
            # barebones trainers warn on every call of log
            if not getattr(trainer, "barebones", False):
                host.log(f"symmetry/{name}", value.float(), prog_bar=name in sizes, batch_size=1)

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


def _measure(symmetry: Symmetry) -> Iterator[tuple[str, Tensor]]:
    """Norms of learnt generators, or learnt widths of known ones."""
    group, sampler = symmetry.group, symmetry.sampler
    if group.learnable:
        for k, norm in enumerate(group.norms()):
            yield f"{symmetry.name}/norm_{k}", norm.detach()
    elif learns_widths(sampler):
        for name, width in zip(label_generators(group), sampler.widths, strict=True):
            yield f"{symmetry.name}/{width_key(name)}", width.detach()
