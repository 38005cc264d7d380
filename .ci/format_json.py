"""Format JSON files: four spaces, keys in their own order, short lists and objects on one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

WIDTH = 120


def layout(value: Any, indent: int = 0, used: int = 0) -> str:
    """Return ``value`` as JSON text; a list or object that fits into the rest of the line stays on it."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or not value or (indent and indent + used + len(flat) + 1 <= WIDTH):
        return flat
    pad = " " * (indent + 4)
    if isinstance(value, dict):
        parts = []
        for key, item in value.items():
            head = json.dumps(key, ensure_ascii=False) + ": "
            parts.append(pad + head + layout(item, indent + 4, len(head)))
        return "{\n" + ",\n".join(parts) + "\n" + " " * indent + "}"
    return "[\n" + ",\n".join(pad + layout(item, indent + 4) for item in value) + "\n" + " " * indent + "]"


def main(arguments: list[str]) -> int:
    """Format the named files in place, or with ``--check`` only say which ones differ (exit status 1)."""
    check = "--check" in arguments
    changed = []
    for name in (a for a in arguments if a != "--check"):
        path = Path(name)
        text = path.read_text(encoding="utf-8")
        wanted = layout(json.loads(text)) + "\n"
        if wanted != text:
            changed.append(name)
            if not check:
                path.write_text(wanted, encoding="utf-8")
    if check and changed:
        print("not formatted: " + ", ".join(changed) + "; run python .ci/format_json.py on them")
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
