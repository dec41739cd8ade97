"""Which of several proposed transformations a sample is trained on: a Markov chain a sample, steered by the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import InvalidSetting

SAMPLERS = ("mh", "uniform", "worst_of")
_LEAST = 1e-12


@final
@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen.

    Args:
        state: (B,), number of the proposal, from 0 on.
        loss: (B,), of that proposal.
        accepted: How many further proposals were accepted.
        tried: Of how many; 0 where no chain decides.
    """

    state: Tensor
    loss: Tensor
    accepted: Tensor
    tried: int


def choose(losses: Tensor, chances: Tensor, sampler: str = "mh") -> Choice:
    """Choose one of S proposals for every sample, all of which were drawn from the same law.

    "mh" is independent Metropolis-Hastings for the density p(g | x, y) proportional to l(f(g x), y), relative to the
    law that proposes: it begins with the first proposal and goes on to each further one with probability
    min(1, l' / l), losses being at least 1e-12. "uniform" keeps the first; "worst_of" takes the one of the largest
    loss. A loss that is NaN counts as the least.

    Args:
        losses: (S, B), of every proposal.
        chances: (S - 1, B), uniform in [0, 1).
        sampler: One of `SAMPLERS`.

    Raises:
        InvalidSetting: There is no such sampler.

    References:
        Hounie, Chamon and Ribeiro, Automatic data augmentation via invariance-constrained learning, arXiv 2209.15031.

    Example:
        >>> choose(torch.tensor([[1.0, 7.0], [2.0, 0.0]]), torch.tensor([[0.9, 0.1]])).state.tolist()
        [1, 0]
    """
    check_sampler(sampler)
    likely = losses.detach().double().nan_to_num(0.0).clamp_min(_LEAST)
    current, state = likely[0], torch.zeros(losses.shape[1], dtype=torch.long, device=losses.device)
    accepted = torch.zeros((), dtype=torch.long, device=losses.device)
    chain = sampler == "mh"
    if sampler == "worst_of":
        state = likely.argmax(0)
    for step in range(1, len(likely)) if chain else ():
        goes = chances[step - 1] * current < likely[step]
        current, state = torch.where(goes, likely[step], current), torch.where(goes, step, state)
        accepted += goes.sum()
    chosen = losses.gather(0, state.unsqueeze(0)).squeeze(0)
    return Choice(state, chosen, accepted, (losses.numel() - losses.shape[1]) * chain)


def check_sampler(sampler: str) -> None:
    """Refuse the name of a sampler that does not exist.

    Raises:
        InvalidSetting: It is none of `SAMPLERS`.
    """
    if sampler not in SAMPLERS:
        raise InvalidSetting(f"sampler={sampler!r}", f"one of {', '.join(SAMPLERS)}", "The default is 'mh'.")
