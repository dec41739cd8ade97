"""What callbacks and mixin use where nothing else is said."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

from lightning_symmetry.balancing import Balancer, Fixed, Ramp
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.losses import Equivariance, Loss, NormReward, Orthogonality, suggest_reward
from lightning_symmetry.symmetry import Symmetry

# Batches: an untrained network answers everything alike, so that anything would pass for a symmetry.
WARMUP = 500
# Characters of a folder's name; systems allow 255 bytes.
LONGEST_NAME = 160


def build_symmetries(described: Any) -> list[Symmetry]:
    """Build one symmetry or a list of them from sentences, files, mappings or objects.

    Raises:
        InvalidSetting: There is none, or two have one name.
    """
    built = [Symmetry.of(one) for one in _list(described)]
    if not built:
        raise InvalidSetting("no symmetry", "at least one", 'For example "image -> label", where one is learnt.')
    for k, symmetry in enumerate(built):
        if any(symmetry.name == other.name for other in built[:k]):
            raise InvalidSetting(
                got=f"two symmetries of the name {symmetry.name!r}",
                expected="a name for each, under which logs and files keep them apart",
                remedy="Leave one out, or give it as a mapping with over, input, output and name.",
            )
    return built


def join_names(symmetries: Sequence[Symmetry]) -> str:
    """Name several symmetries together, short enough for a folder's name."""
    names = [symmetry.name for symmetry in symmetries]
    joined, others = "_and_".join(names), f"_and_{len(names) - 1}_others" if len(names) > 1 else ""
    return joined if len(joined) <= LONGEST_NAME else names[0][:LONGEST_NAME] + others


def holds_object(described: Any) -> bool:
    """Whether a symmetry was given as an object, which is its owner's to name."""
    return any(isinstance(one, Symmetry) for one in _list(described))


def ask_module(module: Any) -> list[Any] | None:
    """Ask a LightningModule for its symmetries; None where it states none.

    What is part of the module, and trained with it, is copied.
    """
    stated = getattr(module, "symmetries", None)
    # an attribute of that name, such as a list of modules, is something else
    if not inspect.ismethod(stated):
        return None
    owned = {id(part) for part in module.modules()}
    return [copy.deepcopy(one) if id(one) in owned else one for one in _list(stated())]


def _list(described: Any) -> list[Any]:
    many = isinstance(described, Sequence) and not isinstance(described, str)
    return list(described) if many else [described]


def choose_losses(symmetries: Sequence[Symmetry]) -> list[Loss]:
    """Take the equivariance error, and what keeps a learnt group in shape where one is learnt."""
    if any(symmetry.group.learnable for symmetry in symmetries):
        return [Equivariance(), NormReward(), Orthogonality()]
    return [Equivariance()]


def choose_balance(symmetries: Sequence[Symmetry]) -> Balancer:
    """Take strengths for `choose_losses`: 1, and a warm-up where a group is learnt."""
    if any(symmetry.group.learnable for symmetry in symmetries):
        return Ramp([1.0, suggest_reward(symmetries), 0.1], start=WARMUP)
    return Fixed(1.0)
