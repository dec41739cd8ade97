"""Paths into batches of every kind: what is listed can be read and replaced, and nothing else changes."""

from __future__ import annotations

from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors

from lightning_symmetry.exceptions import AmbiguousPath
from lightning_symmetry.paths import describe_leaves, find_leaves, get_leaf, map_tensors, replace_leaves


class Pair(NamedTuple):
    x: Tensor
    y: Any


@dataclass
class Record:
    x: Tensor
    y: Any = None
    late: Any = field(init=False, repr=False)


@dataclass(frozen=True)
class Frozen:
    x: Tensor
    y: Any = None


@dataclass(slots=True)
class Slotted:
    x: Tensor
    y: Any = None


@dataclass(frozen=True, slots=True)
class FrozenSlotted:
    x: Tensor
    y: Any = None


@dataclass
class Guarded:
    """Copies must not run it again."""

    x: Tensor
    y: Any = None

    def __post_init__(self) -> None:
        self.x = self.x + 1


class GraphBatch:
    """Keyed attributes that are iterated by value, as graph batches have."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def keys(self) -> list[str]:
        return list(self.__dict__)

    def __getitem__(self, key: str) -> Any:
        return self.__dict__[key]

    def __iter__(self) -> Any:
        return iter(self.__dict__.items())


class Words(dict):
    """A mapping with a life of its own."""

    note = "kept"


Old = namedtuple("Old", "x y")
CONTAINERS = {
    "tuple": lambda x, y: (x, y),
    "list": lambda x, y: [x, y],
    "dict": lambda x, y: {"x": x, "y": y},
    "ordered dict": lambda x, y: OrderedDict(x=x, y=y),
    "user dict": lambda x, y: UserDict(x=x, y=y),
    "own dict": lambda x, y: Words(x=x, y=y),
    "whole numbers as keys": lambda x, y: {0: x, 1: y},
    "dotted keys": lambda x, y: {"a.b": x, "a": {"c": y}},
    "named tuple": Pair,
    "old named tuple": Old,
    "dataclass": Record,
    "frozen": Frozen,
    "slotted": Slotted,
    "frozen and slotted": FrozenSlotted,
    "guarded": Guarded,
    "graph batch": lambda x, y: GraphBatch(x=x, y=y),
}


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize("nested", [False, True])
def test_leaves_are_read_and_replaced(kind: str, nested: bool) -> None:
    x, y = torch.ones(3, 2), torch.zeros(3, 0)
    tree = CONTAINERS[kind](x, y)
    tree = {"outer": [None, "text", 7, tree, ()]} if nested else tree
    leaves = find_leaves(tree)
    assert len(leaves) == 2
    first, second = leaves
    assert all(get_leaf(tree, path) is leaf for path, leaf in leaves.items())

    new = replace_leaves(tree, {first: -leaves[first]})
    assert type(new) is type(tree) and list(find_leaves(new)) == list(leaves)
    assert torch.equal(get_leaf(new, first), -leaves[first])
    assert get_leaf(new, second) is y
    assert get_leaf(tree, first) is leaves[first]  # the original is as it was

    both = replace_leaves(tree, {first: 1.0, second: None})
    assert get_leaf(both, first) == 1.0 and get_leaf(both, second) is None
    assert find_leaves(both) == {}
    if nested:
        assert new["outer"][:3] == [None, "text", 7] and type(new["outer"][3]) is type(tree["outer"][3])


def test_a_bare_tensor_has_the_empty_path() -> None:
    x, new = torch.ones(2), torch.zeros(2)
    assert list(find_leaves(x)) == [""] and get_leaf(x, "") is x and replace_leaves(x, {"": new}) is new


@pytest.mark.parametrize(
    "tree", [None, 3, "text", b"bytes", object(), SimpleNamespace(x=torch.ones(1)), [], {}, (), Record]
)
def test_everything_else_has_no_leaves(tree: Any) -> None:
    assert find_leaves(tree) == {}
    assert describe_leaves(tree).startswith("no tensor at all in")
    assert replace_leaves(tree, {}) is tree


@pytest.mark.parametrize("path", ["z", "x.0", "a.z", "a.b.c", "0", "."])
def test_paths_that_lead_nowhere_list_those_that_exist(path: str) -> None:
    tree = {"x": torch.ones(4, 2), "a": {"b": torch.ones(3, dtype=torch.long)}}
    for act in (lambda: get_leaf(tree, path), lambda: replace_leaves(tree, {path: 0})):
        with pytest.raises(AmbiguousPath, match=r"x: float32 \(4, 2\); a.b: int64 \(3,\)"):
            act()


def test_replacing_shares_what_is_not_on_the_way() -> None:
    tree = {"a": {"x": torch.ones(1)}, "b": {"y": torch.ones(1), "list": [1]}}
    new = replace_leaves(tree, {"a.x": torch.zeros(1)})
    assert new["b"] is tree["b"] and new["a"] is not tree["a"] and tree["a"]["x"] == 1


def test_mapping_keeps_the_structure() -> None:
    tree = Pair(torch.ones(2), {"n": 3, "t": torch.ones(1)})
    twice = map_tensors(lambda t: 2 * t, tree)
    assert isinstance(twice, Pair) and twice.x.sum() == 4 and twice.y["t"] == 2 and twice.y["n"] == 3


def test_tensor_subclasses_are_leaves_and_stay_what_they_are() -> None:
    boxes = tv_tensors.BoundingBoxes(torch.zeros(3, 4), format="XYXY", canvas_size=(8, 8))
    tree = {"image": tv_tensors.Image(torch.zeros(3, 8, 8)), "boxes": boxes, "x": torch.ones(2)}
    assert set(find_leaves(tree)) == {"image", "boxes", "x"}
    new = replace_leaves(tree, {"x": torch.zeros(2)})
    assert new["boxes"] is boxes and new["boxes"].canvas_size == (8, 8)


def test_attributes_of_a_subclassed_container_stay() -> None:
    tree = Words(x=torch.ones(1))
    tree.note = "changed"
    assert replace_leaves(tree, {"x": torch.zeros(1)}).note == "changed"


def test_packed_sequences_stay_packed() -> None:
    packed = torch.nn.utils.rnn.pack_sequence([torch.ones(3), torch.ones(2)])
    new = replace_leaves(packed, {"data": 2 * packed.data})
    assert type(new) is type(packed) and new.data.sum() == 10
