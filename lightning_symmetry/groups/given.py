"""A group of generators that are written down or were saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from typing_extensions import Self

from lightning_symmetry.exceptions import DimensionMismatch, InvalidFile, InvalidSetting
from lightning_symmetry.functional.expm import expm
from lightning_symmetry.groups.base import Group


@final
class Given(Group):
    """The group of fixed generators.

    Args:
        basis: K square matrices of size n, as a nested list, a tensor, or the path of a .safetensors file that holds
            them alone or under the key "basis".
        name: Short name for reports; by default "given".
        affine: Whether the matrices are homogeneous, (d+1, d+1) with last row zero; None lets the data's dimension
            tell.

    Raises:
        InvalidFile: The file is missing or holds something else.
        InvalidSetting: They are not square matrices of finite numbers, or homogeneous ones whose last row is not zero.

    Example:
        >>> Given([[[0, -1], [1, 0]]]).bind(2).exp(torch.tensor([[torch.pi]])).linear.round().diagonal(dim1=1, dim2=2)
        tensor([[-1., -1.]])
    """

    def __init__(
        self, basis: list[Any] | str | Path | Tensor, name: str | None = None, affine: bool | None = None
    ) -> None:
        super().__init__(None)
        self._source = basis if isinstance(basis, (str, Path)) else None
        self.name = name or "given"
        self._given_affine = self._affine = affine
        matrices = _read(basis) if isinstance(basis, (str, Path)) else torch.as_tensor(basis)
        matrices = matrices.detach().clone() if matrices.is_floating_point() else matrices.float()
        if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or not bool(matrices.isfinite().all()):
            raise InvalidSetting(
                f"a basis of shape {tuple(matrices.shape)}", "finite matrices (K, n, n)", "Stack one a generator."
            )
        self._basis: Tensor
        self.register_buffer("_basis", matrices)
        if affine is not None:
            self.bind(matrices.shape[-1] - affine)

    @property
    def count(self) -> int:
        """Number K of generators."""
        return self._basis.shape[0]

    @property
    def affine(self) -> bool:
        """Whether it translates; as long as nobody has said so, it does not."""
        return bool(self._affine)

    @property
    def sentence(self) -> str:
        """The group as the grammar reads it back."""
        source = repr(str(self._source)) if self._source is not None else str(self._basis.tolist())
        words = [source]
        if self.name != "given":
            words.append(f"name={self.name!r}")
        if self._given_affine is not None:
            words.append(f"affine={self._given_affine}")
        return f"given({', '.join(words)})"

    def basis(self) -> Tensor:
        """Give the generators, (K, n, n)."""
        return self._basis

    def dump(self) -> dict[str, Any]:
        """Describe the generators; their file is not needed again."""
        if self.dim is None:
            raise InvalidSetting("given generators without dimension", "ones that have seen data", "Bind the group.")
        return {"sentence": "given", "dim": self.dim, "affine": self.affine, "basis": self.basis()}

    def bind(self, dim: int | None, affine: bool | None = None) -> Self:
        """Complete a dimension that was left open, or check the one that was given."""
        if dim is None or dim == self.dim:
            return self
        size = self._basis.shape[-1]
        if self.dim is not None or size not in (dim, dim + 1):
            raise DimensionMismatch(
                f"data in {dim} dimensions",
                f"{self.dim or f'{size}, or {size - 1} if the generators are homogeneous'}",
                "Use generators that are as large as the data's space.",
            )
        if size == dim + 1 and bool(self._basis[:, -1].any()):
            raise InvalidSetting("homogeneous generators with another last row", "last row zero", "Correct it.")
        self._affine = size == dim + 1
        self.dim = dim
        return self

    def _exponential(self, matrix: Tensor) -> Tensor:
        return expm(matrix, "affine" if self.affine else "general")


def _read(path: str | Path) -> Tensor:
    remedy = "Save one tensor (K, n, n) under the key 'basis'."
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InvalidFile(f"{path} ({type(error).__name__})", "a readable .safetensors file", remedy) from error
    if "basis" not in tensors and len(tensors) != 1:
        raise InvalidFile(f"{path} with {sorted(tensors)}", "the key 'basis'", remedy)
    return tensors.get("basis", next(iter(tensors.values())))


Group.makers["given"] = Given
