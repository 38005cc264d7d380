"""The parts of a plain bundle give what its engine gives, without files."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from medseg.geometry import make_affine
from medseg.inference.bundle import read_bundle
from medseg.inference.bundle_parts import is_plain, run_parts
from medseg.inference.bundle_runner import overrides_for, read_mask, run_bundle
from medseg.inference.case import read_case
from medseg.inference.errors import ConfigurationError
from medseg.io.volumes.nifti import write_nifti
from tests.bundles.conftest import BUNDLES, NAMES, SMALL, ball_scan, read_config
from tests.inference._tiny_bundle import CONFIG, make_tiny_bundle


def changed(**changes: Any) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    for place, value in changes.items():
        *parents, last = place.split("__")
        target = config
        for key in parents:
            target = target[key]
        target[last] = value
    return config


@pytest.mark.parametrize("name", NAMES)
def test_both_bundles_are_plain(name: str) -> None:
    assert is_plain(ConfigParser(read_config(name, "inference.json")))
    assert is_plain(ConfigParser(CONFIG))


@pytest.mark.parametrize(
    "config",
    [
        changed(run=["$print('first')", "$@evaluator.run()"]),
        changed(handlers=[{"_target_": "StatsHandler"}]),
        changed(evaluator___target_="EnsembleEvaluator"),
        changed(evaluator__network="$@network.half()"),
        changed(evaluator__metric_cmp_fn="$max"),
        changed(dataset__transform=None),
        changed(preprocessing="$my_transforms()"),
        changed(preprocessing__transforms=[]),
        changed(postprocessing__transforms=CONFIG["postprocessing"]["transforms"][:-1]),
        {key: value for key, value in CONFIG.items() if key != "evaluator"},
    ],
)
def test_what_does_more_than_its_parts_is_left_to_the_engine(config: dict[str, Any]) -> None:
    assert not is_plain(ConfigParser(config))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR"])
@pytest.mark.parametrize("name", NAMES)
def test_parts_and_engine_give_the_same_mask_bit_for_bit(tmp_path: Path, name: str, codes: str) -> None:
    image, _ = ball_scan()
    path = write_nifti(tmp_path / "case.nii.gz", image, make_affine((2.2, 1.7, 2.9), (-20.0, 31.5, 7.0), codes))
    torch.manual_seed(0)
    overrides: dict[str, Any] = {
        **SMALL,
        "bundle_root": str(BUNDLES / name),
        "input_files": [str(path)],
        "output_dir": str(tmp_path),
        "output_name": "seg",
        "progress": False,
        "initialize": [],
        "on_hu_doubt": "ignore",
        "network": "$(torch.manual_seed(0), @network_def)[1]",
    }
    workflow = ConfigWorkflow(
        config_file=str(BUNDLES / name / "configs" / "inference.json"),
        meta_file=str(BUNDLES / name / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type="infer",
        **overrides,
    )
    state = workflow.parser.get_parsed_content("network").state_dict()
    workflow.initialize()
    workflow.run()
    bundle, case = read_bundle(BUNDLES / name), read_case(path)
    engine = read_mask(tmp_path / "seg.nii.gz", bundle, case)

    again = ConfigParser(read_config(name, "inference.json"))
    again.update(overrides)
    again.get_parsed_content("network").load_state_dict(state)
    parts = run_parts(again, case)
    assert parts.dtype == np.uint8
    assert 0 < parts.sum() < parts.size
    np.testing.assert_array_equal(parts, engine)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.uint16, np.int32, np.float32])
def test_stored_types_give_the_mask_of_the_file(tmp_path: Path, dtype: type) -> None:
    array = np.random.default_rng(0).integers(0, 250, (12, 11, 10)).astype(dtype)
    bundle = read_bundle(make_tiny_bundle(tmp_path / "bundle"))
    case = read_case(array, affine_ras=np.diag([-2.0, 2.0, 3.0, 1.0]))
    mask = run_bundle(bundle, case, bundle.root / "models" / "model.pt", "cpu", tmp_path, progress=False)
    np.testing.assert_array_equal(mask, array > 100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]  # no file was made


def test_bfloat16_changes_borders_alone_and_is_refused_where_an_engine_decides(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(90, 111, (12, 11, 10)).astype(np.int16)
    array[0, 0, 0], array[0, 0, 1] = 0, 250
    case = read_case(array, affine_ras=np.eye(4))
    plain = read_bundle(make_tiny_bundle(tmp_path / "bundle"))
    weights = plain.root / "models" / "model.pt"
    mask = run_bundle(plain, case, weights, "cpu", tmp_path, precision="bfloat16")
    differ = mask != (array > 100)  # near 100, bfloat16 has steps of 0.5, and of 1 after the subtraction
    assert (np.abs(array[differ] - 100) <= 1).all()
    other = read_bundle(make_tiny_bundle(tmp_path / "other", run=["$@evaluator.run()", "$print('done')"]))
    with pytest.raises(ConfigurationError, match=r"its own engine sets the precision; leave --precision .* out"):
        run_bundle(other, case, weights, "cpu", tmp_path, precision="bfloat16")


def test_a_bundle_with_an_engine_of_its_own_gets_files(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 250, (12, 11, 10)).astype(np.int16)
    steps = ["$@evaluator.run()", "$print('done')"]
    bundle = read_bundle(make_tiny_bundle(tmp_path / "bundle", run=steps))
    case = read_case(array, affine_ras=np.diag([-2.0, 2.0, 3.0, 1.0]))
    assert overrides_for(bundle, tmp_path / "image.nii", tmp_path, tmp_path, "cpu")["input_files"]
    mask = run_bundle(bundle, case, bundle.root / "models" / "model.pt", "cpu", tmp_path, progress=False)
    np.testing.assert_array_equal(mask, array > 100)
    assert (tmp_path / "image.nii").is_file()
