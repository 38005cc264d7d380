"""``python -m medseg``: the same as the ``medseg`` command."""

from __future__ import annotations

from medseg.apps.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    raise SystemExit(main())
