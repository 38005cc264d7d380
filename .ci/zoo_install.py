"""Install what a model zoo installs for every bundle, in a fresh environment, with medseg from a folder of wheels.

    pip wheel . --no-deps --no-build-isolation -w wheels
    python .ci/zoo_install.py wheels [--dry-run]

A zoo makes the list from ``metadata.json``: the versions of MONAI, torch and NumPy and ``required_packages_version``.
It takes minutes and downloads torch, so it is run by hand before a release.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLAIN = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}


def requirements(metadata: Path) -> list[str]:
    """The pinned packages of one bundle."""
    content = json.loads(metadata.read_text())
    pins = {name: content[key] for name, key in PLAIN.items()} | content["required_packages_version"]
    return [f"{name}=={version}" for name, version in pins.items()]


def main(arguments: list[str]) -> int:
    """Install the lists of all bundles one after the other; 0 if pip accepts all of them."""
    wheels, more = arguments[0], arguments[1:]
    for metadata in sorted(ROOT.glob("bundles/*/configs/metadata.json")):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            command = [f"{folder}/bin/pip", "install", *more, "--find-links", wheels, *requirements(metadata)]
            print(" ".join(command[1:]), flush=True)
            if subprocess.run(command, check=False).returncode:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
