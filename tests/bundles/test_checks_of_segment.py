"""What ``medseg segment`` refuses, a bundle that MONAI runs refuses as well, in the same words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medseg.inference import read_case
from medseg.inference.errors import IntegrityError
from medseg.io.bounded.one_line import refusal_of
from medseg.io.bounded.remedies import fit_remedies
from tests.bundles.conftest import TrainedBundle, ball_scan, workflow
from tests.bundles.test_runs import data_set, files_of

Change = Callable[[nib.Nifti1Image], object]


def scan(path: Path, change: Change, slices: slice = slice(None)) -> Path:
    image = nib.Nifti1Image(ball_scan()[0][:, :, slices], np.diag([1.0, 1.0, 2.0, 1.0]))
    image.set_qform(None, code=0)
    change(image)
    nib.save(image, path)
    return path


def overwrite_header(path: Path, **fields: Any) -> Path:
    """Change fields that nibabel itself would correct when it writes."""
    raw = bytearray(path.read_bytes())
    header = nib.Nifti1Header(bytes(raw[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    raw[:348] = header.binaryblock
    path.write_bytes(bytes(raw))
    return path


BAD: dict[str, Callable[[Path], Path]] = {
    "no orientation": lambda path: overwrite_header(scan(path, lambda image: None), sform_code=0, qform_code=0),
    "one slice": lambda path: scan(path, lambda image: None, slice(3, 4)),
    "unit": lambda path: scan(path, lambda image: image.header.set_xyzt_units("meter")),
    "damaged code": lambda path: overwrite_header(scan(path, lambda image: None), sform_code=9),
    "negative spacing": lambda path: overwrite_header(scan(path, lambda image: None), pixdim=[1, 1, 1, -2, 0, 0, 0, 0]),
    "flat grid": lambda path: overwrite_header(scan(path, lambda image: None), srow_x=[0, 0, 0, 0]),
    "bits": lambda path: overwrite_header(scan(path, lambda image: None), bitpix=8),
    "complex": lambda path: overwrite_header(scan(path, lambda image: None), datatype=32, bitpix=64),
    "more than the file": lambda path: overwrite_header(
        scan(path, lambda image: None), dim=[3, 4000, 40, 40, 1, 1, 1, 1]
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_header_that_segment_refuses_gets_no_mask(infer: Callable[..., Any], tmp_path: Path, kind: str) -> None:
    path = BAD[kind](tmp_path / "odd.nii")
    with pytest.raises(IntegrityError) as expected:
        read_case(path)
    with pytest.raises(RuntimeError) as caught:
        infer(input_files=[str(path)], output_dir=tmp_path / "out")
    line = refusal_of(caught.value)
    assert line == fit_remedies(str(expected.value), ())
    assert line.startswith(f"{path}: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("spoil", ["image", "label"])
@pytest.mark.parametrize("configs", [["train.json"], ["inference.json", "evaluate.json"]], ids=["train", "evaluate"])
def test_training_and_evaluation_refuse_such_an_image_or_label(
    trained: TrainedBundle, tmp_path: Path, spoil: str, configs: list[str]
) -> None:
    case = {key: str(trained.dataset_dir / f"{key}s" / "other.nii.gz") for key in ("image", "label")}
    case[spoil] = str(BAD["no orientation"](tmp_path / "odd.nii"))
    data = data_set(tmp_path / "set", trained.dataset_dir, training=[case], validation=[case])
    values = {"bundle_root": tmp_path / "run", "weights": trained.root / "models" / "model.pt", "epochs": 1}
    if configs == ["train.json"]:
        values.pop("weights")
    kind = "train" if configs == ["train.json"] else "infer"
    run = workflow(trained.name, configs, kind, dataset_dir=data, **values)
    run.initialize()
    with pytest.raises(RuntimeError) as caught:
        run.run()
    assert (refusal_of(caught.value) or "").startswith(f"{tmp_path}/odd.nii: sform and qform codes are both 0")


def test_statements_that_contradict_each_other_are_named_or_refused(
    infer: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = scan(tmp_path / "odd.nii.gz", lambda image: image.set_qform(np.diag([1.0, 1.0, 3.0, 1.0]), code=1))
    (warning,) = [line for line in read_case(path).warnings if "sform" in line]
    infer(input_files=[str(path)], output_dir=tmp_path / "out")
    assert [r.getMessage() for r in caplog.records if "sform" in r.getMessage()] == [f"{path}: {warning}"]
    assert files_of(tmp_path / "out") == ["odd_seg.nii.gz"]
    with pytest.raises(RuntimeError) as caught:
        infer(input_files=[str(path)], output_dir=tmp_path / "refused", on_header_doubt="refuse")
    assert refusal_of(caught.value) == f"{path}: {warning}"
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize("place", [None, 3000], ids=["cut off", "one wrong byte"])
def test_damaged_voxels_get_no_mask(infer: Callable[..., Any], tmp_path: Path, place: int | None) -> None:
    path = scan(tmp_path / "odd.nii.gz", lambda image: None)
    content = bytearray(path.read_bytes())
    if place is None:
        del content[-200:]
    else:
        content[place] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError) as expected:
        read_case(path)
    with pytest.raises(RuntimeError) as caught:
        infer(input_files=[str(path)], output_dir=tmp_path / "out")
    assert refusal_of(caught.value) == str(expected.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("configs", [["train.json"], ["inference.json", "evaluate.json"]], ids=["train", "evaluate"])
def test_a_label_on_another_grid_stops_training_and_evaluation_unless_the_user_says_what_is_right(
    trained: TrainedBundle, tmp_path: Path, configs: list[str]
) -> None:
    case = {key: str(trained.dataset_dir / f"{key}s" / "other.nii.gz") for key in ("image", "label")}
    label = nib.load(case["label"])
    moved = label.affine.copy()
    moved[0, 3] += 7
    case["label"] = str(tmp_path / "moved.nii.gz")
    nib.save(nib.Nifti1Image(np.asanyarray(label.dataobj), moved), case["label"])
    data = data_set(tmp_path / "set", trained.dataset_dir, training=[case], validation=[case])
    values: dict[str, Any] = {"dataset_dir": data, "bundle_root": tmp_path / "run", "epochs": 1}
    if configs != ["train.json"]:
        values["weights"] = trained.root / "models" / "model.pt"
    kind = "train" if configs == ["train.json"] else "infer"
    run = workflow(trained.name, configs, kind, **values)
    run.initialize()
    with pytest.raises(RuntimeError) as caught:
        run.run()
    line = refusal_of(caught.value) or ""
    assert line.startswith(f"{tmp_path}/moved.nii.gz: ")
    assert "7.000 mm apart" in line
    run = workflow(trained.name, configs, kind, label_policy="copy_from_image", **values)
    run.initialize()
    run.run()
