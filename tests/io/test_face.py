"""`medseg.io` gives users its names one by one, without loading what they do not use."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import medseg.io
from medseg.datasets.phantom.ct_writer import write_ct_series

PACKAGE = Path(medseg.io.__file__).resolve().parent
CALLED_BY_USERS = {
    "list_series",
    "load_weights",
    "read_image",
    "read_nifti",
    "read_rtstruct",
    "read_seg",
    "read_series",
    "read_source",
    "save_weights",
    "write_image",
    "write_rtstruct",
    "write_seg",
}
HEAVY = {"torch", "monai", "itk", "SimpleITK", "highdicom"}


def loaded_by(code: str, *arguments: object) -> set[str]:
    """Top-level modules that a fresh interpreter holds after it ran some code."""
    report = "import json, sys\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{report}", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parents[1])},
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def ct_folder(tmp_path: Path) -> Path:
    image = np.arange(5 * 4 * 3).reshape(5, 4, 3)
    affine = np.diag([0.5, 0.5, 2.0, 1.0])
    return write_ct_series(tmp_path / "ct", image, affine, patient_id="P", series_description="synthetic").folder


def test_it_offers_the_readers_and_writers_their_types_and_the_error() -> None:
    functions = {name for name in medseg.io.__all__ if not isinstance(getattr(medseg.io, name), type)}
    assert functions == CALLED_BY_USERS
    assert issubclass(medseg.io.DataError, ValueError)


@pytest.mark.parametrize("name", medseg.io.__all__)
def test_each_name_is_defined_under_the_same_name_in_a_folder_of_the_package(name: str) -> None:
    member = getattr(medseg.io, name)
    assert member.__name__ == name
    assert member.__module__.startswith("medseg.io.")
    assert getattr(sys.modules[member.__module__], name) is member


def test_type_checkers_see_the_names_that_the_program_sees() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in guarded.body if isinstance(node, ast.ImportFrom)]
    seen = {(str(node.module), alias.name) for node in imports for alias in node.names}
    assert seen == {(getattr(medseg.io, name).__module__, name) for name in medseg.io.__all__}


def test_dir_lists_the_names_before_they_are_used() -> None:
    assert set(medseg.io.__all__) <= set(dir(medseg.io))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'medseg\.io' has no attribute 'read_everything'"):
        medseg.io.read_everything  # noqa: B018


def test_importing_the_package_loads_no_library() -> None:
    assert not loaded_by("import medseg.io") & {*HEAVY, "numpy", "nibabel", "pydicom", "scipy"}


def test_reading_an_image_loads_neither_torch_nor_itk(tmp_path: Path) -> None:
    path = medseg.io.write_image(tmp_path / "a.nii.gz", np.zeros((4, 3, 2), np.int16), np.eye(4))
    assert "nibabel" in (loaded := loaded_by("import medseg.io; medseg.io.read_nifti(sys.argv[1])", path))
    assert not loaded & HEAVY
    assert not loaded_by("import medseg.io; medseg.io.read_image(sys.argv[1])", path) & HEAVY


def test_reading_a_ct_series_loads_neither_torch_nor_itk(ct_folder: Path) -> None:
    code = (
        "import medseg.io as io; io.list_series(sys.argv[1]); io.read_series(sys.argv[1]); io.read_source(sys.argv[1])"
    )
    assert "pydicom" in (loaded := loaded_by(code, ct_folder))
    assert not loaded & HEAVY


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_reading_a_result_loads_neither_torch_nor_itk(ct_folder: Path, tmp_path: Path, kind: str) -> None:
    if kind == "seg":
        pytest.importorskip("highdicom")
    source = medseg.io.read_source(ct_folder)
    mask = np.zeros(source.shape, np.uint8)
    mask[1:3, 1:3, 1] = 1
    write: dict[str, Callable[..., object]] = {"seg": medseg.io.write_seg, "rtstruct": medseg.io.write_rtstruct}
    write[kind](tmp_path / "a.dcm", mask, source.affine_ras, source, {1: "liver"})
    code = f"from medseg.io import read_{kind}, read_source; read_{kind}(sys.argv[1], read_source(sys.argv[2]))"
    assert not loaded_by(code, tmp_path / "a.dcm", ct_folder) & HEAVY


def test_weights_load_torch_only_when_they_are_used() -> None:
    assert "torch" in loaded_by("from medseg.io import load_weights")
    assert "torch" not in loaded_by("from medseg.io import read_series, write_rtstruct")
