"""Where the tensors of a training step come from: which functions made them of the answer, the batch and the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from lightning_symmetry.paths import find_leaves, get_leaf

LONGEST = 16
"""Functions on the way from a root to a tensor that are remembered; farther away nobody knows any more."""
_SHAPING = ("view", "reshape", "expand")
_PLAIN = (type(None), bool, int, float, str)


class Unrepeatable(Exception):
    """A tensor whose making cannot be repeated."""


@dataclass(frozen=True, eq=False)
class Source:
    """Where one tensor comes from.

    Args:
        tree: "answer", "batch" or "host", of which it is a leaf.
        path: Of that leaf, or in what the function gave.
        made: The function that gave it; without tree or function nobody knows.
        reads: The trees that it depends on, and "nowhere" for what nobody knows.
        size: Functions on the way.
        passed: Which of the calls that are watched for it depends on.
    """

    tree: str = ""
    path: str = ""
    made: Made | None = None
    reads: frozenset[str] = frozenset({"nowhere"})
    size: int = 0
    passed: frozenset[int] = frozenset()

    def evaluate(self, trees: Mapping[str, Any], rows: int, memo: dict[int, Any]) -> Tensor:
        """Make it again.

        Args:
            trees: What to take in place of the trees that were seen.
            rows: Samples in them.
            memo: What functions have given already.

        Raises:
            Unrepeatable: Nobody knows how.
        """
        if self.made is not None:
            if id(self.made) not in memo:
                memo[id(self.made)] = self.made.repeat(trees, rows, memo)
            return get_leaf(memo[id(self.made)], self.path)
        if self.tree not in trees:
            raise Unrepeatable
        if self.tree == "host":
            return attrgetter(self.path)(trees["host"])
        return get_leaf(trees[self.tree], self.path)


@dataclass(frozen=True, eq=False)
class Made:
    """One call of a function.

    Args:
        function: What was called.
        args: Its arguments, with sources in place of tensors that have one.
        kwargs: Likewise.
        rows: Samples there were.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    rows: int

    def repeat(self, trees: Mapping[str, Any], rows: int, memo: dict[int, Any]) -> Any:
        """Call it again."""

        def fill(node: Any) -> Any:
            return node.evaluate(trees, rows, memo) if isinstance(node, Source) else node

        args, kwargs = replace_nodes(fill, self.args), replace_nodes(fill, self.kwargs)
        # another batch may be smaller, as the last one is
        if rows != self.rows and name_of(self.function) in _SHAPING and len(args) > 1:
            sizes = args[1] if isinstance(args[1], (tuple, list)) else args[1:]
            args = (args[0], (rows if sizes[0] == self.rows else sizes[0], *sizes[1:]))
        return self.function(*args, **kwargs)


@dataclass(frozen=True, eq=False)
class Seen:
    """One call that was watched for: its arguments, where these come from, and what it gave."""

    mark: int
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    sources: tuple[tuple[Any, ...], dict[str, Any]]
    out: Any


class Trace(TorchFunctionMode):
    """Remembers how the tensors of one step are made.

    Args:
        host: The module, whose parameters and buffers are known by their names.
        batch: The step's batch.
        watched: Functions whose calls are kept.

    Attributes:
        calls: Of those functions, since the answer was noted.
        differentiated: What ``backward`` was called on.
        rows: Samples in the answer.
    """

    def __init__(self, host: nn.Module, batch: Any, watched: Sequence[Callable[..., Any]]) -> None:
        super().__init__()
        self.calls: list[Seen] = []
        self.differentiated: list[Tensor] = []
        self.rows = 0
        self._watched, self._marks, self._paused = list(watched), 0, False
        self._sources = WeakIdKeyDictionary()
        self._note("host", dict(host.named_parameters()) | dict(host.named_buffers()))
        self._note("batch", batch)

    def note_answer(self, answer: Any, rows: int) -> None:
        """Say what the network answered, to how many samples; a closure that runs again begins anew."""
        self.calls, self.rows = [], rows
        self._note("answer", answer)

    def _note(self, tree: str, structure: Any) -> None:
        for path, leaf in find_leaves(structure).items():
            self._sources[leaf] = Source(tree, path, reads=frozenset({tree}))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Look away for a while."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def find(self, tensor: Any) -> Source | None:
        """Tell where a tensor comes from; None for a constant."""
        return self._sources.get(tensor) if isinstance(tensor, Tensor) else None

    def run(self, function: Callable[..., Any], args: Any, kwargs: Any, call: Callable[..., Any]) -> Any:
        """Call something that is no function of torch, and keep that as if it had been watched for.

        Args:
            function: What is kept.
            args: Its arguments.
            kwargs: Likewise.
            call: What is called in its place.
        """
        with self.paused():
            return self._remember(function, args, kwargs, call, watched=True)

    # a compiler that traced this would hand numbers of the trace to the host
    @torch.compiler.disable
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._paused:
            return func(*args, **(kwargs or {}))
        if func is Tensor.backward:
            self.differentiated.append(args[0])
        return self._remember(func, args, kwargs or {}, func, any(func is one for one in self._watched))

    def _remember(self, function: Any, args: Any, kwargs: Any, call: Any, watched: bool) -> Any:
        inputs = list(find_leaves([args, kwargs]).values())
        used = {id(source): source for leaf in inputs if (source := self.find(leaf)) is not None}.values()
        described = replace_nodes(lambda node: self.find(node) or node, (args, kwargs))
        out = call(*args, **kwargs)
        if not used:
            return out
        passed = frozenset[int]().union(*(source.passed for source in used))
        if watched:
            self.calls.append(Seen(self._marks, function, args, kwargs, described, out))
            passed |= {self._marks}
            self._marks += 1
        reads = frozenset[str]().union(*(source.reads for source in used))
        size = 1 + sum(source.size for source in used)
        lost = Source(reads=reads | {"nowhere"}, passed=passed)
        given = list(find_leaves(out).items())
        if _writes(function, kwargs):
            # what has been written over is no longer what it was made as
            for leaf in [*inputs[:1], *(leaf for _, leaf in given)]:
                self._sources[leaf] = lost
            return out
        made = Made(function, described[0], described[1], self.rows)
        for path, leaf in given:
            if not any(leaf is one for one in inputs):
                fits = size <= LONGEST and "nowhere" not in reads
                self._sources[leaf] = Source("", path, made, reads, size, passed) if fits else lost
        return out


