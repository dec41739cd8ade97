"""The tap: sees the network's forward inside ``training_step`` without editing the module.

``training_step`` is wrapped on the instance, once for all taps of a module. For the duration of a step the ``forward``
of the submodules is replaced on the instance as well, and put back afterwards. Which submodule is "the network" is
learnt in the first step: the outermost call that consumes something derived from the batch.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from lightning_symmetry.callbacks.site import ABSENT, Site, is_quiet, patched_forward
from lightning_symmetry.callbacks.stopwatch import Stopwatch
from lightning_symmetry.exceptions import TargetError
from lightning_symmetry.paths import find_leaves

# what stood in vars(host) before, and who listens, by our wrapper; not on the wrapper, whose attributes others copy
_wrapped: WeakKeyDictionary[Callable[..., Any], tuple[Any, list[Tap]]] = WeakKeyDictionary()


class Listener(Protocol):
    """What a tap reports to."""

    @property
    def needs_output(self) -> bool:
        """Whether it looks at f(x), so that one call must be *the* network."""

    def is_listening(self) -> bool:
        """Whether it takes part in the current step."""

    def on_call(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer the network's call."""

    def on_step_begin(self) -> None:
        """Called before the module's own step."""

    def on_repeat(self) -> None:
        """Called when the network is about to be called on the same tensors again, as by a closure."""

    def on_step_output(self, output: Any) -> None:
        """Called with what the step returned, before any listener adds to it."""

    def on_step_end(self, output: Any) -> Any:
        """Called with what the step and the listeners before return; returns what it should return."""


