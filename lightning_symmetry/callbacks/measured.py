"""What was measured in a batch, averaged over its calls and over ranks."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_symmetry.functional.distributed import sum_over_ranks


class Measured:
    """Rows of numbers that arrive during one batch, of which the first run of a closure counts."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None
        self._closed = False

    def begin(self) -> None:
        """A training step begins, or the same call is made again."""
        self._closed = self._sums is not None

    def note(self, row: Tensor) -> None:
        """Add a row of numbers; one that is NaN or infinite was not measured."""
        if self._closed:
            return
        row = row.detach()
        seen = row.isfinite()
        both = torch.stack((torch.where(seen, row, 0.0), seen.to(row)))
        self._sums = both if self._sums is None else self._sums + both

    def collect(self, size: int, device: torch.device) -> Tensor | None:
        """Give the mean of every number over calls and ranks, once a batch.

        Args:
            size: Of a row.
            device: Where ranks communicate.

        Returns:
            (size,) float64 on the CPU, NaN for what nobody measured; None where nobody measured anything.
        """
        sums, self._sums, self._closed = self._sums, None, False
        # there are no doubles on Apple's devices
        place = torch.device("cpu") if device.type == "mps" else device
        both = torch.zeros(2, size, dtype=torch.float64, device=place) if sums is None else sums.to(place).double()
        total, count = sum_over_ranks(both).cpu()
        return None if not bool(count.any()) else total / torch.where(count > 0, count, torch.nan)
