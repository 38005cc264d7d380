"""``medseg doctor``: which software, compiled ops, DICOM decoders and devices this machine has."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import warnings
from pathlib import Path
from typing import Any

from medseg.inference.memory import available_memory
from medseg.io.bounded.atomic import json_text

__all__ = ["EXTRAS", "REQUIRED", "examine", "main"]

REPORT_SCHEMA_VERSION = 1

# The same requirements as in pyproject.toml: medseg may run from a checkout, where no installed metadata exist.
REQUIRED = (
    "torch>=2.10",
    "monai>=1.6.1,<1.8",
    "numpy>=1.26,<3",
    "scipy>=1.11",
    "scikit-image>=0.22",
    "nibabel>=5.2",
    "pydicom>=3.0.2",
    "matplotlib>=3.8",
    "tqdm>=4.66",
)
EXTRAS = {
    "bundle": ("fire>=0.5", "pytorch-ignite>=0.5.1", "pyyaml>=6", "jsonschema>=4.20", "tensorboard>=2.15"),
    "fast": ("isal>=1.6",),
    "dicom": ("pylibjpeg>=2.0", "pylibjpeg-libjpeg>=2.1", "pylibjpeg-openjpeg>=2.3", "pylibjpeg-rle>=2.0"),
    "lidc": ("pylidc>=0.2.3",),
    "itk": ("itk>=5.4", "SimpleITK>=2.5.7"),
    "seg": ("highdicom>=0.28,<1",),
    "dask": ("distributed>=2024.8",),
    "safetensors": ("safetensors>=0.4",),
    "lightning": ("pytorch-lightning>=2.5,<3",),
    "nnunet": ("nnunetv2>=2.8,<3",),
}


def main(args: argparse.Namespace) -> int:
    """Print the examination, as tables or as JSON (``args.json``).

    Returns:
        0 if everything required works, 1 if not.
    """
    report = examine()
    print(json_text(report) if args.json else _as_text(report))
    return 1 if report["problems"] else 0


def examine() -> dict[str, Any]:
    """Look at the installation.

    Returns:
        A JSON-able dictionary: ``schema_version``, ``medseg``, ``python``, ``platform``, ``packages`` and ``extras``
        (each package with ``version``, ``needs``, ``ok``), ``ops``, ``dicom`` (transfer syntaxes), ``devices``,
        ``problems`` (what is required and does not work) and ``advice`` (what is optional and missing, with the way to
        get it).
    """
    from medseg import __version__

    packages = [_package(requirement) for requirement in REQUIRED]
    extras = {name: [_package(requirement) for requirement in needed] for name, needed in EXTRAS.items()}
    ops, ops_problem = _ops()
    dicom = _transfer_syntaxes()
    problems = [_complaint(entry) for entry in packages if not entry["ok"]] + ops_problem
    advice = [
        f'{", ".join(entry["name"] for entry in entries if not entry["ok"])}: pip install "medseg[{name}]"'
        for name, entries in extras.items()
        if not all(entry["ok"] for entry in entries)
    ]
    return {
        "schema_version": REPORT_SCHEMA_VERSION,
        "medseg": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "extras": extras,
        "ops": ops,
        "dicom": dicom,
        "devices": _devices(),
        "problems": problems,
        "advice": advice,
    }


def _package(requirement: str) -> dict[str, Any]:
    name, needs = re.fullmatch(r"([A-Za-z0-9_-]+)(.*)", requirement).groups()  # type: ignore[union-attr]
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return {"name": name, "version": None, "needs": needs, "ok": False}
    return {"name": name, "version": version, "needs": needs, "ok": _satisfies(version, needs)}


def _satisfies(version: str, needs: str) -> bool:
    from packaging.specifiers import SpecifierSet

    # The local part (2.13.0+cpu) says how it was built, not which version it is.
    return SpecifierSet(needs).contains(version.partition("+")[0], prereleases=True)


def _complaint(entry: dict[str, Any]) -> str:
    found = f"{entry['version']} is installed" if entry["version"] else "is not installed"
    return f'{entry["name"]} {found}, medseg needs {entry["needs"]}: pip install "{entry["name"]}{entry["needs"]}"'


def _ops() -> tuple[dict[str, Any], list[str]]:
    """Backends of the compiled ops, and what is broken about them."""
    try:
        with warnings.catch_warnings():
            # The table says that plain PyTorch is used; a warning would only repeat it.
            warnings.simplefilter("ignore")
            from medseg.ops import status

            table = status()
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        return {}, [f"medseg.ops does not load ({' '.join(str(error).split())}); rebuild it: pip install -e ."]
    broken = sorted({text for row in table.values() for text in row.values() if text.startswith("load failed")})
    return table, [f"compiled ops: {text}; rebuild them: pip install -e ." for text in broken]


def _transfer_syntaxes() -> list[dict[str, Any]]:
    """Every transfer syntax of images that pydicom knows, whether it can be decoded here and by which plug-ins."""
    try:
        from pydicom.pixels import get_decoder
        from pydicom.uid import AllTransferSyntaxes
    except ImportError:
        return []
    table = []
    for uid in AllTransferSyntaxes:
        try:
            decoder = get_decoder(uid)
        except NotImplementedError:
            # Video, and syntaxes that pydicom cannot decode with any plug-in.
            continue
        missing = [] if decoder.is_available else list(decoder.missing_dependencies)
        plugins = list(decoder.available_plugins) if decoder.is_encapsulated else ["pydicom"]
        row = {"uid": str(uid), "name": uid.name, "decodable": bool(decoder.is_available), "plugins": plugins}
        table.append({**row, "missing": missing})
    return table


def _devices() -> dict[str, Any]:
    devices: dict[str, Any] = {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "ram_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "ram_available_bytes": available_memory(),
        "torch_threads": None,
        "cuda": [],
    }
    try:
        import torch
    except ImportError:
        return devices
    devices["torch_threads"] = torch.get_num_threads()
    for number in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(number)
        capability = f"{facts.major}.{facts.minor}"
        devices["cuda"].append({"name": facts.name, "capability": capability, "memory_bytes": facts.total_memory})
    return devices


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _as_text(report: dict[str, Any]) -> str:
    lines = [f"medseg {report['medseg']}, Python {report['python']}, {report['platform']}", "", "Packages"]
    lines += [_package_line(entry) for entry in report["packages"]]
    for name, entries in report["extras"].items():
        lines += ["", f"Extra: {name}", *(_package_line(entry) for entry in entries)]
    lines += ["", "Compiled ops"]
    lines += [f"  {op:22} cpu: {row['cpu']:12} cuda: {row['cuda']}" for op, row in report["ops"].items()]
    lines += ["", "DICOM transfer syntaxes"]
    for row in report["dicom"]:
        how = ", ".join(row["plugins"]) if row["decodable"] else "needs " + " or ".join(row["missing"])
        lines.append(f"  {'yes' if row['decodable'] else 'no':4} {row['name']} ({how})")
    lines += ["", "Devices", *_device_lines(report["devices"])]
    for heading, entries in (("Missing extras", report["advice"]), ("Problems", report["problems"])):
        if entries:
            lines += ["", heading, *(f"  {entry}" for entry in entries)]
    lines += ["", "Everything required works." if not report["problems"] else "Something required does not work."]
    return "\n".join(lines)


def _package_line(entry: dict[str, Any]) -> str:
    note = "" if entry["ok"] else f"  (needs {entry['needs']})"
    return f"  {entry['name']:22} {entry['version'] or 'missing'}{note}"


def _device_lines(devices: dict[str, Any]) -> list[str]:
    free = devices["ram_available_bytes"]
    lines = [
        f"  CPU   {devices['cpu']}, {devices['cores']} cores, {devices['torch_threads']} torch threads",
        f"  RAM   {devices['ram_bytes'] / 2**30:.1f} GiB" + ("" if free is None else f", {free / 2**30:.1f} GiB free"),
    ]
    for number, gpu in enumerate(devices["cuda"]):
        memory = gpu["memory_bytes"] / 2**30
        lines.append(f"  CUDA  cuda:{number} {gpu['name']}, {memory:.0f} GiB, capability {gpu['capability']}")
    return lines if devices["cuda"] else [*lines, "  CUDA  none"]
