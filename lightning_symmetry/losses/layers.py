"""Which layers a penalty on the weights looks at, and what their features are."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import nn

from lightning_symmetry.actions import Label, Pseudoscalar, Pseudovector, Scalar, Tensors, Vector
from lightning_symmetry.exceptions import InvalidSetting
from lightning_symmetry.functional.tensor_types import uniform_types, write_types
from lightning_symmetry.sides import ActionMap
from lightning_symmetry.symmetry import Symmetry

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
HIDDEN_RANK = 2
"""Highest rank of hidden features that nobody has typed."""


@final
@dataclass(frozen=True)
class TypedLayer:
    """A layer, and what it makes of what.

    Args:
        name: Dotted name below the network.
        layer: Linear or convolutional.
        types_in: Words for its input's features, such as "5x0 + 5x1".
        types_out: Words for its output's.
    """

    name: str
    layer: Layer
    types_in: str
    types_out: str


def find_layers(module: nn.Module, symmetry: Symmetry, types: Mapping[str, str] | None = None) -> list[TypedLayer]:
    """Find the layers of a network, and the types of their features.

    Args:
        module: The network.
        symmetry: Whose sentence types the first input and the last output of a chain of Linear layers.
        types: Dotted name of a layer to ``"5x0 + 5x1 -> 20x0 + 10x1"``. Without, a network that has ``types()`` tells;
            of others that have convolutions all of these are taken, their channels as scalars; a chain of Linear
            layers has hidden features of ranks 0 to 2 in even shares.

    Raises:
        InvalidSetting: There is no such layer, none at all, or the types do not tell.
    """
    layers = {name: m for name, m in _walk(module) if isinstance(m, Layer)}
    if not layers:
        raise InvalidSetting(
            got=f"a {type(module).__name__} without Linear or convolutional layers",
            expected="weights to project",
            remedy="Measure this symmetry by samples: Equivariance() instead of Projection().",
        )
    told = types if types is not None else _ask(module)
    if told is not None:
        return [_read(name, words, layers) for name, words in told.items()]
    convolutions = {name: layer for name, layer in layers.items() if not isinstance(layer, nn.Linear)}
    if convolutions:
        return [
            TypedLayer(name, layer, f"{layer.in_channels}x0", f"{layer.out_channels}x0")
            for name, layer in convolutions.items()
            if not isinstance(layer, nn.Linear)
        ]
    return _chain({name: layer for name, layer in layers.items() if isinstance(layer, nn.Linear)}, symmetry)


def _walk(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name all modules as their author did, compiled or not."""
    for name, part in module.named_modules():
        yield ".".join(word for word in name.split(".") if word != "_orig_mod"), part


def _ask(module: nn.Module) -> dict[str, str] | None:
    """Ask the network, or what lies in it, for the types of its layers."""
    told: dict[str, str] = {}
    for prefix, part in _walk(module):
        if callable(tell := getattr(part, "types", None)):
            told |= {f"{prefix}.{name}" if prefix else name: words for name, words in tell().items()}
    return told or None


def _read(name: str, words: str, layers: Mapping[str, Any]) -> TypedLayer:
    if name not in layers:
        near = difflib.get_close_matches(name, layers, n=1) or list(layers)[:8]
        raise InvalidSetting(
            got=f"types for {name!r}, which is no Linear or convolutional layer",
            expected=f"one of {', '.join(map(repr, layers))}" if len(layers) < 9 else f"one of {len(layers)} layers",
            remedy=f"Did you mean {', '.join(map(repr, near))}?",
        )
    sides = [side.strip() for side in words.split("->")]
    if len(sides) != 2:
        raise InvalidSetting(
            got=f"the types {words!r} of {name!r}",
            expected="input -> output",
            remedy="As in '5x0 + 5x1 -> 20x0 + 4x1'.",
        )
    return TypedLayer(name, layers[name], *sides)


def _chain(layers: Mapping[str, nn.Linear], symmetry: Symmetry) -> list[TypedLayer]:
    """Type a chain of Linear layers by the sentence, and by even shares in between."""
    names, chain = list(layers), list(layers.values())
    for before, after in zip(names[:-1], names[1:], strict=True):
        if layers[before].out_features != layers[after].in_features:
            raise InvalidSetting(
                got=f"{before!r} with {layers[before].out_features} outputs before {after!r} with "
                f"{layers[after].in_features} inputs",
                expected="a chain of Linear layers, unless their types are told",
                remedy="Give Projection the types of the layers that it should look at.",
            )
    widths = [layer.out_features for layer in chain[:-1]]
    dim = symmetry.group.dim or 1
    hidden = [uniform_types(width, HIDDEN_RANK, dim) for width in widths]
    first = _side(symmetry.input, chain[0].in_features, dim, "input", names[0])
    last = _side(symmetry.output, chain[-1].out_features, dim, "output", names[-1])
    ends = list(zip([first, *hidden], [*hidden, last], strict=True))
    return [TypedLayer(name, layers[name], *sides) for name, sides in zip(names, ends, strict=True)]


def _side(side: ActionMap, width: int, dim: int, word: str, name: str) -> str:
    """Write what one side of the sentence says of a layer's features."""
    actions = [action for _, action in side.parts]
    action = actions[0] if len(actions) == 1 else None
    if isinstance(action, Tensors):
        return write_types(action.types)
    if isinstance(action, (Scalar, Label, Pseudoscalar)):
        return f"{width}x0{'p' if isinstance(action, Pseudoscalar) else ''}"
    if isinstance(action, (Vector, Pseudovector)) and width % dim == 0:
        return f"{width // dim}x1{'p' if isinstance(action, Pseudovector) else ''}"
    raise InvalidSetting(
        got=f"the {word} {side.sentence!r}, which does not say what the {width} features of {name!r} are",
        expected="a single tensors, vector or scalar",
        remedy="Give Projection the types of the layers that it should look at.",
    )
