"""The ``medseg`` command. Modules here are adapters: they read arguments, call lower rooms and print."""

from __future__ import annotations

__all__: list[str] = []
