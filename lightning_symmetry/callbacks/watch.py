"""The watch: sees the network's forward inside evaluation steps, and lends the network out between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lightning_symmetry.callbacks.second_pass import RandomState, make_second_pass
from lightning_symmetry.callbacks.site import Site
from lightning_symmetry.callbacks.tap import Tap
from lightning_symmetry.functional.precision import full_precision
from lightning_symmetry.paths import find_leaves, replace_leaves


class NetworkWatch:
    """Finds the network in ``validation_step`` or ``test_step`` and keeps what it is called with.

    As in training the network is the outermost call that consumes something derived from the batch; gradients are not
    asked for, and inference mode is allowed. Between `start` and `stop`, which a callback calls at the beginning and at
    the end of a batch, the forwards of the submodules are replaced on the instances; after that all is as before.

    Args:
        module: Dotted name of the network, "." for the LightningModule itself, None to find it.

    Attributes:
        site: The network, once it is known.
        calls: Input structures of the present batch, copied outside inference mode; the arguments by their names.
    """

    needs_output = True

    def __init__(self, module: str | None) -> None:
        self.site: Site | None = None
        self.calls: list[dict[str, Any]] = []
        self._tap = Tap(self, module, step="evaluation")
        self._stack = ExitStack()
        self._repeated = False

    def start(self, trainer: Any, pl_module: Any, batch: Any) -> None:
        """Watch until `stop`.

        Args:
            trainer: Not looked at.
            pl_module: The host; another one than before is searched anew.
            batch: Of the step that begins.

        Raises:
            TargetError: The host has no submodule of the name that was given.
        """
        self.stop()
        self._tap.attend(pl_module)
        self.calls, self._repeated = [], False
        self._stack.enter_context(self._tap.watching(batch))

    def stop(self) -> None:
        """Put everything back; harmless when nothing is watched."""
        self._stack.close()
        target = self._tap.target
        # the forward that other watches leave in place, not theirs around it
        self.site = None if target is None else Site(self._tap.found or ".", target, target.forward)

    def demand_found(self) -> None:
        """Refuse to go on without a network.

        Raises:
            TargetError: No step called one; what the module has is listed.
        """
        self._tap.demand_found()
        self._tap.demand_called()

    # ---------------------------------------------------------------- the tap's listener

    def is_listening(self) -> bool:
        """Whoever starts a watch wants it."""
        return True

    def on_step_begin(self) -> None:
        """Nothing is counted."""

    def on_step_output(self, output: Any) -> None:
        """Nothing is read from it."""

    def on_step_end(self, output: Any) -> Any:
        """Pass on what a step gave."""
        return output

    def on_repeat(self) -> None:
        """The same tensors are kept once."""
        self._repeated = True

    def on_call(self, site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Keep the input and let the network answer."""
        if not self._repeated:
            self.calls.append(copy_input(site, args, kwargs))
        self._repeated = False
        return site.forward(*args, **kwargs)


def copy_input(site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Copy what a network is called with, outside inference mode and in a type that it understands without autocast.

    Args:
        site: The network.
        args: Of the call.
        kwargs: Of the call.

    Returns:
        The arguments by their names.
    """
    x = site.unpack(args, kwargs)
    with torch.inference_mode(False), torch.no_grad():
        return replace_leaves(x, {path: _copy(leaf) for path, leaf in find_leaves(x).items()})


def _copy(leaf: Tensor) -> Tensor:
    # under autocast the network may be given halves that its own parameters do not understand without it
    halved = leaf.dtype in (torch.float16, torch.bfloat16) and torch.is_autocast_enabled(leaf.device.type)
    return leaf.float() if halved else leaf.clone()


@contextmanager
def evaluating(site: Site) -> Iterator[Callable[[Any], Any]]:
    """Lend the network out as a map from input structures, for the body of a ``with``.

    It is in evaluation mode, in full precision, outside inference mode and without gradients unless they are enabled
    inside; noise is the same in every call. Modes, buffers, attributes and random states are put back.

    Args:
        site: The network; its arguments by their names are the input.

    Yields:
        f: Input structure to output structure.
    """
    modes = [(module, module.training) for module in site.module.modules()]
    device = _device(site.module)
    fused = torch.backends.mha.get_fastpath_enabled()
    site.module.eval()
    # fused layers have no forward derivative
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode(False), torch.no_grad(), full_precision(device):
            yield make_second_pass(site, RandomState(device))
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for module, training in modes:
            module.training = training


def _device(module: nn.Module) -> torch.device:
    tensor = next(module.parameters(), None)
    return torch.device("cpu") if tensor is None else tensor.device
