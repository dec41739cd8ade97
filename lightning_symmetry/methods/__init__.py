"""Rooms: one folder a published training procedure, each with one preset function."""

from lightning_symmetry.methods.augerino import augerino
from lightning_symmetry.methods.dual import dual
from lightning_symmetry.methods.liegan import liegan
from lightning_symmetry.methods.per import per
from lightning_symmetry.methods.semola import semola

__all__ = ["augerino", "dual", "liegan", "per", "semola"]
