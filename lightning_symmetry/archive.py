"""Reading and writing a folder of one readable YAML document and its tensors (safetensors; never a pickle)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lightning_symmetry.exceptions import InvalidFile, InvalidSetting

FORMAT = 1
_REMEDY = "Save it again with Symmetry.save, or give the folder of a finished run."


@contextmanager
def writing_into(folder: str | Path) -> Iterator[Path]:
    """Make a folder if it is missing, and say in one sentence when it cannot be written.

    Args:
        folder: Where the body of the ``with`` writes.

    Raises:
        InvalidSetting: It cannot be made or written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except OSError as error:
        raise InvalidSetting(
            got=f"{folder}, which cannot be written ({error.strerror})",
            expected="a folder that this process may write to",
            remedy="Choose another output folder (default_root_dir of the Trainer).",
        ) from error


def write_archive(path: str | Path, document: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    """Write ``document`` to a YAML file and its tensors beside it, under the same stem.

    Args:
        path: The YAML file, or a folder (then ``symmetry.yaml`` in it).
        document: Plain values.
        tensors: Name to tensor.

    Returns:
        The YAML file.

    Raises:
        InvalidSetting: The folder cannot be written.
    """
    file = _yaml_file(path)
    with writing_into(file.parent):
        head = {"format": FORMAT, **document, "tensors": file.with_suffix(".safetensors").name}
        save_file({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, file.with_suffix(".safetensors"))
        file.write_text(write_yaml(head))
    return file


def read_document(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping, whoever wrote it.

    Args:
        path: The YAML file or its folder.

    Raises:
        InvalidFile: There is none, or it cannot be read.
    """
    file = _yaml_file(path)
    try:
        document = yaml.safe_load(file.read_text())
    except FileNotFoundError as error:
        raise InvalidFile(f"no file {file}", "a symmetry.yaml, or the folder of one", "Check the path.") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        remedy = "Look at the indentation, the colons and the brackets there."
        raise InvalidFile(f"line {line} of {file}: {error.problem}", "readable YAML", remedy) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidFile(f"{file} ({type(error).__name__})", "a readable symmetry.yaml", _REMEDY) from error
    if not isinstance(document, dict):
        raise InvalidFile(f"{file}, which holds no mapping", "a symmetry.yaml", _REMEDY)
    return document


def is_archive(document: dict[str, Any]) -> bool:
    """Whether a document was written by `write_archive`, rather than by hand."""
    return "format" in document


def read_archive(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what `write_archive` wrote.

    Args:
        path: The YAML file or its folder.

    Returns:
        The document and its tensors.

    Raises:
        InvalidFile: A file is missing, truncated, or not what it should be.
    """
    file, document = _yaml_file(path), read_document(path)
    if document.get("format") != FORMAT:
        raise InvalidFile(f"{file} without 'format: {FORMAT}'", "a symmetry.yaml written by this package", _REMEDY)
    tensors = file.parent / str(document.get("tensors", ""))
    try:
        return document, load_file(tensors)
    except (OSError, SafetensorError) as error:
        raise InvalidFile(f"{tensors} ({type(error).__name__})", "the safetensors file beside it", _REMEDY) from error


def write_yaml(document: dict[str, Any]) -> str:
    """Write plain values as YAML, in their order."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def take_tensors(part: dict[str, Any], tensors: dict[str, Tensor], prefix: str = "") -> dict[str, Any]:
    """Move the tensors of a group's description into a flat mapping."""
    tensors.update({prefix + key: value for key, value in part.items() if isinstance(value, Tensor)})
    plain = {key: value for key, value in part.items() if not isinstance(value, Tensor)}
    if "factors" in part:
        factors = enumerate(part["factors"])
        plain["factors"] = [take_tensors(factor, tensors, f"{prefix}factor {i}: ") for i, factor in factors]
    return plain


def put_tensors(plain: dict[str, Any], tensors: Mapping[str, Tensor], prefix: str = "") -> dict[str, Any]:
    """Put them back."""
    part = plain | {key: tensors[prefix + key] for key in ("basis", "coefficients") if prefix + key in tensors}
    if "factors" in plain:
        factors = enumerate(plain["factors"])
        part["factors"] = [put_tensors(factor, tensors, f"{prefix}factor {i}: ") for i, factor in factors]
    return part


def _yaml_file(path: str | Path) -> Path:
    path = Path(path)
    return path if path.suffix in (".yaml", ".yml") else path / "symmetry.yaml"
