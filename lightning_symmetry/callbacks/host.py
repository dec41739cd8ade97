"""Which Lightning the callbacks belong to.

`lightning.pytorch` and `pytorch_lightning` hold separate classes of the same name. Since 2.6 both trainers take
callbacks of the other kind by duck typing; before, a project on `pytorch_lightning` needs callbacks of its own kind,
and gets them when it imports that package first.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

if "lightning.pytorch" not in sys.modules and ("pytorch_lightning" in sys.modules or find_spec("lightning") is None):
    from pytorch_lightning import Callback
else:
    from lightning.pytorch import Callback  # type: ignore[assignment]

__all__ = ["Callback"]
