"""What a column of the support table is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tests.seam.boring import same, weights
from tests.seam.support.hosts import Plain

Run = tuple[Any, Any, list[Any]]  # trainer, host, what was added
Fit = Callable[[Any, Sequence[Any]], Any]


class Column(ABC):
    """One way to use the package."""

    key: str
    title: str
    metric: str | None = None

    def host(self, kind: type[Any], *args: Any, **settings: Any) -> Any:
        """A host of a kind, as this column has it."""
        return kind(*args, **settings)

    def build(self) -> list[Any]:
        """What is added to the trainer."""
        return []

    @abstractmethod
    def check(self, kind: type[Plain], fit: Fit, tolerance: float, module: str | None = None) -> Run:
        """Hold the column's law for hosts of a kind under some way to fit them."""

    def learnt(self, added: list[Any]) -> dict[str, Tensor]:
        """What training changed in what was added."""
        return {}

    def batches(self, added: list[Any]) -> int | None:
        """How many batches it counted."""
        return None

    def evaluate(self) -> Any:
        """What it has to be evaluated on before it can be monitored."""
        return None


def traces(module: nn.Module) -> dict[str, set[str]]:
    return {name: set(vars(child)) for name, child in module.named_modules()}


def check_off(kind: type[Plain], fit: Fit, host: Any, off: Any) -> None:
    """Switched off, a callback changes nothing, to the last bit; and nothing is left on the host that it was on."""
    runs = []
    for added in ([], [off]):
        torch.manual_seed(5)
        other = kind()
        trainer = fit(other, added)
        logged = {k: float(v) for k, v in trainer.callback_metrics.items() if not k.startswith("symmetry/")}
        runs.append((weights(other), logged, traces(other), torch.get_rng_state().tolist()))
    (plain, metrics, left, state), (ours, our_metrics, our_left, our_state) = runs
    assert same(plain, ours) and repr(metrics) == repr(our_metrics)
    assert left == our_left == traces(host) and state == our_state
