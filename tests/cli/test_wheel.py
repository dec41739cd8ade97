"""What is installed from a wheel can do what a checkout can."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv") is None, reason="uv builds the wheel")
def test_a_wheel_finds_its_recipes(tmp_path: Path) -> None:
    subprocess.run(["uv", "build", "--wheel", "--quiet", "--out-dir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    assert (installed / "lightning_symmetry" / "py.typed").is_file()
    answer = subprocess.run(
        [sys.executable, "-m", "lightning_symmetry", "recipes"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
    )
    names = {line.split()[0] for line in answer.stdout.splitlines()[1:]}
    assert names == {path.stem for path in (ROOT / "recipes").glob("*.yaml")}
