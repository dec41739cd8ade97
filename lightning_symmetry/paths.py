"""Dotted paths into nested batches: list the tensors, read one, replace some without touching the original.

Understood are mappings, named tuples, tuples, lists, dataclasses (frozen and slotted too) and objects with keyed
attributes such as graph batches; the parts of a heterogeneous graph go by their type, an edge's three names joined by
``__``. Everything else (numbers, strings, ``None``) is left alone.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
from collections.abc import Iterator, Mapping
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
        key, rest = _first_key(node, rest, path, tree)
        node = dict(list_children(node))[key]
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
        tree = _replace(tree, path, value, path, tree)
    return tree


def list_children(node: Any) -> list[tuple[str, Any]]:
    """List what lies directly in a container by its key; nothing for what is no container."""
    return list(_children(node))


def describe_leaves(tree: Any) -> str:
    """Describe the tensors of a structure in one line, for error messages.

    Example:
        >>> import torch
        >>> describe_leaves({"x": torch.zeros(4, 2)})
        'x: float32 (4, 2)'
    """
    rows = [f"{p or 'the tensor itself'}: {str(t.dtype)[6:]} {tuple(t.shape)}" for p, t in find_leaves(tree).items()]
    return "; ".join(rows) or f"no tensor at all in {type(tree).__name__}"


def _first_key(node: Any, rest: str, path: str, tree: Any) -> tuple[str, str]:
    """Split the rest of a path after the child it names; a key may have dots of its own."""
    fitting = [key for key, _ in _children(node) if rest == key or rest.startswith(f"{key}.")]
    if not fitting:
        leaves = find_leaves(tree)
        near = [p for p in leaves if p.endswith(f".{path}")] or difflib.get_close_matches(path, leaves, n=1)
        hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise AmbiguousPath(
            got=f"the path {path!r}",
            expected=f"one of {describe_leaves(tree)}",
            remedy=f"{hint}Correct the path in the symmetry's input or output.",
        )
    key = max(fitting, key=len)
    return key, rest[len(key) + 1 :]


def _is_keyed(node: Any) -> bool:
    return callable(getattr(node, "keys", None)) and hasattr(node, "__getitem__")


def _has_stores(node: Any) -> bool:
    """A graph object: a mapping for the whole, and where it is heterogeneous one for each type of node and of edge."""
    return hasattr(type(node), "stores") and hasattr(type(node), "num_nodes")


def _store_keys(node: Any) -> dict[str, Any]:
    types = [*getattr(node, "node_types", ()), *getattr(node, "edge_types", ())]
    return {kind if isinstance(kind, str) else "__".join(kind): kind for kind in types}


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, (Tensor, str, bytes)):
        return
    if _has_stores(node):
        # its own keys come in an order that differs from process to process
        yield from node.stores[0].items()
        yield from ((key, node[kind]) for key, kind in _store_keys(node).items())
    elif _is_keyed(node):
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


def _replace(node: Any, rest: str, value: Any, path: str, tree: Any) -> Any:
    if not rest:
        return value
    key, rest = _first_key(node, rest, path, tree)
    child = _replace(dict(_children(node))[key], rest, value, path, tree)
    if isinstance(node, tuple):
        return _replace_in_tuple(node, key, child)
    if _is_keyed(node) and not _has_stores(node):
        return _replace_item(node, next(k for k in node.keys() if str(k) == key), child)
    clone = copy.copy(node)
    if isinstance(node, list):
        clone[int(key)] = child
    elif _has_stores(node) and key in _store_keys(node):
        # the copy has stores of its own, which hold the same tensors
        store = clone[_store_keys(node)[key]]
        store.clear()
        store.update(child)
    else:
        # frozen and slotted dataclasses refuse plain assignment; a fresh copy may still be completed
        object.__setattr__(clone, key, child) if dataclasses.is_dataclass(clone) else setattr(clone, key, child)
    return clone


def _replace_in_tuple(node: Any, key: str, child: Any) -> Any:
    if hasattr(node, "_replace"):
        return node._replace(**{key: child})
    kind, items = type(node), (child if str(i) == key else old for i, old in enumerate(node))
    if kind is tuple or hasattr(kind, "n_sequence_fields"):  # what torch.max and its like return
        return kind(items)
    clone = tuple.__new__(kind, items)
    vars(clone).update(vars(node))
    return clone


def _replace_item(node: Any, key: Any, child: Any) -> Any:
    old = node[key]
    if isinstance(node, Mapping) and not hasattr(node, "__setitem__"):
        return type(node)({**{k: node[k] for k in node.keys()}, key: child})  # type: ignore[call-arg]
    clone = copy.copy(node)
    if hasattr(clone, "__setitem__"):
        clone[key] = child
    else:
        setattr(clone, key, child)
    # attributes that repeat the items, such as those of a model's answer
    attributes = getattr(clone, "__dict__", {})
    if isinstance(key, str) and old is not None and attributes.get(key) is old:
        attributes[key] = child
    return clone
