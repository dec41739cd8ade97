"""Which sample every row of a tensor belongs to: graphs of one batch have many rows each, and not equally many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard, final

import torch
from torch import Tensor

from lightning_symmetry.exceptions import DimensionMismatch
from lightning_symmetry.groups import Element
from lightning_symmetry.paths import list_children

# What the vector goes by that says which graph a node belongs to.
_MEMBERSHIPS = ("batch", "idx_m", "batch_idx", "batch_index", "batch_seg", "graph_idx", "mol_idx", "segment_ids")


@dataclass(frozen=True, eq=False)
class Level:
    """One kind of row that a sample has several of: the nodes or the edges of graphs.

    Args:
        kind: "nodes" or "edges".
        scope: Path of the container that they lie in.
        stem: Name of the one tensor that they belong to (``x_s`` of ``x_s_batch``); "" for all of them.
        owner: (R,) whole numbers, the sample of every row.
    """

    kind: str
    scope: str
    stem: str
    owner: Tensor


@final
@dataclass(frozen=True, eq=False)
class Rows:
    """How many samples there are, and which of them every row of a tensor belongs to.

    In an ordinary batch row b is sample b. A batch of graphs lays the nodes of all graphs one after the other: row i
    belongs to graph ``batch[i]``, an edge to the graph of its first node, and what is told of whole graphs has one row
    each. Such a batch is known by a vector ``batch`` of whole numbers beside the nodes (``idx_m``, ``batch_idx`` and
    their like do as well), or by ``ptr``, where each graph begins: keyed attributes, keys, or arguments of the network.
    ``edge_index`` of shape (2, E) beside (N, ...) nodes without either is one single graph, as is a graph object
    without them.

    A tensor is told by its number of rows. Where that leaves a choice, nodes come before graphs and graphs before
    edges; a name that begins with ``edge`` puts edges first, and the types of a heterogeneous graph go by their names,
    graphs first elsewhere.

    Args:
        count: Number B of graphs; None for an ordinary batch.
        levels: Kinds of row that graphs have several of; none where all rows belong to one single graph.

    Example:
        >>> rows = Rows.of({"pos": torch.zeros(3, 2), "batch": torch.tensor([0, 0, 1])})
        >>> rows.count, rows.pool(torch.tensor([1.0, 3.0, 5.0])).tolist()
        (2, [2.0, 5.0])
    """

    count: int | None = None
    levels: tuple[Level, ...] = ()

    @classmethod
    def of(cls, tree: Any) -> Rows:
        """Find them in an input structure; a number is read from the device where neither it nor ``ptr`` is given.

        Args:
            tree: Any nesting of containers.
        """
        levels: list[Level] = []
        counts: list[int] = []
        single = False
        for scope, node, children in _containers(tree, ""):
            single |= _is_single(node, children)
            for stem, owner, count in _find_owners(node, children):
                levels.append(Level("nodes", scope, stem, owner))
                counts.append(count)
        if not levels:
            return cls(1 if single else None)
        for scope, _, children in _containers(tree, ""):
            for key, child in children.items():
                if key.endswith("edge_index") and _is_edge_index(child):
                    # an edge's type is named source__relation__target
                    sources = [n for n in levels if n.scope in (scope, scope.split("__")[0]) and not n.stem]
                    levels += [Level("edges", scope, "", n.owner[child[0].long()]) for n in sources]
        return cls(max(counts), tuple(levels))

    @property
    def are_ragged(self) -> bool:
        """Whether samples have several rows."""
        return self.count is not None

    def owner(self, size: int, path: str = "") -> Tensor | None:
        """Tell the sample of every row of a tensor.

        Args:
            size: Its number of rows R.
            path: Where it lies; it decides where the number alone does not.

        Returns:
            (R,) whole numbers; None where row b is sample b.

        Raises:
            DimensionMismatch: There are neither as many nodes, nor graphs, nor edges.
        """
        if self.count is None:
            return None
        if not self.levels:
            return torch.zeros(size, dtype=torch.long)
        *_, key = keys = path.split(".")
        order = ("edges", "nodes", "graphs") if key.startswith("edge") else ("nodes", "graphs", "edges")
        fitting = [level for level in self.levels if len(level.owner) == size]
        named = [n for n in fitting if key == n.stem or n.scope and n.scope.split(".")[-1] in keys]
        if not named and len({n.scope for n in self.levels if n.kind == "nodes"}) > 1:
            # one of several types may have as many nodes as there are graphs by chance
            order = ("graphs", "nodes", "edges")
        ranked = sorted(named or fitting, key=lambda n: order.index(n.kind))
        if size == self.count and not (ranked and order.index(ranked[0].kind) < order.index("graphs")):
            return None
        if not ranked:
            known = ", ".join(f"{len(n.owner)} {n.kind}" for n in self.levels)
            raise DimensionMismatch(
                got=f"{size} rows at {path!r} in a batch of graphs",
                expected=f"one for each of {self.count} graphs, {known}",
                remedy="Leave tensors with rows of another kind to scalar.",
            )
        return ranked[0].owner

    def spread(self, g: Element, size: int, path: str = "") -> Element:
        """Give every row of a tensor the element of its sample.

        Args:
            g: B elements, or one for all.
            size: Rows R of the tensor.
            path: Where it lies.

        Returns:
            R elements; g itself where it has one for each row already, or one for all.
        """
        owner = None if len(g) == 1 else self.owner(size, path)
        return g if owner is None else g[owner]

    def pool(self, values: Tensor, path: str = "") -> Tensor:
        """Average the rows of every sample.

        Args:
            values: (R, ...), floating point.
            path: Where the tensor lies that they belong to.

        Returns:
            (B, ...); 0 for a graph without rows.
        """
        owner = self.owner(len(values), path)
        if owner is None or self.count is None:
            return values
        owner = owner.to(values.device)
        sums = values.new_zeros(self.count, *values.shape[1:]).index_add(0, owner, values)
        sizes = torch.bincount(owner, minlength=self.count).clamp_min(1).to(values.dtype)
        return sums / sizes.view(-1, *[1] * (values.ndim - 1))

    def pad(self, values: Tensor, path: str = "", centred: bool = False) -> Tensor:
        """Lay the rows of every sample side by side, as many as the largest has.

        Args:
            values: (R, ...), floating point.
            path: Where the tensor lies.
            centred: Whether places without a row hold the mean of the sample's rows; they hold 0 otherwise.

        Returns:
            (B, N, ...); an ordinary batch as it is.
        """
        owner = self.owner(len(values), path)
        if owner is None or self.count is None:
            return values
        owner = owner.to(values.device)
        sizes = torch.bincount(owner, minlength=self.count)
        order = owner.argsort(stable=True)
        place = torch.arange(len(owner), device=owner.device) - (sizes.cumsum(0) - sizes)[owner[order]]
        empty = self.pool(values, path).unsqueeze(1) if centred else values.new_zeros(self.count, 1, *values.shape[1:])
        padded = empty.expand(-1, int(sizes.max()), *values.shape[1:])
        return padded.index_put((owner[order], place), values[order])

    def choose(self, mask: Tensor, size: int, path: str = "") -> Tensor:
        """Tell for every row of a tensor what a (B,) mask or vector says of its sample: (R,)."""
        owner = self.owner(size, path)
        return mask if owner is None else mask[owner.to(mask.device)]


def is_structure(path: str, leaf: Tensor) -> bool:
    """Tell whether a tensor says how rows belong together, rather than being data itself."""
    key = path.rpartition(".")[2]
    tells = key in _MEMBERSHIPS or key.endswith(("batch", "ptr"))
    return _is_edge_index(leaf) and key.endswith("edge_index") or _is_vector(leaf) and tells


def _containers(node: Any, path: str) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    children = dict(list_children(node))
    if children:
        yield path, node, children
    for key, child in children.items():
        yield from _containers(child, f"{path}.{key}" if path else key)


def _find_owners(node: Any, children: dict[str, Any]) -> Iterator[tuple[str, Tensor, int]]:
    """List the vectors in one container that say which graph a node belongs to: (stem, owner, number of graphs)."""
    # asked of the class, since attributes of a mapping may raise what they like
    known = node.num_graphs if hasattr(type(node), "num_graphs") else children.get("num_graphs")
    for key, batch in children.items():
        stem = "" if key in _MEMBERSHIPS else key.removesuffix("batch").removesuffix("_")
        ptr = children.get(f"{stem}_ptr" if stem else "ptr")
        if (key in _MEMBERSHIPS or key.endswith("_batch") and stem in children) and _is_vector(batch):
            count = known if isinstance(known, int) else len(ptr) - 1 if _is_vector(ptr) else None
            if count is None and _counts_from_zero(batch, children):
                count = int(batch.max()) + 1
            if count is not None:
                yield stem, batch.long(), count
    ptr = children.get("ptr")
    if _is_vector(ptr) and not _is_vector(children.get("batch")):
        yield "", torch.arange(len(ptr) - 1, device=ptr.device).repeat_interleave(ptr.long().diff()), len(ptr) - 1


def _is_vector(value: Any) -> TypeGuard[Tensor]:
    return (
        isinstance(value, Tensor) and value.ndim == 1 and value.dtype in (torch.int32, torch.int64) and len(value) > 0
    )


def _is_edge_index(value: Any) -> TypeGuard[Tensor]:
    return (
        isinstance(value, Tensor) and value.ndim == 2 and len(value) == 2 and value.dtype in (torch.int32, torch.int64)
    )


def _counts_from_zero(batch: Tensor, children: dict[str, Any]) -> bool:
    """Whether an argument that is merely called so is the vector that is meant; it need not be sorted."""
    others = [t for t in children.values() if isinstance(t, Tensor) and t.is_floating_point() and t.ndim]
    return any(len(t) == len(batch) for t in others) and bool((batch.min() >= 0) & (batch.max() < len(batch)))


def _is_single(node: Any, children: dict[str, Any]) -> bool:
    """One graph that nobody batched."""
    if any(_is_vector(children.get(key)) for key in ("batch", "ptr")):
        return False
    edges = children.get("edge_index")
    if _is_edge_index(edges):
        # a graph that all samples of padded features share is not theirs: their rows are no nodes
        tensors = [t for t in children.values() if isinstance(t, Tensor) and t.is_floating_point() and t.ndim == 2]
        longest = max((len(t) for t in tensors), default=0)
        return not edges.numel() or longest > int(edges.max())
    return "batch" in children and children["batch"] is None or hasattr(type(node), "num_nodes")
