"""The host's criterion: how its training step compares the network's answer with targets, sample by sample."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_symmetry.callbacks.provenance import Seen, Source, name_of, replace_nodes
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.rows import Rows

KNOWN: tuple[Callable[..., Any], ...] = (
    F.cross_entropy,
    F.nll_loss,
    F.mse_loss,
    F.l1_loss,
    F.smooth_l1_loss,
    F.huber_loss,
    F.binary_cross_entropy,
    F.binary_cross_entropy_with_logits,
    F.kl_div,
    F.soft_margin_loss,
    F.multi_margin_loss,
    F.multilabel_margin_loss,
    F.multilabel_soft_margin_loss,
    F.hinge_embedding_loss,
)
"""Losses that are recognised by themselves, alone and inside ``nn.*Loss`` modules."""
NEGATIVE: tuple[Callable[..., Any], ...] = (F.gaussian_nll_loss, F.poisson_nll_loss)
"""Losses of the same kind that may be negative."""
_MEANS = ("mean", "sum")


@dataclass(frozen=True, eq=False)
class Criterion:
    """One call of a loss in the host's step, which can be repeated on other answers and without its reduction.

    Args:
        name: Of the function or of the submodule.
        function: What was called.
        args: Its arguments, with sources in place of tensors that have one.
        kwargs: Likewise.
        host: The module, of which parameters and buffers may be among the arguments.
        reduction: How the host reduces what a function without a reduction of its own gives.
        given: The arguments as they were, positional and by name; None where nobody knows any more.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    host: nn.Module
    reduction: str = "mean"
    given: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    @classmethod
    def of(cls, name: str, seen: Seen, host: nn.Module) -> Criterion:
        """Take one call as the criterion."""
        return cls(name, seen.function, *seen.sources, host, given=(seen.args, seen.kwargs))

    @property
    def place(self) -> str:
        """Where the target lies in the batch, for people."""
        words = []
        for source in self.sources:
            if "answer" not in source.reads and "batch" in source.reads:
                made = source.made and f"{name_of(source.made.function)} of the batch"
                words.append(made or (f"batch.{source.path}" if source.path else "batch"))
        return ", ".join(words)

    @property
    def sources(self) -> list[Source]:
        """Those among the arguments."""
        return [one for one in (*self.args, *self.kwargs.values()) if isinstance(one, Source)]

    def fill(self, answer: Any, batch: Any, samples: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Put tensors in the place of sources.

        Args:
            answer: The network's answer.
            batch: Holds the targets.
            samples: In both.

        Returns:
            Arguments, positional and by name.

        Raises:
            Unrepeatable: The batch does not tell the targets, or the prediction cannot be made of the answer again.
        """
        trees, memo = {"answer": answer, "batch": batch, "host": self.host}, dict[int, Any]()

        def put(node: Any) -> Any:
            return node.evaluate(trees, samples, memo) if isinstance(node, Source) else node

        return tuple(put(node) for node in self.args), {key: put(node) for key, node in self.kwargs.items()}

    def with_target(self) -> Criterion:
        """Keep the very targets of the step in which the call was seen, for batches that do not tell them."""
        if self.given is None:
            return self

        def keep(node: Any, then: Any) -> Any:
            return node if isinstance(node, Source) and "answer" in node.reads else then

        args = tuple(keep(node, then) for node, then in zip(self.args, self.given[0], strict=True))
        return replace(
            self, args=args, kwargs={key: keep(node, self.given[1][key]) for key, node in self.kwargs.items()}
        )

    def per_sample(self, answer: Any, batch: Any, samples: int, rows: Rows | None = None) -> Tensor:
        """Compare answers with targets, one loss a sample.

        Several values of one sample are averaged; they are added where the host adds them ("sum", "batchmean"). Class
        weights, label smoothing and what is to be ignored count as in the host's call. The computation is in single
        precision at least.

        Args:
            answer: The network's answer to all samples of a batch, of the structure that was seen.
            batch: Holds their targets.
            samples: Their number B.
            rows: Which sample every row belongs to, in batches of graphs.

        Returns:
            (B,).

        Raises:
            Unrepeatable: As `fill`.
            InvalidSetting: The loss has no values of single samples.
        """
        args, kwargs = replace_nodes(_lift, self.fill(answer, batch, samples))
        function, reduction = _unreduce(self.function)
        if reduction is None:
            reduction = self.reduction
        signature = inspect.signature(function)
        bound = signature.bind(*args, **kwargs)
        if "reduction" in signature.parameters:
            reduction = bound.arguments.get("reduction", signature.parameters["reduction"].default)
            bound.arguments.update(reduction="none")
            for old in ("size_average", "reduce"):
                bound.arguments.pop(old, None)
        values, adds = function(*bound.args, **bound.kwargs), reduction in ("sum", "batchmean")
        return self._pool(values, _find_ignored(function, bound), samples, rows, adds)

    def _pool(self, values: Any, ignored: Tensor | None, samples: int, rows: Rows | None, adds: bool) -> Tensor:
        if not isinstance(values, Tensor) or not values.ndim or len(values) % samples and not rows:
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise InvalidSetting(
                got=f"the criterion {self.name!r}, which gives {shape or 'one number'} for {samples} samples",
                expected="a loss with an argument or an attribute reduction, or one value a sample",
                remedy='Let it take reduction="none", or name another one with criterion=.',
            )
        if rows is not None and rows.are_ragged and len(values) != samples:
            return rows.pool(values.flatten(1).mean(1) if values.ndim > 1 else values)
        values = values.reshape(samples, -1)
        if adds:
            return values.sum(1)
        if ignored is None or ignored.numel() != values.numel():
            return values.mean(1)
        return values.sum(1) / (~ignored.reshape(samples, -1)).sum(1).clamp_min(1)


def _find_ignored(function: Any, bound: inspect.BoundArguments) -> Tensor | None:
    """Tell which values are 0 because their target says so."""
    index = getattr(getattr(function, "__self__", None), "ignore_index", None)
    if "ignore_index" in bound.signature.parameters:
        index = bound.arguments.get("ignore_index", bound.signature.parameters["ignore_index"].default)
    target = bound.arguments.get("target")
    whole = isinstance(target, Tensor) and not target.is_floating_point()
    return target == index if index is not None and whole else None


def by_hand(source: Source | None, host: nn.Module) -> Criterion | None:
    """Read a loss without a function of its own, such as ``(net(x) - y).square().mean()``.

    Args:
        source: Of the loss that is differentiated.
        host: The module.

    Returns:
        What is averaged or added; None where the last function does neither.
    """
    made = source and source.made
    if not made or name_of(made.function) not in _MEANS or len(made.args) != 1 or made.kwargs:
        return None
    (inside,) = made.args
    if not isinstance(inside, Source) or "answer" not in inside.reads:
        return None
    return Criterion(f"{name_of(made.function)} by hand", itself, (inside,), {}, host, name_of(made.function))


def itself(values: Tensor) -> Tensor:
    """Give the values that are averaged or added by hand."""
    return values


def _unreduce(function: Any) -> tuple[Callable[..., Any], str | None]:
    """Take the reduction off a module that has one; a function is left for its argument."""
    if not isinstance(function, nn.Module):
        return function, None
    reduction = getattr(function, "reduction", None)
    if not isinstance(reduction, str):
        return type(function).forward.__get__(function), None
    clone = copy.copy(function)
    clone.reduction = "none"  # type: ignore[assignment]
    return type(clone).forward.__get__(clone), reduction


def _lift(node: Any) -> Any:
    """Give half precision the range that a ratio of losses needs."""
    low = isinstance(node, Tensor) and node.is_floating_point() and node.itemsize < 4
    return node.float() if low else node
