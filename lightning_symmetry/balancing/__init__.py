"""How strongly each loss counts."""

from typing import Any

from lightning_symmetry.balancing.base import Balancer
from lightning_symmetry.balancing.constraint import Constraint
from lightning_symmetry.balancing.dual import Dual
from lightning_symmetry.balancing.fixed import Fixed, Ramp
from lightning_symmetry.balancing.gradnorm import GradNorm
from lightning_symmetry.balancing.ratio import Ratio
from lightning_symmetry.balancing.uncertainty import Uncertainty
from lightning_symmetry.groups.naming import build_by_name

__all__ = ["Balancer", "Constraint", "Dual", "Fixed", "GradNorm", "Ramp", "Ratio", "Uncertainty", "by_name"]

_TABLE = {kind.__name__.lower(): kind for kind in (Constraint, Dual, Fixed, GradNorm, Ramp, Ratio, Uncertainty)}


def by_name(name: str, *args: Any, **kwargs: Any) -> Balancer:
    """Make a balancer from its name, or from words such as ``"dual(0.05)"``.

    Args:
        name: "fixed", "ramp", "constraint", "ratio", "dual", "uncertainty", "gradnorm"; case does not matter; a dotted
            name imports a class.
        *args: For its constructor.
        **kwargs: For its constructor.

    Returns:
        The balancer.

    Raises:
        UnknownName: Nothing has that name; close matches are listed.
        SentenceError: The arguments cannot be read or do not fit.

    Example:
        >>> by_name("ratio").power, by_name("ratio(power=4)").power
        (2.0, 4)
    """
    return build_by_name(name, _TABLE, Balancer, *args, **kwargs)
