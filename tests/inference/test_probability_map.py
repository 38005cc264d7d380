"""Probability maps of whole runs: values, geometry, files, refusals and the memory that they need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medseg.apps.cli import main
from medseg.geometry import make_affine
from medseg.inference import ConfigurationError, read_bundle, read_case, segment
from medseg.inference.memory import plan_memory
from tests.apps.test_segment import odd_case
from tests.inference._tiny_bundle import CONFIG, THRESHOLD_HU, make_tiny_bundle

BUNDLES = Path(__file__).parents[2] / "bundles"


def probable_bundle(root: Path, threshold: float | None) -> Path:
    """The tiny bundle with a step that makes the mask of probabilities; of one channel with a threshold."""
    single = threshold is not None
    steps: list[dict[str, Any]] = [
        {"_target_": "Activationsd", "keys": "pred", "sigmoid": single, "softmax": not single},
        {
            "_target_": "medseg.transforms.MaskOnSourceGridd",
            "keys": "pred",
            "transform": "@preprocessing",
            "threshold": threshold,
        },
        CONFIG["postprocessing"]["transforms"][-1],
    ]
    inferer = {"_target_": "medseg.inference.ForegroundInferer", "roi_size": [16, 16, 16], "progress": "@progress"}
    changes = {"inferer": inferer} if single else {}
    post = {"_target_": "Compose", "transforms": steps}
    return make_tiny_bundle(root, postprocessing=post, **changes)


def sigmoid(array: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(array.astype(np.float64) - THRESHOLD_HU, -500, 500)))


@pytest.mark.parametrize("threshold", [0.5, None])
@pytest.mark.parametrize("codes", ["RAS", "PSL"])
def test_the_map_is_the_networks_probability_on_the_grid_of_the_case(
    tmp_path: Path, threshold: float | None, codes: str
) -> None:
    array = np.random.default_rng(0).integers(95, 106, (12, 11, 10)).astype(np.int16)
    bundle = probable_bundle(tmp_path / "bundle", threshold)
    affine = make_affine((2.0, 2.0, 3.0), (1.0, 2.0, 3.0), codes)
    result = segment(array, bundle, affine_ras=affine, probability_map=True, cropped=True)
    assert result.probability is not None
    assert (result.probability.shape, result.probability.dtype) == ((1, 12, 11, 10), np.uint8)
    np.testing.assert_allclose(result.probability[0] / 255, sigmoid(array), atol=0.5 / 255 + 1e-4)
    assert not result.probability.flags.writeable
    assert segment(array, bundle, affine_ras=affine, cropped=True).probability is None


def test_the_file_holds_probabilities_from_0_to_1_with_the_geometry_of_the_image(tmp_path: Path) -> None:
    case, out = odd_case(tmp_path / "case.nii.gz"), tmp_path / "out"
    bundle = probable_bundle(tmp_path / "bundle", 0.5)
    words = ["segment", "-i", str(case), "-o", str(out), "--bundle", str(bundle), "--device", "cpu", "--quiet"]
    assert main([*words, "--probability-map"]) == 0
    source, found = nib.load(case), nib.load(out / "probability.nii.gz")
    assert found.header.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(found.affine, source.affine)
    for field in ("sform_code", "qform_code", "srow_x", "quatern_b", "pixdim", "xyzt_units"):
        np.testing.assert_array_equal(found.header[field], source.header[field], err_msg=field)
    expected = sigmoid(np.asarray(source.dataobj))
    np.testing.assert_allclose(found.get_fdata(), expected, atol=0.5 / 255 + 1e-4)
    names = {output["path"] for output in json.loads((out / "run.json").read_text())["outputs"]}
    assert "probability.nii.gz" in names
    assert main([*words, "--overwrite"]) == 0
    assert not (out / "probability.nii.gz").exists()


def test_a_bundle_without_such_a_step_is_refused_before_its_network_runs(tmp_path: Path) -> None:
    array = np.zeros((8, 8, 8), np.int16)
    bundle = make_tiny_bundle(tmp_path / "bundle")
    with pytest.raises(ConfigurationError, match=r"leave --probability-map \(probability_map=True\) out"):
        segment(array, bundle, affine_ras=np.eye(4), cropped=True, probability_map=True)


def test_the_plan_counts_a_byte_for_each_voxel_and_class() -> None:
    case = read_case(np.zeros((200, 200, 200), np.int16), affine_ras=np.eye(4))
    bundle = read_bundle(BUNDLES / "lits_liver_segmentation")
    without, plan = plan_memory(bundle, case), plan_memory(bundle, case, probability_map=True)
    for stage in ("mask", "components"):
        assert plan.stages[stage] - without.stages[stage] == 200**3


def test_several_classes_are_the_fourth_axis_of_the_file(tmp_path: Path) -> None:
    from dataclasses import replace

    array = np.full((5, 6, 7), 100, np.int16)
    result = segment(array, probable_bundle(tmp_path / "bundle", 0.5), affine_ras=np.eye(4), cropped=True)
    maps = np.random.default_rng(0).integers(0, 256, (3, 5, 6, 7)).astype(np.uint8)
    replace(result, probability=maps).save(tmp_path / "out")
    found = nib.load(tmp_path / "out" / "probability.nii.gz")
    assert found.shape == (5, 6, 7, 3)
    np.testing.assert_allclose(found.get_fdata()[..., 1], maps[1] / 255, atol=1e-6)
