"""Builds the compiled ops: ``medseg._C`` (CPU) and, where a CUDA toolkit is found, ``medseg._C_cuda``.

``MEDSEG_OPS_BUILD=auto|0|1`` (auto: a build that fails prints one line and medseg is installed without it),
``MEDSEG_CUDA=auto|0|1`` (auto: built if nvcc and cuda_runtime.h are there; no CUDA torch and no GPU needed),
``MEDSEG_CUDA_ARCHS`` (default "80;90"; PTX of the last one is always added).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import Extension, setup

try:
    import torch
    from torch.utils import cpp_extension
except ImportError:
    sys.exit("medseg: install torch first, then pip install --no-build-isolation .")

ROOT = Path(__file__).resolve().parent
CSRC = Path("medseg") / "csrc"
DEFINES = ["-DTORCH_TARGET_VERSION=0x020a000000000000"]  # CppExtension itself defines Py_LIMITED_API


def switch(name: str) -> str:
    """Value of a build switch: auto, 0 or 1."""
    value = os.environ.get(name, "auto")
    if value not in ("auto", "0", "1"):
        sys.exit(f"medseg: {name}={value}: use auto, 0 or 1")
    return value


def toolkit_root() -> Path | None:
    """Folder of a CUDA toolkit that has both nvcc and cuda_runtime.h, or None."""
    candidates = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    nvcc = shutil.which("nvcc")
    if nvcc:
        resolved = Path(nvcc).resolve()
        candidates.append(str(resolved.parent.parent))
        if resolved.stat().st_size < 4096:  # a wrapper script: the toolkit it calls is in its text
            candidates += re.findall(r"(/\S+)/bin/nvcc", resolved.read_text(errors="ignore"))
    for candidate in candidates:
        if (
            candidate
            and (Path(candidate) / "bin/nvcc").exists()
            and (Path(candidate) / "include/cuda_runtime.h").exists()
        ):
            return Path(candidate)
    return None


def architectures() -> tuple[list[str], str]:
    """nvcc flags (machine code for every architecture, PTX for the last) and their listing for `medseg.ops.status`."""
    names = [a.strip().replace(".", "") for a in os.environ.get("MEDSEG_CUDA_ARCHS", "80;90").split(";") if a.strip()]
    if not names or not all(re.fullmatch(r"\d{2,3}[af]?", a) for a in names):
        sys.exit(f"medseg: MEDSEG_CUDA_ARCHS={os.environ['MEDSEG_CUDA_ARCHS']}: use a list such as 80;90")
    flags = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in names]
    flags.append(f"-gencode=arch=compute_{names[-1]},code=compute_{names[-1]}")
    listing = ",".join(f"sm_{a}" for a in names) + ",+PTX"
    return flags, listing


def cpu_extension() -> Extension:
    """Schemas and CPU kernels."""
    sources = [CSRC / "bind_cpu.cpp", *sorted((CSRC / "cpu").glob("*.cpp"))]
    extension = cpp_extension.CppExtension(
        "medseg._C",
        [str(s) for s in sources],
        extra_compile_args={"cxx": ["-g0", "-O3", "-std=c++20", "-fvisibility=hidden", *DEFINES]},
        extra_link_args=["-Wl,-s"],
        py_limited_api=True,
    )
    extension.depends = [str(p) for p in sorted(CSRC.rglob("*")) if p.suffix in (".h", ".inc")]
    extension.optional = True
    return extension


def cuda_extension() -> Extension:
    """CUDA kernels; compiled by nvcc in `BuildOps`, linked against what a CPU-only torch has too."""
    extension = Extension(
        "medseg._C_cuda", [str(CSRC / "bind_cuda.cpp")], language="c++", py_limited_api=True, optional=True
    )
    extension.extra_compile_args = {"cxx": ["-g0", "-O3", "-std=c++20", "-fvisibility=hidden"]}
    extension.define_macros = [("MEDSEG_ARCHS", f'"{architectures()[1]}"')]
    extension.libraries = ["torch", "torch_cpu", "cudart_static", "rt", "dl"]
    root = toolkit_root() or Path("/usr/local/cuda")
    runtime = [str(root / "lib64"), *map(str, root.glob("targets/*/lib"))]
    extension.library_dirs = [*cpp_extension.library_paths(), *runtime]
    extension.extra_link_args = ["-Wl,-s"]
    extension.depends = [str(p) for p in sorted(CSRC.rglob("*")) if p.suffix in (".h", ".cuh", ".cu")]
    return extension


def tell(what: str, error: Exception) -> None:
    """Prints the one line about a library that could not be built."""
    reason = str(error).strip().splitlines() or [type(error).__name__]
    print(f"medseg: {what} not built ({reason[0][:200]}); plain PyTorch runs instead", file=sys.stderr)


class BuildOps(cpp_extension.BuildExtension):
    """Compiles .cu files with the toolkit that was found. An optional build may fail."""

    def build_extensions(self) -> None:
        try:
            super().build_extensions()
        except Exception as error:  # before the first file: torch asks the compiler for its version
            if "1" in (switch("MEDSEG_OPS_BUILD"), switch("MEDSEG_CUDA")):
                raise
            tell("the compiled ops are", error)

    def build_extension(self, ext: Extension) -> None:
        cuda = ext.name == "medseg._C_cuda"
        try:
            if cuda:
                ext.extra_objects = self.compile_cuda()
            super().build_extension(ext)
        except Exception as error:
            if switch("MEDSEG_CUDA" if cuda else "MEDSEG_OPS_BUILD") == "1":
                raise
            tell(f"{ext.name} is", error)

    def compile_cuda(self) -> list[str]:
        """Compiles the launchers in parallel and returns their object files."""
        root = toolkit_root()
        if root is None:
            raise RuntimeError("no CUDA toolkit with nvcc and cuda_runtime.h; set CUDA_HOME")
        folder = Path(self.build_temp) / "cuda"
        folder.mkdir(parents=True, exist_ok=True)
        includes = [f"-I{p}" for p in [*cpp_extension.include_paths(), sysconfig.get_paths()["include"]]]
        flags = [
            "-O3",
            "-std=c++20",
            "-DPy_LIMITED_API=0x030a0000",
            "-Xcompiler",
            "-fPIC,-fvisibility=hidden,-g0",
            "-DUSE_CUDA",
            *DEFINES,
        ]

        def compile_one(source: Path) -> str:
            target = folder / (source.stem + ".o")
            headers = [p for p in CSRC.rglob("*") if p.suffix in (".h", ".cuh")]
            if target.exists() and target.stat().st_mtime > max(p.stat().st_mtime for p in [source, *headers]):
                return str(target)
            command = [
                str(root / "bin/nvcc"),
                *flags,
                *architectures()[0],
                *includes,
                "-c",
                str(source),
                "-o",
                str(target),
            ]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(done.stdout + done.stderr, file=sys.stderr)
                raise RuntimeError(f"nvcc failed on {source}")
            return str(target)

        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            return list(pool.map(compile_one, sorted((CSRC / "cuda").glob("*.cu"))))


def extensions() -> list[Extension]:
    """What this machine can build."""
    if switch("MEDSEG_OPS_BUILD") == "0":
        return []
    found = [cpu_extension()]
    cuda = switch("MEDSEG_CUDA")
    if cuda == "1" or (cuda == "auto" and toolkit_root() is not None):
        found.append(cuda_extension())
    return found


def options(modules: list[Extension]) -> dict[str, Any]:
    """The abi3 wheel tag belongs to wheels that hold a library."""
    return {"bdist_wheel": {"py_limited_api": "cp310"}} if modules else {}


if __name__ == "__main__":
    os.chdir(ROOT)
    if tuple(int(v) for v in torch.__version__.split("+")[0].split(".")[:2]) < (2, 10):
        sys.exit(f"medseg: torch {torch.__version__} found, 2.10 or newer is needed")
    modules = extensions()
    setup(ext_modules=modules, cmdclass={"build_ext": BuildOps} if modules else {}, options=options(modules))
