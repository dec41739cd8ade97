"""Dotted paths into nested batches: list the tensors, read one, replace some without touching the original.

Understood are mappings, named tuples, tuples, lists, dataclasses (frozen and slotted too) and objects with keyed
attributes such as graph batches. Everything else (numbers, strings, ``None``) is left alone.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from lightning_symmetry.exceptions import AmbiguousPath


def find_leaves(tree: Any) -> dict[str, Tensor]:
    """List every tensor of a nested structure by its dotted path; a bare tensor has the empty path.

    Args:
        tree: Any nesting of containers.

    Returns:
        Path to tensor, in the order of the containers.

    Example:
        >>> import torch
        >>> list(find_leaves({"image": torch.zeros(2), "meta": [1, torch.zeros(3)]}))
        ['image', 'meta.1']
    """
    return dict(_walk(tree, ""))


def get_leaf(tree: Any, path: str) -> Any:
    """Read what lies at a path.

    Raises:
        AmbiguousPath: Nothing lies there; the paths that exist are listed.
    """
    node, rest = tree, path
    while rest:
        key, rest = _first_key(node, rest, tree)
        node = dict(_children(node))[key]
    return node


def replace_leaves(tree: Any, values: Mapping[str, Any]) -> Any:
    """Return the same structure with some leaves replaced; containers on the way are copied, never changed.

    Args:
        tree: Any nesting of containers.
        values: Path to new value.

    Returns:
        A structure of the same types.

    Example:
        >>> import torch
        >>> replace_leaves((torch.zeros(1), 5), {"0": torch.ones(1)})
        (tensor([1.]), 5)
    """
    for path, value in values.items():
        tree = _replace(tree, path, value, tree)
    return tree


def map_tensors(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """Apply a function to every tensor leaf and keep the structure."""
    return replace_leaves(tree, {path: function(leaf) for path, leaf in find_leaves(tree).items()})


def describe_leaves(tree: Any) -> str:
    """Describe the tensors of a structure in one line, for error messages.

    Example:
        >>> import torch
        >>> describe_leaves({"x": torch.zeros(4, 2)})
        'x: float32 (4, 2)'
    """
    rows = [f"{p or 'the tensor itself'}: {str(t.dtype)[6:]} {tuple(t.shape)}" for p, t in find_leaves(tree).items()]
    return "; ".join(rows) or f"no tensor at all in {type(tree).__name__}"


def _first_key(node: Any, path: str, tree: Any) -> tuple[str, str]:
    """Split a path after the child it names; a key may have dots of its own."""
    fitting = [key for key, _ in _children(node) if path == key or path.startswith(f"{key}.")]
    if not fitting:
        raise AmbiguousPath(
            got=f"the path {path!r}",
            expected=f"one of {describe_leaves(tree)}",
            remedy="Correct the path in the symmetry's input or output.",
        )
    key = max(fitting, key=len)
    return key, path[len(key) + 1 :]


def _is_keyed(node: Any) -> bool:
    return callable(getattr(node, "keys", None)) and hasattr(node, "__getitem__")


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, (Tensor, str, bytes)):
        return
    if _is_keyed(node):
        # graph batches iterate over their values
        for key in node.keys():
            yield str(key), node[key]
    elif isinstance(node, tuple) and hasattr(node, "_fields"):
        yield from zip(node._fields, node, strict=True)
    elif isinstance(node, (tuple, list)):
        yield from ((str(i), value) for i, value in enumerate(node))
    elif dataclasses.is_dataclass(node) and not isinstance(node, type):
        yield from ((f.name, getattr(node, f.name)) for f in dataclasses.fields(node) if hasattr(node, f.name))


def _walk(node: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(node, Tensor):
        yield prefix, node
    for key, child in _children(node):
        yield from _walk(child, f"{prefix}.{key}" if prefix else key)


def _replace(node: Any, path: str, value: Any, tree: Any) -> Any:
    if not path:
        return value
    key, rest = _first_key(node, path, tree)
    child = _replace(dict(_children(node))[key], rest, value, tree)
    if isinstance(node, tuple):
        if hasattr(node, "_replace"):
            return node._replace(**{key: child})
        return tuple(child if str(i) == key else old for i, old in enumerate(node))
    clone = copy.copy(node)
    if isinstance(node, list):
        clone[int(key)] = child
    elif isinstance(node, Mapping):
        clone[next(k for k in node if str(k) == key)] = child
    else:
        # frozen and slotted dataclasses refuse plain assignment; a fresh copy may still be completed
        object.__setattr__(clone, key, child) if dataclasses.is_dataclass(clone) else setattr(clone, key, child)
    return clone
