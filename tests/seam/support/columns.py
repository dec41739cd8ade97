"""The columns of the support table: what is added to a run, its oracle, and the law that every cell holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_symmetry.balancing import Dual
from lightning_symmetry.callbacks import (
    EquivarianceRegularizer,
    Expect,
    GeneratorExtraction,
    LearnableAugmentation,
    SymmetryMixin,
)
from lightning_symmetry.exceptions import ClaimFailed
from tests.seam.boring import SENTENCE, Gap, close, make_loader, make_trainer, same, weights
from tests.seam.by_hand import own_steps
from tests.seam.support.balanced import CANDIDATES, RATE, TOLERATED, Balanced
from tests.seam.support.column import Column, Fit, Run, check_off, traces
from tests.seam.support.hosts import Hand, Plain, write_out


class Augmenting(Column):
    """A `LearnableAugmentation`.

    The law of a cell: the module's weights and the learnt ones are those of a module whose author wrote the symmetry
    into it; switched off, everything is bit for bit that of a run without it; nothing is left on the module.
    """

    def __init__(self, key: str, title: str, sentence: str, strength: float, probability: float) -> None:
        self.key, self.title, self.sentence = key, title, sentence
        self.strength, self.probability = strength, probability
        name = self.make().symmetries[0].name
        self.metric = f"symmetry/{name}/{'gap' if strength else 'norm_0'}"

    def make(self, off: bool = False, **settings: Any) -> LearnableAugmentation:
        if self.strength:
            settings.update(losses=[Gap()], balance=0.0 if off else self.strength)
        else:
            settings.update(losses=[])
        return LearnableAugmentation(self.sentence, probability=0.0 if off else self.probability, **settings)

    def build(self) -> list[Any]:
        return [self.make()]

    def learnt(self, added: list[Any]) -> dict[str, Tensor]:
        return {k: v.detach().clone() for k, v in added[0].symmetries[0].state_dict().items()}

    def batches(self, added: list[Any]) -> int:
        return added[0].step

    def check(self, kind: type[Plain], fit: Fit, tolerance: float, module: str | None = None) -> Run:
        added, host = [self.make(module=module)], kind()
        trainer = fit(host, added)
        hand = Hand(self.sentence, self.strength, self.probability)
        written = write_out(kind, hand)
        fit(written, [])
        assert close(weights(written), weights(host), tolerance)
        assert added[0].step == hand.step > 0
        if self.learnable:
            assert hand.steps == own_steps(added[0]) > 0
            assert close(dict(hand.symmetry.state_dict()), self.learnt(added), tolerance)
            start = Hand(self.sentence, 0, 0).symmetry.bind(torch.zeros(2, 2), torch.zeros(2, 2))
            assert not torch.allclose(start.group.weight, added[0].symmetries[0].group.weight.float(), atol=1e-4)
        check_off(kind, fit, host, self.make(off=True, module=module))
        return trainer, host, added

    @property
    def learnable(self) -> bool:
        return self.sentence == SENTENCE


class Regularizing(Column):
    """An `EquivarianceRegularizer` with two candidates that take turns.

    The law of a cell: the module's weights and the balancer's multipliers are those of a module whose author wrote the
    penalties and the dual ascent into it; switched off, everything is bit for bit that of a run without it; nothing is
    left on the module.
    """

    key, title, metric = "regularize", "`EquivarianceRegularizer`", "symmetry/so_2_on_vector_to_vector/strength"

    def build(self) -> list[Any]:
        return [self.make()]

    def make(self, off: bool = False, **settings: Any) -> EquivarianceRegularizer:
        ascent = Dual(TOLERATED, rate=RATE, resilient=False, warmup=0, smoothing=0.0, relative=False)
        return EquivarianceRegularizer(CANDIDATES, losses=[Gap()], balance=0.0 if off else ascent, **settings)

    def learnt(self, added: list[Any]) -> dict[str, Tensor]:
        # NaN is what was not measured yet
        return {k: v.nan_to_num(-1.0) for k, v in added[0].balance.state_dict().items()}

    def batches(self, added: list[Any]) -> int:
        return added[0].step

    def check(self, kind: type[Plain], fit: Fit, tolerance: float, module: str | None = None) -> Run:
        added, host, hand = [self.make(module=module)], kind(), Balanced()
        trainer, written = fit(host, added), write_out(kind, hand)
        fit(written, [])
        assert close(weights(written), weights(host), tolerance)
        assert added[0].step == hand.step > 0
        learnt, found = self.learnt(added), {"dual": hand.multipliers, "slack": hand.slacks}
        assert close({k: torch.tensor(v).double() for k, v in found.items()}, {k: learnt[k] for k in found}, tolerance)
        assert min(hand.multipliers) != max(hand.multipliers) and len(added[0].levels) == 2
        check_off(kind, fit, host, self.make(off=True, module=module))
        return trainer, host, added


class Extracting(Column):
    """A `GeneratorExtraction`: the run is bit for bit that without it, and the network that it leaves was read."""

    key, title, sentence = "extract", "`GeneratorExtraction`", "SO(2) on vector -> vector"
    metric = "symmetry/so_2_on_vector_to_vector/defect_0"

    def build(self) -> list[Any]:
        return [self.make()]

    def make(self, **settings: Any) -> GeneratorExtraction:
        return GeneratorExtraction(self.sentence, when="validation", **settings)

    def evaluate(self) -> Any:
        return make_loader(2, seed=5)

    def check(self, kind: type[Plain], fit: Fit, tolerance: float, module: str | None = None) -> Run:
        runs, added = [], [self.make(module=module)]
        for callbacks in ([], added):
            torch.manual_seed(5)
            host = kind()
            trainer = fit(host, callbacks)
            logged = {k: float(v) for k, v in trainer.callback_metrics.items() if not k.startswith("symmetry/")}
            runs.append((weights(host), repr(logged), traces(host), torch.get_rng_state().tolist()))
        assert same(runs[0][0], runs[1][0]) and runs[0][1:] == runs[1][1:]
        (found,) = added[0].discoveries
        # a handful of samples is refused
        assert found.spectrum.samples > 0 and bool(found.spectrum.refused) == (found.spectrum.samples < 8)
        if not found.spectrum.refused:
            assert float(trainer.callback_metrics[self.metric]) == pytest.approx(found.spectrum.directions[0].defect)
        return trainer, host, added


class Expecting(Column):
    """An `Expect`: the run is that without it, the value is the one that was logged, and a false claim ends the run."""

    key, title, metric = "expect", "`Expect`", "loss"

    def build(self) -> list[Any]:
        return [Expect("loss", at_least=0.0)]

    def learnt(self, added: list[Any]) -> dict[str, Tensor]:
        return {"measured": torch.tensor(added[0].measured)}

    def check(self, kind: type[Plain], fit: Fit, tolerance: float, module: str | None = None) -> Run:
        plain, host, added = kind(), kind(), self.build()
        before, trainer = fit(plain, []), fit(host, added)
        assert same(weights(plain), weights(host)) and traces(plain) == traces(host)
        assert added[0].holds and math.isfinite(added[0].measured)
        assert added[0].measured == float(trainer.callback_metrics["loss"]) == float(before.callback_metrics["loss"])
        with pytest.raises(ClaimFailed, match="loss = "):
            fit(kind(), [Expect("loss", at_most=-1.0)])
        return trainer, host, added


class Stating(SymmetryMixin):
    """States a known group, and adds its loss wherever the host measures its own."""

    strength = 1.0

    def symmetries(self) -> str:
        return "SO(2) on vector -> vector"

    def symmetry_losses(self) -> list[Gap]:
        return [Gap()]

    def symmetry_balance(self) -> float:
        return self.strength

    def answer(self, x: Tensor) -> Tensor:
        y = super().answer(x)
        self.penalty = self.symmetry_loss(self.net, x, y) + getattr(self, "penalty", 0.0)
        return y

    def measure(self, batch: Any) -> Tensor:
        self.penalty = 0.0
        loss = super().measure(batch)
        penalty, self.penalty = self.penalty, 0.0
        return loss + penalty


class StatingPlain(Stating, Plain):
    """Has a name of its own, by which spawned processes find it."""


class Mixing(Column):
    """A module that adds the loss of a known group by `SymmetryMixin`; what it equals is the loss written out."""

    key, title, metric, sentence = "mixin", "`SymmetryMixin`", "loss", "SO(2) on vector -> vector"

    def host(self, kind: type[Any], *args: Any, strength: float = 1.0, **settings: Any) -> Any:
        named = kind is Plain and strength == 1
        made = StatingPlain if named else type(kind.__name__, (Stating, kind), {"strength": strength})
        return made(*args, **settings)

    def check(self, kind: type[Plain], fit: Fit, tolerance: float, module: str | None = None) -> Run:
        host, hand = self.host(kind), Hand(self.sentence, 1.0, 0.0)
        trainer = fit(host, [])
        written = write_out(kind, hand)
        fit(written, [])
        assert close(weights(written.net), weights(host.net), tolerance) and hand.step > 0
        runs, left = [], []
        for off in (kind, partial(self.host, kind, strength=0.0)):
            torch.manual_seed(5)
            other = off()
            metrics = fit(other, []).callback_metrics
            logged = {k: float(v) for k, v in metrics.items()}
            runs.append((weights(other.net), repr(logged), torch.get_rng_state().tolist()))
            left.append(set(vars(other)))
        assert same(runs[0][0], runs[1][0]) and runs[0][1:] == runs[1][1:]
        trained = any(optimizer.param_groups for optimizer in trainer.optimizers)
        assert same(runs[0][0], weights(host.net)) != trained
        assert left[0] == left[1] - {"penalty", "strength"} == vars(host).keys() - {"penalty", "strength"}
        return trainer, host, []


COLUMNS: list[Column] = [
    Augmenting("learn", "learns a group", SENTENCE, 1.0, 0.0),
    Augmenting("move", "moves the task", SENTENCE, 0.0, 0.5),
    Augmenting("known", "known group", "SO(2) on vector -> vector", 1.0, 0.5),
    Regularizing(),
    Mixing(),
    Extracting(),
    Expecting(),
]


def compare(
    column: Column,
    kind: type[Plain] = Plain,
    *,
    data: Callable[[], Any] = make_loader,
    val: Callable[[], Any] = lambda: None,
    extra: Callable[[], list[Any]] = list,
    order: int = 1,
    tolerance: float = 1e-6,
    module: str | None = None,
    **settings: Any,
) -> Run:
    """Hold the law of a column under settings of the trainer.

    Args:
        column: Whose law.
        kind: Of host.
        data: Makes the training loader.
        val: Makes the validation loaders.
        extra: Makes further callbacks.
        order: 1 to list them before ours, -1 after.
        tolerance: Of the comparison with the module that has the symmetry written out.
        module: The network's name, where it has to be given.
        settings: Of the trainer; functions are called, for settings that must not be shared.
    """

    def fit(host: Any, added: Sequence[Any]) -> Any:
        made = {k: v() if callable(v) else v for k, v in settings.items()}
        trainer = make_trainer(*[*extra(), *added] if order == 1 else [*added, *extra()], **made)
        trainer.fit(host, data(), val())
        return trainer

    return column.check(kind, fit, tolerance, module)
