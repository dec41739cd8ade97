"""What is proposed for the samples of one batch, and what is chosen of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_symmetry.functional.random import Rng
from lightning_symmetry.methods.dual.chain import choose
from lightning_symmetry.methods.dual.family import Family
from lightning_symmetry.methods.dual.scoring import Batch, Group
from lightning_symmetry.methods.dual.tally import sum_losses

LEAST = 8
"""Samples of all ranks that a family is measured on, in the mean."""


class Proposals:
    """Transformations for the samples that are trained on them, and for some more that are only measured.

    A sample stays clean with probability 1 / (1 + sum lambda) and is given to family k with probability
    lambda_k / (1 + sum lambda); or all samples are given to every family whose lambda is not 0.

    Args:
        families: K of them.
        batch: The samples.
        strengths: lambda, K numbers.
        measured: Share of the samples that every family is measured on, beside those that it is trained on.
        clean: Whether as many are measured unmoved.
        everywhere: Whether families are given all samples.
        sampler: One of `SAMPLERS`.
        states: Proposals a sample.
        rng: Source of randomness; every rank draws the same number of times.

    Attributes:
        groups: What has to be scored: every proposal for the samples that are measured, or for which it decides.
        chosen: Disjoint groups of samples to be trained on, a list a family, once `choose` has run.
    """

    def __init__(
        self,
        families: Sequence[Family],
        batch: Batch,
        strengths: Sequence[float],
        measured: float,
        clean: bool,
        everywhere: bool,
        sampler: str,
        states: int,
        rng: Rng,
    ) -> None:
        self._sampler, self._families, self._samples = sampler, families, batch.samples
        states = 1 if sampler == "uniform" else states
        total, kinds = torch.tensor([1.0, *strengths], dtype=torch.float64), len(families) + 1
        bounds = (total.cumsum(0) / total.sum())[:-1]
        drawn = torch.bucketize(rng.uniform(batch.samples, dtype=torch.float64), bounds, right=True)
        given = [
            torch.full_like(drawn, s > 0).bool() if everywhere else drawn == k + 1 for k, s in enumerate(strengths)
        ]
        # few samples in all tell too little
        share = min(max(measured, LEAST / (batch.samples * rng.world)), 1 / kinds) if measured else 0.0
        extra = (rng.uniform(batch.samples, dtype=torch.float64) / max(share, 1e-12)).long() if share else None
        self._trained: list[Tensor] = []
        self._scored: list[Tensor] = []
        self._draws: list[list[object]] = []
        self._chances: list[Tensor] = []
        for k, (family, mine) in enumerate(zip(families, given, strict=True)):
            active = strengths[k] > 0 or extra is not None
            also = torch.zeros_like(mine) if extra is None else extra == k
            self._trained.append(mine.nonzero().flatten())
            self._scored.append((also if sampler == "uniform" else mine | also).nonzero().flatten())
            self._draws.append([family.draw(batch.x, rng) for _ in range(states if active else 0)])
            self._chances.append(
                rng.uniform(batch.samples, states - 1, dtype=torch.float64) if active else torch.zeros(0)
            )
        self.groups = [
            Group(family, moves, rows)
            for family, rows, draws in zip(families, self._scored, self._draws, strict=True)
            for moves in draws
            if len(rows)
        ]
        still = torch.zeros(0) if extra is None or not clean else (extra == kinds - 1).nonzero().flatten()
        if len(still):
            self.groups.append(Group(None, None, still))
        self.chosen: list[list[Group]] = []

    def choose(self, losses: Sequence[Tensor]) -> Tensor:
        """Choose for every sample.

        Args:
            losses: (n,), one tensor a group; none at all where the first proposal is kept whatever its loss.

        Returns:
            (4, K + 1) float64: sum of the chosen losses, their number, accepted and tried proposals; of every family,
            and of clean samples.
        """
        told, sums = list(losses), torch.zeros(4, len(self._families) + 1, dtype=torch.float64)
        for k, (family, draws, rows) in enumerate(zip(self._families, self._draws, self._scored, strict=True)):
            state = torch.zeros(self._samples, dtype=torch.long)
            if told and len(rows) and draws:
                values, told = torch.stack(told[: len(draws)]), told[len(draws) :]
                chances = self._chances[k][rows].T.to(values.device)
                found = choose(values, chances, self._sampler)
                state[rows] = found.state.cpu()
                sums[:2, k] = sum_losses(found.loss)
                sums[2, k], sums[3, k] = float(found.accepted), found.tried
            mine = self._trained[k]
            groups = [Group(family, moves, mine[state[mine] == s]) for s, moves in enumerate(draws)]
            self.chosen.append([group for group in groups if len(group.rows)])
        if told:
            sums[:2, -1] = sum_losses(told[0])
        return sums
