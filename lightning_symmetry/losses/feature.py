"""Where inside the network a loss looks."""

from __future__ import annotations

from typing import final

from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.losses.call import Call
from lightning_symmetry.symmetry import Symmetry


@final
class FeatureSite:
    """A submodule's output, and how the group moves it.

    Args:
        feature: Dotted name below the network.
        action: The right-hand side of a sentence.
    """

    def __init__(self, feature: str, action: str) -> None:
        self.feature, self.action = feature, action
        self._symmetries: dict[int, Symmetry] = {}

    @classmethod
    def of(cls, feature: str | None, action: str | None) -> FeatureSite | None:
        """Read what a loss was given; None for the network's own output.

        Raises:
            InvalidSetting: One of the two is missing.
        """
        if feature is None and action is None:
            return None
        if feature is None or action is None:
            raise InvalidSetting(
                got=f"feature={feature!r}, action={action!r}",
                expected="both: which submodule, and how the group moves what it says",
                remedy="For example feature='encoder', action='vector(2)', or action='scalar' for what stays.",
            )
        return cls(feature, action)

    def enter(self, call: Call) -> Call:
        """Look at the feature in place of the answer.

        Raises:
            InvalidSetting: The action would have to be learnt.
        """
        known = self._symmetries.get(id(call.symmetry))
        if known is None or known.sampler is not call.symmetry.sampler:
            known = Symmetry(call.symmetry.sampler, call.symmetry.input, self.action, call.symmetry.name)
            self._symmetries[id(call.symmetry)] = known
        inner = call.inside(self.feature, known)
        known.bind(inner.x, inner.y)
        if any(p.requires_grad for p in known.output.parameters()):
            raise InvalidSetting(
                got=f"action={self.action!r} for the feature {self.feature!r}",
                expected="an action that is known: a loss learns nothing",
                remedy="Say how the group moves the feature, for example 'scalar' for what stays.",
            )
        return inner
