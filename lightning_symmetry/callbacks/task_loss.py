"""The task's own loss of a batch, for balancers that want to know it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.distributed import sum_over_ranks


class TaskLoss:
    """What the training step returned in one batch: before the penalty, the scaler and accumulation."""

    def __init__(self) -> None:
        self._loss: Tensor | None = None

    def note(self, output: Any, host: Any, asker: str) -> None:
        """Keep the loss of the step; a closure that runs again is the same batch, of which the first counts.

        Args:
            output: What the step returned.
            host: Says whether the trainer or the step itself optimizes.
            asker: Name of who wants to know, for the message.

        Raises:
            InvalidSetting: A step of manual optimization kept its loss to itself.
        """
        loss = output.get("loss") if isinstance(output, Mapping) else output
        if isinstance(loss, Tensor):
            self._loss = loss.detach() if self._loss is None else self._loss
        elif not host.automatic_optimization:
            raise InvalidSetting(
                got=f"a training step of manual optimization that returned {type(output).__name__}",
                expected=f"the task's loss, by which {asker} chooses the strength",
                remedy="Return the loss (Lightning ignores it), or give a fixed strength as a number.",
            )

    def collect(self, device: torch.device) -> float | None:
        """Give the mean over ranks, once a batch; None where no rank has a finite loss.

        Args:
            device: Where ranks communicate.
        """
        loss, self._loss = self._loss, None
        # there are no doubles on Apple's devices
        both = torch.zeros(2, dtype=torch.float64, device="cpu" if device.type == "mps" else device)
        if loss is not None and bool(loss.isfinite().all()):
            both += torch.stack((loss.mean().to(both), both.new_ones(())))
        total, count = sum_over_ranks(both).tolist()
        return total / count if count else None
