"""Random numbers that belong to the rows of the global batch, whatever the number of processes."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from lightning_symmetry.exceptions import InvalidSetting


class Rng:
    """Draws that depend on (seed, counter, call, global row) only.

    The ``i``-th local row is row ``i * world + rank`` of the global batch, which is how a distributed sampler deals the
    data. So ranks differ, sizes of world agree, a run resumes exactly from its counter, and torch's global generator is
    never touched.

    Args:
        seed: Of the run.
        counter: Of the step; two steps draw independently.
        rank: Of this process.
        world: Number of processes.

    Raises:
        InvalidSetting: The rank lies outside the world.

    Example:
        >>> alone = Rng(0).uniform(4)
        >>> shared = [Rng(0, rank=r, world=2).uniform(2) for r in range(2)]
        >>> bool((torch.stack(shared, 1).flatten() == alone).all())
        True
    """

    def __init__(self, seed: int, counter: int = 0, rank: int = 0, world: int = 1) -> None:
        if not 0 <= rank < world:
            raise InvalidSetting(f"rank {rank} in a world of {world}", "0 <= rank < world", "Check both numbers.")
        self.seed, self.counter, self.rank, self.world = int(seed), int(counter), int(rank), int(world)
        self.calls = 0

    def __repr__(self) -> str:
        """Show everything that the next draw depends on."""
        words = (f"{key}={value}" for key, value in vars(self).items())
        return f"Rng({', '.join(words)})"

    def _draw(self, rows: int, shape: tuple[int, ...]) -> Tensor:
        key = f"{self.seed},{self.counter},{self.calls}".encode()
        self.calls += 1
        generator = torch.Generator("cpu")
        generator.manual_seed(int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little") >> 1)
        # Uniform doubles are dealt out one after the other, so a longer draw begins with the shorter one.
        values = torch.rand(rows * self.world, *shape, generator=generator, dtype=torch.float64)
        return values[self.rank :: self.world]

    def uniform(
        self,
        rows: int,
        *shape: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Draw uniformly from [0, 1).

        Args:
            rows: Local rows.
            *shape: Of one row.
            device: Where the result goes.
            dtype: Of the result; the same numbers, rounded.

        Returns:
            (rows, *shape).
        """
        # Rounding to a shorter type could reach 1.
        return self._draw(rows, shape).to(dtype).clamp_(max=1 - torch.finfo(dtype).eps).to(device)

    def normal(
        self,
        rows: int,
        *shape: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Draw from the standard normal law.

        Args:
            rows: Local rows.
            *shape: Of one row.
            device: Where the result goes.
            dtype: Of the result.

        Returns:
            (rows, *shape).
        """
        centred = self._draw(rows, shape).clamp_(min=2.0**-54).mul_(2).sub_(1)
        return centred.erfinv_().mul_(2**0.5).to(dtype).to(device)

    def integers(self, high: int, rows: int, *shape: int, device: torch.device | str | None = None) -> Tensor:
        """Draw whole numbers uniformly from 0 .. high - 1.

        Args:
            high: Number of possible values.
            rows: Local rows.
            *shape: Of one row.
            device: Where the result goes.

        Returns:
            (rows, *shape), int64.

        Raises:
            InvalidSetting: There is nothing to choose from.
        """
        if high < 1:
            raise InvalidSetting(f"high={high}", "at least one value to choose from", "Pass high >= 1.")
        return (self._draw(rows, shape) * high).long().clamp_(max=high - 1).to(device)
