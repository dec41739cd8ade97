"""Two opponents: generators that move pairs, and a network that tells the moved ones."""

from __future__ import annotations

import copy
from typing import Any, final

import torch
from torch import Tensor, nn

from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Learned
from lightning_symmetry.methods.liegan.discriminator import Discriminator, lay_flat
from lightning_symmetry.methods.liegan.evidence import move_pair
from lightning_symmetry.methods.liegan.objective import Objective, fool, tell
from lightning_symmetry.samplers import Integers
from lightning_symmetry.symmetry import Symmetry

# Share of the training that is spent on first powers.
HALF = 0.5
# What a discriminator reads of a pair: numbers and labels.
Seen = tuple[Tensor, Tensor]


@final
class Game(nn.Module):
    """One pair of opponents.

    Powers of one element are taken up to the first in the first half of training, and up to the largest in the second:
    an element that is a little off is far off after several turns, which makes it exact, but between whole turns high
    powers have many false minima.

    Args:
        symmetry: Whose generators are learnt; copied.
        discriminator: The architecture; copied.
        seed: Of the draws, of the discriminator's weights and of the generators' first entries.
        layout: How many numbers and labels a pair has.
    """

    def __init__(self, symmetry: Symmetry, discriminator: Discriminator, seed: int, layout: tuple[int, int]) -> None:
        super().__init__()
        self.symmetry, self.seed = copy.deepcopy(symmetry), seed
        self.discriminator = copy.deepcopy(discriminator).build(*layout, seed)
        self.largest = getattr(self.symmetry.sampler, "largest", 1)

    def begin(self, pair: Any, scale: float | None) -> Game:
        """Complete both sides by a first pair.

        Args:
            pair: (x, y).
            scale: Standard deviation of the generators' first entries; None keeps them.

        Returns:
            Itself.
        """
        self.symmetry.bind(*pair)
        self.discriminator.calibrate(pair)
        generator = torch.Generator().manual_seed(self.seed)
        for part in self.symmetry.modules():
            if isinstance(part, Learned) and part.weight is not None and scale is not None:
                drawn = torch.randn(part.weight.shape, generator=generator) * scale
                with torch.no_grad():
                    part.weight.copy_(drawn.to(part.weight) * part.pattern().to(part.weight))
        return self

    def bluff(
        self, pair: Any, objective: Objective, step: int, progress: float
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Move a pair and evaluate what the generators lose.

        Args:
            pair: (x, y), left as it is.
            objective: The penalties.
            step: Batches so far, on which the draws depend.
            progress: Share of the training that is over.

        Returns:
            A scalar; and the moved pair as the discriminator sees it, numbers and labels.
        """
        if isinstance(self.symmetry.sampler, Integers):
            self.symmetry.sampler.largest = self.largest if progress >= HALF else 1
        g, _ = self.symmetry.sample(pair[0], 1, Rng(self.seed, step))
        moved = move_pair(self.symmetry, pair, g)
        numbers, labels = lay_flat(moved)
        fake = self.discriminator.normalise(numbers)
        terms = objective.penalise(self.symmetry, pair[0], moved[0], progress)
        return fool(self.discriminator(fake, labels)) + sum(terms.values()), (fake, labels)

    def call(self, pair: Any, fake: Seen, objective: Objective) -> Tensor:
        """Evaluate what the discriminator loses.

        Args:
            pair: (x, y), left as it is.
            fake: From `bluff`; no gradient goes back there.
            objective: With the strength of the gradient penalty.

        Returns:
            A scalar.
        """
        numbers, labels = lay_flat(pair)
        real = self.discriminator.normalise(numbers).requires_grad_(objective.r1 > 0)
        # one pass for both
        both = self.discriminator(torch.cat([real, fake[0].detach()]), torch.cat([labels, fake[1]]))
        scores, others = both.chunk(2)
        loss = tell(scores, others)
        if not objective.r1:
            return loss
        (slope,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
        return loss + objective.r1 / 2 * slope.square().sum(1).mean()

    def score(self, pair: Any, batch: int) -> tuple[Tensor, Tensor]:
        """Score held-out pairs and what the generators make of them.

        Args:
            pair: (x, y).
            batch: Its number, on which the draws depend.

        Returns:
            (B,) each.
        """
        # negative counters: the others move the training data
        g, _ = self.symmetry.sample(pair[0], 1, Rng(self.seed, -1 - batch))
        moved = move_pair(self.symmetry, pair, g)
        return self.discriminator.judge(pair).float(), self.discriminator.judge(moved).float()


def split_pair(batch: Any) -> tuple[Any, Any]:
    """Read a batch as (x, y); one that is no pair is x alone, with nothing beside it.

    Args:
        batch: A pair, or any structure.

    Returns:
        Input structure and output structure.
    """
    if isinstance(batch, (tuple, list)) and len(batch) == 2 and not hasattr(batch, "_fields"):
        return batch[0], batch[1]
    return batch, ()
