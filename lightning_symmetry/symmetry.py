"""`Symmetry`: the sentence "this group acts so on the input and so on the output"."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from lightning_symmetry import groups, samplers
from lightning_symmetry.actions import Action, Image, Points, Representation
from lightning_symmetry.archive import (
    is_archive,
    put_tensors,
    read_archive,
    read_document,
    take_tensors,
    write_archive,
    write_yaml,
)
from lightning_symmetry.axioms import check_axioms
from lightning_symmetry.exceptions import AmbiguousPath, InvalidFile, InvalidSetting
from lightning_symmetry.functional.random import Rng
from lightning_symmetry.groups import Element, Group, Learned, as_element
from lightning_symmetry.paths import get_leaf
from lightning_symmetry.rows import Rows
from lightning_symmetry.samplers import CoordinateSampler, OneHot, Sampler, Uniform
from lightning_symmetry.sentence import read_sentence
from lightning_symmetry.sides import Side, build_side


@final
class Symmetry(nn.Module):
    """The statement that a group acts in one way on the input and in another on the output.

    A map f has the symmetry when f(rho_in(g) x) = rho_out(g) f(x) for every g that ``over`` names.

    Args:
        over: A group, a sampler (a law on a group), a name such as ``"SO(2)"``, or ``None`` for a group to be learnt.
        input: An action, its name, or a mapping from paths to either; ``"auto"`` chooses, and says what it chose.
        output: Likewise; ``"same"`` repeats the input's action, ``"learned"`` learns a representation.
        name: Short name for logs, files and checkpoints; by default made from the sentence.

    Raises:
        SentenceError, UnknownName: A part cannot be read; what exists is listed.

    Example:
        >>> Symmetry("SO(2)", "image", "label").sentence
        'SO(2) on image -> label'
        >>> Symmetry.parse("learned(2) on pos=points, z=scalar -> forces=vector").name
        'learned_2_on_pos_points_z_scalar_to_forces_vector'
    """

    def __init__(self, over: str | Group | Sampler | None, input: Side, output: Side, name: str | None = None) -> None:
        super().__init__()
        self.sampler = _build_sampler(over)
        self.input = build_side(input)
        self.output = self.input.repeat() if output == "same" else build_side(output)
        self.name = name or _name_from(self.sentence)
        self._bound_input = self._bound_output = False

    @classmethod
    def parse(cls, sentence: str, name: str | None = None, over: Group | Sampler | None = None) -> Symmetry:
        """Read a sentence such as ``"SO(2) on image -> label"``.

        Args:
            sentence: ``[group on] input -> output``; a side is a list of ``[path=]action[(arguments)]``.
            name: Short name for logs and files.
            over: The group or law where the sentence names none; by default one to be learnt.
        """
        group, input, output = read_sentence(sentence)
        sides = build_side(input), "same" if output == [(None, "same")] else build_side(output)
        return cls(group or over, *sides, name)

    @classmethod
    def of(cls, description: Any, over: Group | Sampler | None = None) -> Symmetry:
        """Accept every way to state a symmetry.

        Args:
            description: An object; a sentence; a mapping with ``over``, ``input``, ``output`` and, if wanted, ``name``
                and ``law``; a YAML file with such a mapping, as `to_yaml` prints it; a saved symmetry; or the folder of
                either.
            over: The group or law where none is named.

        Raises:
            SentenceError, UnknownName, InvalidSetting, InvalidFile: It cannot be read; it says what exists.
        """
        if isinstance(description, Symmetry):
            return description
        if isinstance(description, Mapping):
            return cls._from_mapping(description, over)
        if isinstance(description, (str, Path)):
            text = str(description)
            if text.endswith((".yaml", ".yml")) or "->" not in text and Path(text).is_dir():
                document = read_document(text)
                return cls.load(text) if is_archive(document) else cls._from_mapping(document, over, f"{text}, with ")
            return cls.parse(text, over=over)
        raise InvalidSetting(
            got=f"a {type(description).__name__}",
            expected="a Symmetry, a sentence, the path of a saved symmetry, or a mapping with over, input and output",
            remedy='For example "SO(2) on image -> label".',
        )

    @classmethod
    def _from_mapping(cls, values: Mapping[str, Any], over: Any, source: str = "") -> Symmetry:
        wrong = [str(key) for key in values if key not in _KEYS]
        missing = [key for key in ("input", "output") if key not in values]
        if wrong or missing:
            near = [match for key in wrong for match in difflib.get_close_matches(key, _KEYS, 1)]
            raise InvalidSetting(
                got=f"{source}the keys {', '.join(map(str, values)) or '(none)'}",
                expected="input and output, and if wanted over, name and law",
                remedy=f"Did you mean {' or '.join(near)}?" if near else f"Correct {', '.join(wrong + missing)}.",
            )
        over, law = values.get("over", over), values.get("law")
        if law is not None:
            settings = dict(law)
            group = groups.by_name(over) if isinstance(over, str) else over
            over = samplers.by_name(settings.pop("name", "Uniform"), group, **settings)
        return cls(over, values["input"], values["output"], values.get("name"))

    @property
    def group(self) -> Group:
        """The group whose elements are drawn."""
        group = self.sampler.group
        if group is None:
            raise InvalidSetting("a law without a group", "a law of some group", "Use the sampler's with_group.")
        return group

    @property
    def sentence(self) -> str:
        """The symmetry as the grammar reads it back."""
        return f"{self.group.sentence} on {self.input.sentence} -> {self.output.sentence}"

    @property
    def choices(self) -> str:
        """What ``auto`` stands for, with the reasons; "" where everything was written out or no data were seen."""
        sides = {"input": self.input.choices, "output": self.output.choices}
        return "\n".join(f"{side}: {', '.join(map(str, chosen))}" for side, chosen in sides.items() if chosen)

    @property
    def learnable(self) -> bool:
        """Whether training can change it."""
        return self.group.learnable or any(p.requires_grad for p in self.parameters())

    @property
    def is_bound(self) -> bool:
        """Whether paths and dimensions are known."""
        return self._bound_input

    @property
    def is_complete(self) -> bool:
        """Whether both sides are known."""
        return self._bound_input and (self._bound_output or not self.moves_output)

    @property
    def moves_output(self) -> bool:
        """Whether any part of the output moves."""
        return bool(self.output.moving)

    @property
    def moves_pictures(self) -> bool:
        """Whether any part of the input is an image that moves."""
        return any(isinstance(action, Image) for _, action in self.input.moving)

    def bind(self, x: Any, y: Any = None) -> Symmetry:
        """Complete paths and dimensions from one input (and one output); calling it again changes nothing.

        Args:
            x: Input structure with tensors of B rows.
            y: Output structure; needed before anything moves an output.

        Raises:
            AmbiguousPath, ActionMismatch, DimensionMismatch: The data do not fit the sentence.
        """
        if self._bound_input and self.input.reopen(x):
            self._bound_input = False
        if y is not None and self._bound_output and self.output.reopen(y):
            self._bound_output = False
        if not self._bound_input:
            if self.input.auto and self.group.part("nodes") is not None:
                raise InvalidSetting(
                    got=f"auto for {self.group.sentence}, which reorders nodes",
                    expected="an input that says which tensors are of nodes",
                    remedy="For example 'pos=points, z=nodes'.",
                )
            self.input.infer(x, "input")
            moving = self.input.moving
            if not moving:
                raise InvalidSetting(
                    got=f"the input side {self.input.sentence!r}, where nothing moves",
                    expected="at least one part that the group moves",
                    remedy="Use vector, points or image on the input.",
                )
            if self.group.part("nodes") is not None and Rows.of(x).are_ragged:
                raise InvalidSetting(
                    got=f"{self.group.sentence} on a batch of graphs of several sizes",
                    expected="a group that leaves the order of nodes alone",
                    remedy="Permute padded sets, (B, N, ...), instead.",
                )
            for path, action in moving:
                self._fit_group(action, get_leaf(x, path), any(a.affine for _, a in moving))
            self.sampler.bind()
            for path, action in moving:
                action.bind(get_leaf(x, path), self.group)
            self._bound_input = True
            _match(self, self.leading(x))
        if y is not None and not self._bound_output:
            self.output.infer(y, "output", any(isinstance(action, Image) for _, action in self.input.parts))
            for path, action in self.output.moving:
                leaf = get_leaf(y, path)
                self._fit_group(action, leaf, self.group.affine)
                action.bind(leaf, self.group)
                # the input's side may be part of a graph by now, which conversion would invalidate
                _match(action, leaf)
            self._bound_output = True
        return self

    def _fit_group(self, action: Action, leaf: Tensor, affine: bool) -> None:
        """Complete or check the dimensions of the group's parts by one tensor."""
        for part, size in (
            (self.group.part("space"), action.base_dim(leaf)),
            (self.group.part("nodes"), action.node_count(leaf)),
        ):
            if part is not None:
                part.bind(size, affine=affine)

    def move_input(self, g: Element | Tensor, x: Any) -> Any:
        """Apply rho_in(g), sample by sample."""
        self.bind(x)
        return self.input.move(self.element(g), x, Rows.of(x))

    def move_output(self, g: Element | Tensor, y: Any, rows: Rows | None = None) -> Any:
        """Apply rho_out(g), sample by sample.

        Args:
            g: B elements, or one for all.
            y: Output structure.
            rows: ``Rows.of(x)`` of the input that it answers; by default row b is sample b.
        """
        if not self.moves_output:
            return y
        if not self._bound_output:
            raise InvalidSetting(
                got="an output that the symmetry was not bound to",
                expected="bind(x, y) before",
                remedy="Call bind(x, y) first.",
            )
        return self.output.move(self.element(g), y, rows or Rows())

    def lift(self, f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Attach the vectors that a map gives to the points of its input, where the output's action asks for it.

        ``x -> F(x)`` becomes ``x -> (x, F(x))``, on which ``velocity`` acts: that is how the right-hand side of an
        equation ``x' = F(x)`` is compared with its moved self.

        Args:
            f: From an input structure to an output structure.

        Returns:
            The map itself, unless an action of the output is attached to points.

        Raises:
            AmbiguousPath: When called: it is not clear which points, or which vectors.

        Example:
            >>> field = Symmetry.parse("SO(2) on points -> velocity").lift(lambda x: -x)
            >>> field(torch.tensor([[1.0, 2.0]]))
            tensor([[[ 1.,  2.],
                     [-1., -2.]]])
        """
        if not self.output.attached:
            return f

        def lifted(x: Any) -> Any:
            self.bind(x)
            found = [get_leaf(x, path) for path, action in self.input.moving if isinstance(action, Points)]
            if len(found) != 1:
                raise AmbiguousPath(
                    got=f"an input {self.input.sentence!r} with {len(found)} tensors of points",
                    expected="one, to which the vectors of the output are attached",
                    remedy="For example 'pos=points -> velocity'.",
                )
            return self.output.attach(found[0], f(x))

        return lifted

    def element(self, g: Element | Tensor) -> Element:
        """Accept an element or a raw (B, d, d) tensor."""
        return g if isinstance(g, Element) else as_element(g, self.group.dim)

    def sample(self, x: Any, n: int, rng: Rng) -> tuple[Element, Tensor]:
        """Draw n elements for each sample: (Element of B*n rows, weights (B, n))."""
        return self.sampler.sample(self._read(x), n, rng)

    def support(self, x: Any) -> tuple[Element, Tensor] | None:
        """List every element that may be drawn for each sample, with weights (B, m); None where they are too many."""
        return self.sampler.support(self._read(x))

    def _read(self, x: Any) -> Tensor:
        """What the law depends on: the positions of a sample for a frame, else one row a sample."""
        self.bind(x)
        if (nodes := self.group.part("nodes")) is not None:
            # sets of another batch may be larger or smaller
            for path, action in self.input.moving:
                nodes.bind(action.node_count(get_leaf(x, path)))
        if self.sampler.reads == "nothing":
            return self.leading(x)
        moving = [(path, action, get_leaf(x, path)) for path, action in self.input.moving]
        # vectors are not translated, so that they tell no centre
        path, _, leaf = next((part for part in moving if part[1].affine or not self.group.affine), moving[0])
        rows = Rows.of(x)
        if rows.are_ragged and self.sampler.reads == "sequence":
            raise InvalidSetting(
                got=f"{type(self.sampler).__name__} on a batch of graphs",
                expected="a law that does not read the order of nodes",
                remedy="Use PCAFrames or PointFrames.",
            )
        # a point at the centre changes no frame
        return rows.pad(leaf, path, centred=self.group.affine)

    def leading(self, x: Any) -> Tensor:
        """The first moving tensor of the input with a row for each sample: its batch size, device and dtype count.

        In a batch of graphs, each graph's rows are averaged.
        """
        self.bind(x)
        moving = [(path, get_leaf(x, path)) for path, _ in self.input.moving]
        path, leaf = next((part for part in moving if part[1].is_floating_point()), moving[0])
        return Rows.of(x).pool(leaf, path) if leaf.is_floating_point() else leaf

    def check(self, x: Any, rng: Rng | None = None, tolerance: float = 1e-4) -> None:
        """Check the group axioms of the declared action on real data.

        See `check_axioms`: identity, inverse, composition, and the order of the finite part.

        Args:
            x: Input structure.
            rng: Source of the elements tried.
            tolerance: Largest accepted relative difference.

        Raises:
            AxiomViolation: An axiom fails; it says which and by how much.
        """
        rng = rng or Rng(0)
        pair = self.sample(x, 1, rng)[0], self.sample(x, 1, rng)[0]
        parts = [(path, action, get_leaf(x, path)) for path, action in self.input.moving]
        check_axioms(parts, self.group, pair, Rows.of(x), rng, tolerance)

    def to_yaml(self) -> str:
        """Print over, input and output (paths to actions) as a short YAML mapping, which every callback accepts.

        Saved to a file and edited by hand, it is read by `Symmetry.of`. What was learnt is left to `save`.

        Example:
            >>> print(Symmetry.parse("SO(2) on pos=points, z=scalar -> label", name="turns").to_yaml())
            name: turns
            over: SO(2)
            input:
              pos: points
              z: scalar
            output: label
            <BLANKLINE>
        """
        document: dict[str, Any] = {"name": self.name, "over": self.group.sentence}
        law = _write_law(self.sampler)
        if law != _write_law(_build_sampler(self.group)):
            document["law"] = law
        return write_yaml({**document, "input": self.input.words, "output": self.output.words})

    def save(self, path: str | Path) -> Path:
        """Write ``symmetry.yaml`` and ``symmetry.safetensors``, which every callback accepts in place of a sentence.

        A learnt group is written as it stands, as fixed generators.

        Args:
            path: A folder, or the YAML file.

        Raises:
            InvalidSetting: The folder cannot be written, or the symmetry has seen no data yet.
        """
        if self.group.learnable and self.group.dim is None:
            raise InvalidSetting("a learnt group without dimension", "one that has seen data", "Train or bind it.")
        tensors: dict[str, Tensor] = {}
        group = take_tensors(self.group.dump(), tensors)
        for key, side in (("input", self.input), ("output", self.output)):
            for index, (_, action) in enumerate(side.moving):
                if isinstance(action, Representation):
                    tensors[f"{key}.{index}"] = action.generators()
        document = {
            "name": self.name,
            "sentence": f"{group['sentence']} on {self.input.written} -> {self.output.written}",
            "group": group,
            "law": {"name": type(self.sampler).__name__, **self.sampler.settings},
            "input": self.input.written,
            "output": self.output.written,
        }
        return write_archive(path, document, tensors)

    @classmethod
    def load(cls, path: str | Path) -> Symmetry:
        """Read a saved symmetry.

        Raises:
            InvalidFile: A file is missing, truncated, or not what it should be.
        """
        if not is_archive(read_document(path)):
            return cls.of(path)
        document, tensors = read_archive(path)
        try:
            over = groups.restore(put_tensors(document["group"], tensors))
            law = _read_law(document["law"], over)
            symmetry = cls(law, document["input"], document["output"], document["name"])
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidFile(
                got=f"{path}, which lacks {error}",
                expected="name, group, law, input and output",
                remedy="Save it again with Symmetry.save.",
            ) from error
        for key, side in (("input", symmetry.input), ("output", symmetry.output)):
            for index, (_, action) in enumerate(side.moving):
                if isinstance(action, Representation):
                    action.restore(tensors[f"{key}.{index}"])
        return symmetry


def _read_law(law: Mapping[str, Any], group: Group) -> Sampler:
    settings = dict(law)
    return samplers.by_name(settings.pop("name"), group, **settings)


def _write_law(sampler: Sampler) -> dict[str, Any]:
    """Name a law with its settings as they were given, which a law of an open dimension has too."""
    if not isinstance(sampler, CoordinateSampler):
        return {"name": type(sampler).__name__, **sampler.settings}
    width = list(sampler.width) if isinstance(sampler.width, tuple) else sampler.width
    return {"name": type(sampler).__name__, "width": width, **sampler.learning}


_KEYS = ("over", "input", "output", "name", "law")


def _match(module: nn.Module, leaf: Tensor) -> None:
    module.to(device=leaf.device, dtype=torch.promote_types(leaf.dtype, torch.float32))


def _build_sampler(over: str | Group | Sampler | None) -> Sampler:
    if isinstance(over, str):
        over = groups.by_name(over)
    if over is None:
        over = Learned(count=None)
    if isinstance(over, Group):
        # one active generator a draw gives statistics per generator for free
        return OneHot(over) if over.learnable else Uniform(over)
    return over if over.group is not None else over.with_group(Learned(count=None))


def _name_from(sentence: str) -> str:
    words = sentence.replace("->", " to ").replace("*", " times ").replace("|", " or ")
    words = re.sub(r"-(?=[\d.])", " minus ", words)
    return "_".join("".join(c if c.isalnum() else " " for c in words).lower().split())
