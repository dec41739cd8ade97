"""Where a network is called, and how its forward is replaced for a while."""

from __future__ import annotations

import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

ABSENT = object()
"""What stood in a ``vars`` that had no such key."""

_outlived: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_quiet: ContextVar[bool] = ContextVar("second pass", default=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Make every tap ignore the forwards inside, as for a second pass."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def is_quiet() -> bool:
    """Whether a second pass is under way."""
    return _quiet.get()


@dataclass(frozen=True)
class Site:
    """Where the network was called: its dotted name ("." is the LightningModule itself) and its own forward."""

    name: str
    module: nn.Module
    forward: Callable[..., Any]

    @functools.cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self.forward)

    def unpack(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Address the arguments of a call by their names."""
        return dict(self._signature.bind(*args, **kwargs).arguments)

    def pack(self, x: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Turn named arguments back into (args, kwargs)."""
        bound = inspect.BoundArguments(self._signature, OrderedDict(x))
        return bound.args, bound.kwargs


@contextmanager
def patched_forward(module: nn.Module, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """Replace a module's forward on the instance and put the old state back exactly.

    Args:
        module: Scripted modules, which have no forward of their own to replace, are left alone.
        wrap: Turns the forward in place into the new one.
    """
    if isinstance(module, torch.jit.ScriptModule):
        yield
        return
    before, original = vars(module).get("forward", ABSENT), module.forward
    patched = module.__dict__["forward"] = functools.wraps(original)(wrap(original))
    try:
        yield
    finally:
        if vars(module).get("forward") is not patched:
            # a patch on top of this one outlives it, and takes it away when it goes
            _outlived[patched] = before
        else:
            while before in _outlived:
                before = _outlived.pop(before)
            if before is ABSENT:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = before
