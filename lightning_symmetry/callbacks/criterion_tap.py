"""The tap of the criterion: learns in the first steps how the host compares answers with targets."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_symmetry.callbacks.criterion import KNOWN, NEGATIVE, Criterion, by_hand, itself
from lightning_symmetry.callbacks.criterion_checks import agree, demand_separate
from lightning_symmetry.callbacks.provenance import (
    Seen,
    Source,
    Trace,
    Unrepeatable,
    name_of,
    read_function,
    read_node,
    replace_nodes,
    write_function,
    write_node,
)
from lightning_symmetry.callbacks.second_pass import RandomState
from lightning_symmetry.callbacks.site import patched_forward
from lightning_symmetry.exceptions import InvalidSetting, TargetError
from lightning_symmetry.paths import find_leaves
from lightning_symmetry.rows import Rows

_STEPS = 2
"""Steps that are watched: one to learn from, one to compare with."""


class CriterionTap:
    """Watches a host's steps until it is known how they compare the network's answers with targets.

    Args:
        wanted: Dotted name of a submodule of the host, or ``package.module.function``, called as
            ``function(prediction, target)``; None to find it among `KNOWN`.

    Attributes:
        criterion: What was found; None before. Where the batch does not tell the targets it is of the last step.
        knows_target: Whether the batch tells the targets.
        batch: Of the step that runs.
        answer: What the network answered in it, to how many samples, with which rows.
    """

    def __init__(self, wanted: str | None) -> None:
        self.wanted = wanted
        self.criterion: Criterion | None = None
        self.knows_target = True
        self.batch: Any = None
        self._watched = 0
        self._trace: Trace | None = None
        self.answer: tuple[Any, int, Rows] | None = None
        self._host: Any = None
        self._saved: dict[str, Any] | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it is known how answers are compared, and whether the batch tells the targets."""
        return self._watched >= _STEPS

    @contextmanager
    def watching(self, host: nn.Module, batch: Any) -> Iterator[None]:
        """Watch one step where there is something left to learn."""
        self.batch, self._host, self.answer = batch, host, None
        self._restore()
        if self.is_settled and self.knows_target:
            yield
            return
        with ExitStack() as stack:
            part = self._find()
            watched = [*KNOWN, *NEGATIVE] if part is None else [] if isinstance(part, nn.Module) else [part]
            self._trace = stack.enter_context(Trace(host, batch, watched))
            if isinstance(part, nn.Module):
                stack.enter_context(patched_forward(part, lambda forward: self._keep(part, forward)))
            elif part is not None and not _is_of_torch(part):
                stack.enter_context(_replaced(part, self._keep(part, part), host))
            yield

    def paused(self) -> Any:
        """Look away for a while."""
        return self._trace.paused() if self._trace is not None else nullcontext()

    def note_answer(self, answer: Any, samples: int, rows: Rows) -> None:
        """Say what the network answered.

        Args:
            answer: As the host gets it.
            samples: How many there are.
            rows: Which of them every row belongs to.
        """
        self.answer = answer, samples, rows
        if self._trace is not None:
            self._trace.note_answer(answer, samples)

    def learn(self, output: Any) -> None:
        """Learn from the step that was watched.

        Args:
            output: What it returned.

        Raises:
            TargetError: No criterion was called on the answer, or more than one.
            InvalidSetting: The losses of single samples cannot be told.
        """
        trace, self._trace = self._trace, None
        loss = output.get("loss") if isinstance(output, Mapping) else output
        if trace is None or self.answer is None or not (isinstance(loss, Tensor) or trace.differentiated):
            return
        found, value = self._choose(trace, [*trace.differentiated, loss])
        answer, samples, rows = self.answer
        # what is drawn at random is drawn differently here, and leaves no trace
        with torch.no_grad(), RandomState(value.device).replayed():
            known = found if self.criterion is None or self.is_settled else self.criterion
            if not self.is_settled:
                self.knows_target &= self._agrees(known, found, value, answer, samples)
                now = known if self.knows_target else found.with_target()
                demand_separate(now, answer, self.batch, samples, rows)
                self._watched += 1
        self.criterion = replace(known, given=None) if self.knows_target else found.with_target()

    def release(self) -> None:
        """Let go of a step's tensors, whose graph would live on through the next forward."""
        self.batch = self.answer = None

    def forget(self) -> None:
        """Let go of the host at the end of a fit."""
        self.release()
        self._saved = self.state_dict()
        self._trace = self._host = self.criterion = None

    # ---------------------------------------------------------------- finding it

    def _keep(self, part: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            trace = self._trace
            return call(*args, **kwargs) if trace is None else trace.run(part, args, kwargs, call)

        return watched

    def _find(self) -> Any:
        """Find the submodule or the function of the wanted name, if there is one."""
        if self.wanted is None:
            return None
        modules = dict(self._host.named_modules())
        if self.wanted in modules:
            return modules[self.wanted]
        package, _, name = self.wanted.rpartition(".")
        try:
            return getattr(importlib.import_module(package), name)
        except (ImportError, AttributeError, ValueError) as error:
            names = [name for name in modules if name]
            near = difflib.get_close_matches(self.wanted, names, 3) or _find_losses(self._host) or names[:8]
            raise TargetError(
                got=f"criterion={self.wanted!r}, which is neither a submodule nor a function that can be imported",
                expected=f"a submodule such as {', '.join(near)}, or package.module.function",
                remedy="Correct the name.",
            ) from error

    def _choose(self, trace: Trace, ends: list[Any]) -> tuple[Criterion, Tensor]:
        """Choose the call on the way from the answer to the loss that is differentiated: (call, what it gave)."""
        sources = [source for end in ends if (source := trace.find(end)) is not None]
        passed = frozenset[int]().union(*(source.passed for source in sources))
        fitting = [seen for seen in trace.calls if "answer" in _reads(seen) and _has_gradient(seen.out)]
        found = [seen for seen in fitting if seen.mark in passed] if passed else fitting
        if not found and self.wanted is None:
            for end, source in zip(ends, map(trace.find, ends), strict=True):
                if (criterion := by_hand(source, self._host)) is not None:
                    return criterion, end
        if len(found) != 1:
            self._refuse(trace.calls, found)
        (seen,) = found
        name = self.wanted or name_of(seen.function)
        if seen.function in NEGATIVE:
            raise InvalidSetting(
                got=f"the criterion {name!r}, which may be negative",
                expected="losses >= 0, in proportion to which transformations are drawn",
                remedy="Name another loss with criterion=, such as the squared error.",
            )
        return Criterion.of(name, seen, self._host), seen.out

    def _refuse(self, calls: list[Seen], found: list[Seen]) -> None:
        names = [name_of(seen.function) for seen in found or calls]
        losses = _find_losses(self._host)
        example = losses[0] if losses else "torch.nn.functional.cross_entropy"
        how = f'Name it: criterion="{example}" (a submodule, or package.module.function(prediction, target)).'
        if found:
            raise TargetError(
                got=f"{len(found)} criteria in one training step, all of the network's answer: {', '.join(names)}",
                expected="one, by which the losses of single samples are told",
                remedy=how,
            )
        seen = f"; losses that were called on something else: {', '.join(names)}" if names else ""
        raise TargetError(
            got=f"a training step that calls no known loss on its network's answer{seen}",
            expected="one call such as F.cross_entropy(net(x), y), or the mean of values that are >= 0",
            remedy=how,
        )

    def _agrees(self, known: Criterion, found: Criterion, value: Tensor, answer: Any, samples: int) -> bool:
        """Whether what was learnt gives what this step compared; whether the targets do.

        Raises:
            InvalidSetting: The prediction is not made of the answer in the same way.
        """
        if found.given is None:
            return self._agrees_by_hand(known, value, answer, samples)
        if known.function is not found.function or known.kwargs.keys() != found.kwargs.keys():
            self._refuse_changing(known)
        told = True
        for key, then in _items(*found.given):
            source = dict(_items(known.args, known.kwargs)).get(key)
            try:
                now = source.evaluate(self._trees(answer), samples, {}) if isinstance(source, Source) else source
                same = agree(now, then)
            except (Unrepeatable, RuntimeError, IndexError, AttributeError):
                same = False
            if not same and isinstance(source, Source) and "answer" in source.reads:
                self._refuse_changing(known)
            told &= same
        return told

    def _agrees_by_hand(self, known: Criterion, value: Tensor, answer: Any, samples: int) -> bool:
        try:
            (inside,), _ = known.fill(answer, self.batch, samples)
        except (Unrepeatable, RuntimeError):
            self._refuse_changing(known)
        if not agree(inside.mean() if known.reduction == "mean" else inside.sum(), value):
            self._refuse_changing(known)
        return True

    def _trees(self, answer: Any) -> dict[str, Any]:
        return {"answer": answer, "batch": self.batch, "host": self._host}

    def _refuse_changing(self, known: Criterion) -> None:
        raise InvalidSetting(
            got=f"the criterion {known.name!r}, whose prediction is not made of the network's answer in one fixed way",
            expected="the answer, one of its tensors, or a few functions of it such as squeeze or log_softmax",
            remedy="Name the network nearest to the loss with module=, or another loss with criterion=; of several "
            "callbacks that move the task, list this one last.",
        )

    # ---------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """What was learnt, in plain values and tensors."""
        if self._saved is not None:
            return self._saved
        state: dict[str, Any] = {"watched": self._watched, "knows_target": self.knows_target, "criterion": None}
        if self.criterion is not None and self.knows_target:
            one = self.criterion
            try:
                function = "" if self.wanted else "by hand" if one.function is itself else write_function(one.function)
                state["criterion"] = [one.name, function, write_node(one.args), write_node(one.kwargs), one.reduction]
            except Unrepeatable:
                # learnt anew from the first steps of the run that goes on
                state["watched"] = 0
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore with the next step, when the host is known."""
        self._saved = state

    def _restore(self) -> None:
        if self._saved is None:
            return
        state, self._saved = self._saved, None
        self._watched, self.knows_target = int(state["watched"]), bool(state["knows_target"])
        self.criterion = None
        if state["criterion"] is not None:
            name, function, args, kwargs, reduction = state["criterion"]
            part = self._find() if self.wanted else itself if function == "by hand" else read_function(function)
            self.criterion = Criterion(name, part, read_node(args), read_node(kwargs), self._host, reduction)


def _items(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[Any, Any]]:
    return [*enumerate(args), *kwargs.items()]


def _reads(seen: Seen) -> set[str]:
    reads: set[str] = set()
    replace_nodes(lambda node: reads.update(node.reads) if isinstance(node, Source) else None, seen.sources)
    return reads


def _has_gradient(out: Any) -> bool:
    return any(leaf.requires_grad for leaf in find_leaves(out).values())


def _find_losses(host: nn.Module) -> list[str]:
    return [name for name, module in host.named_modules() if isinstance(module, nn.modules.loss._Loss)]


def _is_of_torch(function: Any) -> bool:
    try:
        return bool(write_function(function))
    except Unrepeatable:
        return False


@contextmanager
def _replaced(function: Any, wrapper: Any, host: nn.Module) -> Iterator[None]:
    """Replace a function wherever the host's classes, the host and the function's own module name it."""
    homes = [sys.modules.get(kind.__module__) for kind in type(host).__mro__] + [sys.modules.get(function.__module__)]
    spaces = [vars(home) for home in homes if home is not None] + [vars(host)]
    places = [(space, key) for space in spaces for key, value in space.items() if value is function]
    for space, key in places:
        space[key] = wrapper
    try:
        yield
    finally:
        for space, key in places:
            space[key] = function
