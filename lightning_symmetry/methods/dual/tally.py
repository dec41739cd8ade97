"""What was measured of the families since the multipliers last learnt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.functional.distributed import sum_over_ranks


@final
@dataclass(frozen=True)
class Told:
    """Means over samples and ranks.

    Args:
        losses: (K,) float64, NaN where nothing was measured.
        accepted: (K,) shares of proposals that were accepted, NaN where no chain decided.
        clean: Mean loss of unmoved samples; None where nothing was measured.
    """

    losses: Tensor
    accepted: Tensor
    clean: float | None


class Tally:
    """Sums over samples: of losses, their number, accepted and tried proposals; of K families, and of unmoved samples.

    Args:
        families: K.
    """

    def __init__(self, families: int) -> None:
        self.sums = torch.zeros(4, families + 1, dtype=torch.float64)

    def add(self, sums: Tensor) -> None:
        """Add what `Proposals.choose` gave, (4, K + 1)."""
        self.sums += sums

    def add_losses(self, losses: Tensor, family: int | None) -> None:
        """Add losses of samples that one family moved, or none."""
        self.sums[:2, -1 if family is None else family] += sum_losses(losses)

    def collect(self, device: torch.device) -> Told:
        """Give what was measured on all ranks, and begin anew.

        Args:
            device: Where ranks communicate.
        """
        # there are no doubles on Apple's devices
        place = torch.device("cpu") if device.type == "mps" else device
        loss, count, accepted, tried = sum_over_ranks(self.sums.to(place)).cpu()
        self.sums = torch.zeros_like(self.sums)
        clean = float(loss[-1] / count[-1]) if float(count[-1]) else None
        return Told((loss / count)[:-1], (accepted / tried)[:-1], clean)


def sum_losses(losses: Tensor) -> Tensor:
    """Add the losses that are finite: (2,) float64 on the CPU, their sum and their number."""
    losses = losses.detach().double() if losses.device.type != "mps" else losses.detach().cpu().double()
    seen = losses.isfinite()
    return torch.stack((torch.where(seen, losses, 0.0).sum(), seen.sum().double())).cpu()
