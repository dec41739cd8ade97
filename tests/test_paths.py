"""Paths into batches of every kind: what is listed can be read and replaced, and nothing else changes."""

from __future__ import annotations

from collections import OrderedDict, UserDict, defaultdict, namedtuple
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors

from lightning_symmetry.exceptions import AmbiguousPath
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.paths import describe_leaves, find_leaves, get_leaf, replace_leaves
from lightning_symmetry.rows import Rows
from lightning_symmetry.symmetry import Symmetry


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


class ModelAnswer(OrderedDict):
    """A mapping whose items are attributes too, as the answers of language models are."""

    def __init__(self, **items: Any) -> None:
        super().__init__(items)
        self.__dict__.update(items)


class Open(dict):
    """A dictionary that is its own attributes."""

    def __init__(self, **items: Any) -> None:
        super().__init__(items)
        self.__dict__ = self


class Encoding(UserDict):
    """What tokenizers give: a mapping with a second attribute."""

    def __init__(self, data: Any = None, encodings: str = "kept") -> None:
        super().__init__(data)
        self.encodings = encodings


class TensorDict(Mapping):
    """Iterates over samples, not over keys."""

    def __init__(self, **items: Tensor) -> None:
        self._items = items

    def keys(self) -> Any:
        return self._items.keys()

    def __getitem__(self, key: Any) -> Any:
        return self._items[key] if isinstance(key, str) else TensorDict(**{k: t[key] for k, t in self._items.items()})

    def __setitem__(self, key: str, value: Any) -> None:
        self._items = {**self._items, key: value}

    def __iter__(self) -> Iterator[Any]:
        return iter([self[i] for i in range(len(self))])

    def __len__(self) -> int:
        return len(next(iter(self._items.values())))


class Row(tuple):
    """A tuple with a name."""

    name = ""


def make_defaultdict(x: Any, y: Any) -> Any:
    tree = defaultdict(list)
    tree.update(x=x, y=y)
    return tree


def make_row(x: Any, y: Any) -> Any:
    row = Row((x, y))
    row.name = "kept"
    return row


def make_data(x: Any, y: Any) -> Any:
    data = pytest.importorskip("torch_geometric.data")
    return data.Data(x=x, y=y, name="kept")


def make_graphs(x: Any, y: Any) -> Any:
    data = pytest.importorskip("torch_geometric.data")
    batch = data.Batch.from_data_list([data.Data(num_nodes=3)])
    del batch.batch, batch.ptr
    batch.x, batch.y = x, y
    return batch


def make_hetero(x: Any, y: Any) -> Any:
    data = pytest.importorskip("torch_geometric.data")
    graph = data.HeteroData()
    graph["atom"].x, graph["atom", "near", "atom"].y = x, y
    graph.time = 7
    return graph


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
    "graph": make_data,
    "graphs": make_graphs,
    "heterogeneous graph": make_hetero,
    "default dict": make_defaultdict,
    "read-only mapping": lambda x, y: MappingProxyType({"x": x, "y": y}),
    "items as attributes": lambda x, y: ModelAnswer(x=x, y=y),
    "itself as attributes": lambda x, y: Open(x=x, y=y),
    "encoding": lambda x, y: Encoding({"x": x, "y": y}, "kept"),
    "tensor dict": lambda x, y: TensorDict(x=x, y=y),
    "own tuple": make_row,
    "deep": lambda x, y: {"a": [({"b": Frozen(x)}, "text"), None, {3: Slotted(y)}]},
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

    both = replace_leaves(tree, {first: 1.0, second: "gone"})
    assert get_leaf(both, first) == 1.0 and get_leaf(both, second) == "gone"
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


def test_tensor_subclasses_are_leaves_and_stay_what_they_are() -> None:
    boxes = tv_tensors.BoundingBoxes(torch.zeros(3, 4), format="XYXY", canvas_size=(8, 8))
    tree = {"image": tv_tensors.Image(torch.zeros(3, 8, 8)), "boxes": boxes, "x": torch.ones(2)}
    assert set(find_leaves(tree)) == {"image", "boxes", "x"}
    new = replace_leaves(tree, {"x": torch.zeros(2)})
    assert new["boxes"] is boxes and new["boxes"].canvas_size == (8, 8)


def test_items_that_are_attributes_too_agree() -> None:
    for tree in (ModelAnswer(x=torch.ones(1), y=None), Open(x=torch.ones(1), y=None)):
        new = replace_leaves(tree, {"x": torch.zeros(1)})
        assert new["x"] is new.x and new.x == 0 and tree.x is tree["x"] and tree.x == 1


def test_what_containers_carry_beside_their_items_stays() -> None:
    x, y = torch.ones(1), torch.ones(1)
    new = {kind: replace_leaves(CONTAINERS[kind](x, y), {"x": -x}) for kind in ("encoding", "default dict")}
    assert new["encoding"].encodings == "kept" and new["default dict"].default_factory is list
    assert replace_leaves(make_row(x, y), {"0": -x}).name == "kept"
    largest = torch.max(torch.eye(2), 1)
    assert type(replace_leaves(largest, {"0": x})) is type(largest)
    assert replace_leaves(make_data(x, y), {"x": -x}).name == "kept"
    assert replace_leaves(make_hetero(x, y), {"atom.x": -x}).time == 7


def test_a_near_miss_is_told() -> None:
    tree = {"batch": {"pos": torch.ones(1), "velocity": torch.ones(1)}}
    with pytest.raises(AmbiguousPath, match=r"Did you mean 'batch\.pos'\?"):
        get_leaf(tree, "pos")
    with pytest.raises(AmbiguousPath, match=r"Did you mean 'batch\.velocity'\?"):
        get_leaf(tree, "batch.velocty")


def test_attributes_of_a_subclassed_container_stay() -> None:
    tree = Words(x=torch.ones(1))
    tree.note = "changed"
    assert replace_leaves(tree, {"x": torch.zeros(1)}).note == "changed"


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_symmetry_moves_what_lies_in_any_container(kind: str) -> None:
    tree = CONTAINERS[kind](torch.randn(3, 2), torch.zeros(3, 0))
    path, other = find_leaves(tree)
    before, kept = get_leaf(tree, path).clone(), get_leaf(tree, other)
    symmetry = Symmetry("SO(2)", {path: "vector"}, {path: "vector"})
    g, _ = symmetry.sample(tree, 1, Rng(0))
    moved = symmetry.move_input(g, tree)
    answer = symmetry.bind(tree, tree).move_output(~g, moved, Rows.of(tree))
    expected = before @ g.linear[0].T if len(g) == 1 else torch.einsum("bij,bj->bi", g.linear, before)
    torch.testing.assert_close(get_leaf(moved, path), expected)
    torch.testing.assert_close(get_leaf(answer, path), before)
    assert type(moved) is type(tree) and get_leaf(moved, other) is kept
    assert torch.equal(get_leaf(tree, path), before)


def test_a_moved_tensor_keeps_its_class_and_its_attributes() -> None:
    class Tagged(Tensor):
        tag = ""

    x = torch.randn(3, 2).as_subclass(Tagged)
    x.tag = "kept"
    moved = Symmetry.parse("SO(2) on x=vector -> label").move_input(torch.eye(2)[None], {"x": x})["x"]
    assert type(moved) is Tagged and moved.tag == "kept"


def test_packed_sequences_stay_packed() -> None:
    packed = torch.nn.utils.rnn.pack_sequence([torch.ones(3), torch.ones(2)])
    new = replace_leaves(packed, {"data": 2 * packed.data})
    assert type(new) is type(packed) and new.data.sum() == 10