def name_of(function: Any) -> str:
    """Name a function or a module as people write it."""
    return str(getattr(function, "__name__", type(function).__name__))


def _writes(function: Any, kwargs: Any) -> bool:
    """Whether a function writes over its first argument."""
    name = name_of(function)
    assigns = name == "__setitem__" or name.startswith("__i") and name not in ("__invert__", "__index__", "__int__")
    inplace = name.endswith("_") and not name.endswith("__")
    return assigns or inplace or kwargs.get("out") is not None or bool(kwargs.get("inplace"))


def replace_nodes(change: Callable[[Any], Any], tree: Any) -> Any:
    """Replace everything in nested plain tuples, lists and dicts, without looking into anything else."""
    if type(tree) in (tuple, list):
        return type(tree)(replace_nodes(change, child) for child in tree)
    if type(tree) is dict:
        return {key: replace_nodes(change, child) for key, child in tree.items()}
    return change(tree)


def write_node(node: Any) -> Any:
    """Write arguments and sources in plain values and tensors, for a checkpoint.

    Raises:
        Unrepeatable: Something cannot be written.
    """
    if isinstance(node, _PLAIN):
        return ["plain", node]
    if isinstance(node, Tensor):
        return ["tensor", node.detach()]
    if isinstance(node, (tuple, list)):
        return ["tuple" if isinstance(node, tuple) else "list", [write_node(child) for child in node]]
    if type(node) is dict:
        return ["dict", {key: write_node(child) for key, child in node.items()}]
    if isinstance(node, slice):
        return ["slice", [write_node(child) for child in (node.start, node.stop, node.step)]]
    if isinstance(node, torch.dtype):
        return ["dtype", str(node).removeprefix("torch.")]
    if node is Ellipsis:
        return ["ellipsis", None]
    if isinstance(node, Source) and "nowhere" not in node.reads:
        made = node.made and [write_function(node.made.function), node.made.rows] + [
            write_node(part) for part in (node.made.args, node.made.kwargs)
        ]
        return ["source", [node.tree, node.path, made, sorted(node.reads), node.size]]
    raise Unrepeatable


def read_node(written: Any) -> Any:
    """Read what `write_node` wrote."""
    kind, value = written
    if kind in ("tuple", "list"):
        return (tuple if kind == "tuple" else list)(read_node(child) for child in value)
    if kind == "dict":
        return {key: read_node(child) for key, child in value.items()}
    if kind == "slice":
        return slice(*(read_node(child) for child in value))
    if kind == "dtype":
        return getattr(torch, value)
    if kind == "source":
        tree, path, made, reads, size = value
        if made is not None:
            function, rows, args, kwargs = made
            made = Made(read_function(function), read_node(args), read_node(kwargs), rows)
        return Source(tree, path, made, frozenset(reads), size)
    return ... if kind == "ellipsis" else value


def write_function(function: Any) -> str:
    """Name a function of torch so that `read_function` finds it.

    Raises:
        Unrepeatable: It has no such name.
    """
    name = torch.overrides.resolve_name(function)
    if name is not None:
        try:
            if read_function(name) == function:
                return str(name)
        except AttributeError:
            pass
    raise Unrepeatable


def read_function(name: str) -> Callable[..., Any]:
    """Find a function of torch by its name."""
    return attrgetter(name.removeprefix("torch."))(torch)
