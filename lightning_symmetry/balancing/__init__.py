"""How strongly each loss counts."""

from lightning_symmetry.balancing.base import Balancer
from lightning_symmetry.balancing.constraint import Constraint
from lightning_symmetry.balancing.fixed import Fixed, Ramp

__all__ = ["Balancer", "Constraint", "Fixed", "Ramp", "by_name"]


def by_name(name: str) -> Balancer:
    """Make a balancer from its name."""
    raise NotImplementedError(name)