class Tap:
    """Watches one LightningModule for one listener.

    Args:
        listener: Who is told.
        module: Dotted name of the network, "." for the LightningModule itself, None to find it.
        step: "training", whose calls without gradients are not the network's, or "evaluation", where none has any.

    Attributes:
        beside: What else watches every step: entered with the module and the batch.
    """

    def __init__(self, listener: Listener, module: str | None, step: str = "training") -> None:
        self.listener = listener
        self.wanted = module
        self.step = step
        self.found: str | None = None
        self.stopwatch = Stopwatch()
        self.beside: Callable[[nn.Module, Any], AbstractContextManager[None]] | None = None
        self.was_called = self._watched = False
        self._host: nn.Module | None = None
        self._step: Callable[..., Any] | None = None
        self._depth = 0
        self._taint: _Taint | None = None
        self._seen: list[str] = []
        self._inputs: list[Tensor] = []

    def install(self, host: Any) -> None:
        """Wrap the host's ``training_step``; installing twice is the same as once."""
        if self._host is host:
            return
        self.remove()
        step = vars(host).get("training_step")
        if step not in _wrapped:
            step = _wrap_step(host)
        _wrapped[step][1].append(self)
        self._host, self._step, self.found = host, step, None
        self.was_called = self._watched = False

    def attend(self, host: nn.Module) -> None:
        """Belong to a host without wrapping anything: whoever runs its steps calls `watching` around them."""
        if self._host is not host:
            self._host, self.found = host, None
            self.was_called = self._watched = False

    def remove(self) -> None:
        """Take this tap away, and the wrapper with the last one; harmless when not installed."""
        host, step = self._host, self._step
        self._host = self._step = None
        if host is None or step is None:
            return
        previous, taps = _wrapped[step]
        taps[:] = [tap for tap in taps if tap is not self]
        # somebody may have wrapped the step again: theirs is not ours to take away, and without taps ours is idle
        if taps or vars(host).get("training_step") is not step:
            return
        if previous is ABSENT:
            del host.__dict__["training_step"]
        else:
            host.__dict__["training_step"] = previous

    @property
    def target(self) -> nn.Module | None:
        """The network, once it is known."""
        if self.found is None or self._host is None:
            return None
        return self._host if self.found == "." else self._host.get_submodule(self.found)

    @contextmanager
    def watching(self, batch: Any) -> Iterator[None]:
        """Patch the forwards for one step and put the old ones back."""
        self._depth, self._seen, self._watched = 0, [], True
        with ExitStack() as stack:
            if self.beside is not None and self._host is not None:
                stack.enter_context(self.beside(self._host, batch))
            for name, module in self._modules_to_watch():
                stack.enter_context(self._patched(name, module))
            if self.wanted is None and self.found is None:
                self._taint = _Taint(batch)
                stack.enter_context(self._taint)
            stack.callback(setattr, self, "_taint", None)
            stack.callback(setattr, self, "_inputs", [])
            yield
        if self.found is None and self._seen:
            self.found = self._seen[0]

    def _modules_to_watch(self) -> list[tuple[str, nn.Module]]:
        host = self._host
        if host is None:
            return []
        if self.wanted is not None and self.found is None:
            names = {name or ".": module for name, module in host.named_modules()}
            if self.wanted not in names:
                near = difflib.get_close_matches(self.wanted, names, 3) or list(names)[:8]
                raise TargetError(
                    got=f"module={self.wanted!r}, which {type(host).__name__} does not have",
                    expected=f"the dotted name of a submodule, such as {', '.join(near)}",
                    remedy='Correct the name; "." means the LightningModule itself.',
                )
            return [(self.wanted, names[self.wanted])]
        if self.found is not None:
            target = self.target
            return [(self.found, target)] if target is not None else []
        return [(name or ".", module) for name, module in host.named_modules()]

    def _patched(self, name: str, module: nn.Module) -> AbstractContextManager[None]:
        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            site = Site(name, module, self.stopwatch.time_host(original))
            # a compiler must not look into the callback; what lies inside an answered call it may compile as ever
            answer = torch.compiler.disable(functools.partial(self._on_forward, site))

            def forward(*args: Any, **kwargs: Any) -> Any:
                return original(*args, **kwargs) if self._depth else answer(args, kwargs)

            return forward

        return patched_forward(module, wrap)

    def _on_forward(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        ungraded = self.step == "training" and not torch.is_grad_enabled()
        if is_quiet() or ungraded or not self._is_network(site, args, kwargs):
            return site.forward(*args, **kwargs)
        self._depth += 1
        try:
            inputs = list(find_leaves([args, kwargs]).values())
            if self._is_repeated(site, inputs):
                self.listener.on_repeat()
            elif self.wanted is None and self._seen:
                return self._pass_second(site, args, kwargs)
            self._seen.append(site.name)
            self._inputs = inputs
            self.was_called = True
            return self.stopwatch.time_call(lambda: self.listener.on_call(site, args, kwargs))
        finally:
            self._depth -= 1

    def _is_network(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        if self._taint is None:
            return True
        if isinstance(site.module, nn.modules.loss._Loss) or hasattr(site.module, "full_state_update"):
            return False
        has_parameters = next(site.module.parameters(), None) is not None
        return has_parameters and self._taint.touches([args, kwargs])

    def _is_repeated(self, site: Site, inputs: list[Tensor]) -> bool:
        """A closure that is evaluated again calls the same network on the same tensors."""
        same = len(inputs) == len(self._inputs) and all(a is b for a, b in zip(inputs, self._inputs, strict=True))
        return same and bool(inputs) and site.name == self._seen[0]

    def _pass_second(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        y = site.forward(*args, **kwargs)
        answers = [leaf for leaf in find_leaves(y).values() if leaf.ndim]
        if answers and self.listener.needs_output:
            candidates = " or ".join(f"module={name!r}" for name in dict.fromkeys([*self._seen, site.name]))
            raise TargetError(
                got=f"two calls of networks in one {self.step} step: {self._seen[0]!r}, then {site.name!r}",
                expected="one call, so that it is clear what f(x) is",
                remedy=f"Name it: {candidates} (every call of a named module counts).",
            )
        return y

    @property
    def _condition(self) -> str:
        return " with gradients enabled" if self.step == "training" else ""

    def demand_found(self) -> None:
        """Refuse to go on when no network was found.

        Raises:
            TargetError: The steps called no submodule on their batch; what the module has is listed.
        """
        if self._watched and self.found is None and self.wanted is None and self._host is not None:
            names = [name for name, _ in self._host.named_children()]
            step, kind = "a training" if self.step == "training" else "an evaluation", type(self._host).__name__
            raise TargetError(
                got=f"{step} step of {kind} that called no submodule on data from the batch",
                expected=f"one call such as self(x) or self.net(x){self._condition}",
                remedy=f"Name the network with module=, for example one of {names}.",
            )

    def demand_called(self) -> None:
        """Refuse to go on when a named network was never called.

        Raises:
            TargetError: It was not; what the module has is listed.
        """
        if self._watched and not self.was_called and self._host is not None:
            raise TargetError(
                got=f"module={self.wanted!r}, which no {self.step} step called{self._condition}",
                expected=f"a network that the {self.step} step calls",
                remedy=f"Name one of {[name for name, _ in self._host.named_children()]}, or leave module= out.",
            )


def _wrap_step(host: Any) -> Any:
    original = host.training_step
    installed: list[Tap] = []

    def training_step(*args: Any, **kwargs: Any) -> Any:
        taps = [tap for tap in installed if tap.listener.is_listening()]
        if not taps:
            return original(*args, **kwargs)
        batch = args[0] if args else next(iter(kwargs.values()), None)
        with ExitStack() as stack:
            for tap in taps:
                tap.listener.on_step_begin()
                stack.enter_context(tap.watching(batch))
            output = original(*args, **kwargs)
        for tap in taps:
            tap.demand_found()
            tap.listener.on_step_output(output)
        for tap in taps:
            output = tap.listener.on_step_end(output)
        return output

    # Lightning unwraps once before it reads the signature, so the innermost function must be given
    training_step.__wrapped__ = inspect.unwrap(original)  # type: ignore[attr-defined]
    _wrapped[training_step] = (vars(host).get("training_step", ABSENT), installed)
    host.__dict__["training_step"] = training_step
    return training_step


class _Taint(TorchFunctionMode):
    """Marks everything computed from the batch's tensors."""

    def __init__(self, batch: Any) -> None:
        super().__init__()
        self._marked = WeakIdKeyDictionary()
        for leaf in find_leaves(batch).values():
            self._marked[leaf] = True

    # a compiler that traced this would hand numbers of the trace to the host, for example to its log
    @torch.compiler.disable
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if self.touches([args, kwargs or {}]):
            for leaf in find_leaves(out).values():
                self._marked[leaf] = True
        return out

    def touches(self, tree: Any) -> bool:
        """Whether any tensor in a structure comes from the batch."""
        return any(isinstance(leaf, Tensor) and leaf in self._marked for leaf in find_leaves(tree).values())
