"""What submodules of the network say during a forward."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from lightning_symmetry.callbacks.site import patched_forward
from lightning_symmetry.exceptions import TargetError


@contextmanager
def recording(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Record what submodules answer within one forward of their network.

    Args:
        network: Its forward runs inside.
        names: Dotted names below it.

    Yields:
        The answers by name, filled during the forward.

    Raises:
        TargetError: There is no such submodule, or it was not called exactly once.
    """
    said: dict[str, Any] = {}
    with ExitStack() as stack:
        for name in names:

            def wrap(forward: Callable[..., Any], name: str = name) -> Callable[..., Any]:
                return functools.partial(_record, forward, said, name)

            stack.enter_context(patched_forward(_find(network, name), wrap))
        yield said
    for name in names:
        if name not in said:
            raise TargetError(
                got=f"feature={name!r}, which the network did not call",
                expected="a submodule that every forward calls",
                remedy=f"Name one of {_names(network)[:8]}.",
            )


def _record(forward: Callable[..., Any], said: dict[str, Any], name: str, *args: Any, **kwargs: Any) -> Any:
    if name in said:
        raise TargetError(
            got=f"feature={name!r}, which the network called twice in one forward",
            expected="a submodule that is called once, so that it is clear what the feature is",
            remedy="Name another one, or wrap the call that is meant in a module of its own.",
        )
    said[name] = forward(*args, **kwargs)
    return said[name]


def _find(network: nn.Module, name: str) -> nn.Module:
    try:
        return network.get_submodule(name)
    except AttributeError as error:
        names = _names(network)
        near = difflib.get_close_matches(name, names, 3) or names[:8]
        raise TargetError(
            got=f"feature={name!r}, which {type(network).__name__} does not have",
            expected=f"the dotted name of a submodule of the network, such as {', '.join(near)}",
            remedy="Correct the name; it begins below the network, not at the LightningModule.",
        ) from error


def _names(network: nn.Module) -> list[str]:
    return [name for name, _ in network.named_modules() if name]
