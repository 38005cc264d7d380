"""Builds and runs the emulated kernels, and compiles the CUDA sources to cubins with their resource report."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CUDA_SOURCES = ROOT / "medseg" / "csrc" / "cuda"
CEILINGS = HERE / "ceilings.txt"
ARCHITECTURES = ("sm_80", "sm_90")
SHARED_LIMIT = 48 * 1024
FLAVOURS = {
    "library": ["-O1"],
    "thread": ["-DEMULATION_MAIN", "-O1", "-g", "-fsanitize=thread"],
    "address": [
        "-DEMULATION_MAIN",
        "-DEMU_THREADS",
        "-O0",
        "-g",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    ],
}
LINKED = {"library": ["-shared"]}


def compiler() -> str | None:
    """The C++ compiler, or None."""
    return shutil.which(os.environ.get("CXX", "g++"))


def nvcc() -> str | None:
    """nvcc on PATH or in the usual prefix, or None."""
    usual = Path("/usr/local/cuda/bin/nvcc")
    return shutil.which("nvcc") or (str(usual) if usual.exists() else None)


def build_emulation(folder: Path, flavour: str) -> Path:
    """Compiles the files ``emulated_*.cpp`` as a library for ctypes or as a program under a sanitizer."""
    flags = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-fPIC", "-DMEDSEG_CUDA_EMULATION"]
    flags += [f"-I{HERE}", f"-I{CUDA_SOURCES}", *FLAVOURS[flavour]]

    def compile_one(source: Path) -> str:
        target = folder / f"{source.stem}_{flavour}.o"
        run_compiler([*flags, "-c", str(source), "-o", str(target)])
        return str(target)

    with ThreadPoolExecutor(max_workers=2) as pool:
        objects = list(pool.map(compile_one, sorted(HERE.glob("emulated_*.cpp"))))
    target = folder / f"emulated_{flavour}"
    run_compiler([*FLAVOURS[flavour], *LINKED.get(flavour, []), *objects, "-o", str(target), "-pthread"])
    return target


def run_compiler(arguments: Sequence[str]) -> None:
    """Runs the C++ compiler; its message becomes the error."""
    done = subprocess.run([str(compiler()), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the emulation does not compile:\n{done.stderr[-3000:]}")


def run_program(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a sanitizer build; address randomisation is off where possible, old ThreadSanitizers need that."""
    setarch = shutil.which("setarch")
    prefix = (
        [setarch, "-R"]
        if setarch and subprocess.run([setarch, "-R", "true"], capture_output=True).returncode == 0
        else []
    )
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1", "UBSAN_OPTIONS": "print_stacktrace=1"}
    return subprocess.run(
        [*prefix, str(program), *arguments], capture_output=True, text=True, env=environment, timeout=600
    )


class KernelUse(NamedTuple):
    """What ptxas reports for one kernel."""

    kernel: str
    architecture: str
    registers: int
    shared_bytes: int
    spill_bytes: int


def torch_include() -> Path:
    """Folder of torch's headers, found without importing torch."""
    from importlib.util import find_spec

    spec = find_spec("torch")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "include"


def compile_cubin(source: Path, architecture: str, folder: Path) -> list[KernelUse]:
    """Compiles one launcher for one architecture and reads ptxas's report."""
    command = [
        str(nvcc()),
        "-cubin",
        f"-arch={architecture}",
        "-std=c++20",
        "-O3",
        "-Xptxas",
        "-v,-warn-spills",
        "-DUSE_CUDA",
    ]
    command += ["-DTORCH_TARGET_VERSION=0x020a000000000000", "-DPy_LIMITED_API=0x030a0000", f"-I{torch_include()}"]
    command += [str(source), "-o", str(folder / f"{source.stem}.{architecture}.cubin")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"nvcc failed on {source.name} for {architecture}:\n{done.stderr[-3000:]}")
    return parse_report(done.stdout + done.stderr, architecture)


def parse_report(text: str, architecture: str) -> list[KernelUse]:
    """Kernel uses of a ``ptxas -v`` report."""
    uses = []
    for block in text.split("Compiling entry function ")[1:]:
        mangled = re.match(r"'(\w+)'", block)
        registers = re.search(r"Used (\d+) registers", block)
        if mangled is None or registers is None:
            raise RuntimeError(f"unexpected ptxas report: {block[:200]}")
        shared = re.search(r"(\d+) bytes smem", block)
        spills = sum(int(n) for n in re.findall(r"(\d+) bytes spill", block))
        name = kernel_name(mangled.group(1))
        uses.append(
            KernelUse(name, architecture, int(registers.group(1)), int(shared.group(1)) if shared else 0, spills)
        )
    return uses


def kernel_name(mangled: str) -> str:
    """``name<arguments>`` of a mangled kernel symbol."""
    plain = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True).stdout.strip()
    match = re.search(r"medseg::(\w+(?:<[^(]*>)?)\(", plain)
    if match is None:
        raise RuntimeError(f"{plain} is not a kernel of medseg")
    return match.group(1).replace(" ", "")


def read_ceilings() -> dict[tuple[str, str], int]:
    """Register ceilings by (kernel, architecture)."""
    ceilings = {}
    for line in CEILINGS.read_text().splitlines():
        if line and not line.startswith("#"):
            kernel, architecture, registers = line.split()
            ceilings[kernel, architecture] = int(registers)
    return ceilings


def violations(uses: Sequence[KernelUse], ceilings: dict[tuple[str, str], int]) -> list[str]:
    """One sentence for every broken limit."""
    found = []
    for use in uses:
        label = f"{use.kernel} on {use.architecture}"
        ceiling = ceilings.get((use.kernel, use.architecture))
        if ceiling is None:
            found.append(f"{label} uses {use.registers} registers and has no line in {CEILINGS.name}")
        elif use.registers > ceiling:
            found.append(f"{label} uses {use.registers} registers, ceiling {ceiling}")
        if use.spill_bytes:
            found.append(f"{label} spills {use.spill_bytes} bytes")
        if use.shared_bytes > SHARED_LIMIT:
            found.append(f"{label} uses {use.shared_bytes} bytes of shared memory, limit {SHARED_LIMIT}")
    return found


def compile_all_cubins(folder: Path) -> list[KernelUse]:
    """Every kernel of every launcher, once for each architecture."""
    jobs = [(source, architecture) for source in sorted(CUDA_SOURCES.glob("*.cu")) for architecture in ARCHITECTURES]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        found = list(pool.map(lambda job: compile_cubin(*job, folder), jobs))
    return sorted({(use.kernel, use.architecture): use for uses in found for use in uses}.values())
