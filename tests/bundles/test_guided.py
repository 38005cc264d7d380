"""Guides of a user, texture maps and patches around clicks reach a guided network through the configuration."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow

from medseg.inference.bundle_parts import is_plain
from medseg.io.bounded.one_line import refusal_of
from medseg.layers.guidance import Guidance
from medseg.layers.guidance.guidance import as_guidance
from tests.bundles.conftest import BUNDLES, NAMES, SMALL, data_of_phantoms, history

GUIDED = Path(__file__).resolve().parents[2] / "examples" / "guided"
SMALL_GUIDED: dict[str, Any] = {
    **{key: value for key, value in SMALL.items() if "network_def" not in key},
    "network_def::channels": [4, 8, 8],
    "pixdim": [1.0] * 3,
    "cropped": True,
}
FEW_PATCHES = {"click_sides": [8, 16], "click_size": 8}
KINDS = {"clicks": FEW_PATCHES, "texture": {}}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two synthetic balls of 48^3 voxels, of 1 mm; one of them is validated, too."""
    return data_of_phantoms(tmp_path_factory.mktemp("phantoms"), side=48, spacing_mm=1.0)


def run(bundle: str, configs: list[str], overlay: str, kind: str, **values: Any) -> Any:
    files = [str(BUNDLES / bundle / "configs" / config) for config in configs] + [str(GUIDED / overlay)]
    texts = {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}
    return ConfigWorkflow(files, workflow_type=kind, logging_file=False, **{**SMALL_GUIDED, **texts})


def watched(work: Any) -> list[tuple[Guidance, torch.Size]]:
    """What the network of an initialised workflow is given in every call: guidance and shape of the image."""
    seen: list[tuple[Guidance, torch.Size]] = []
    work.parser.get_parsed_content("network").register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((as_guidance("test", kwargs.get("guidance")), args[0].shape)),
        with_kwargs=True,
    )
    return seen


def trained(
    bundle: str, kind: str, phantoms: Path, root: Path, **values: Any
) -> tuple[Any, list[tuple[Guidance, torch.Size]]]:
    options = {"epochs": 2, "val_interval": 2, "patches_per_image": 2, "dataset_dir": phantoms, "bundle_root": root}
    work = run(bundle, ["train.json"], f"{kind}_train.json", "train", **{**options, **KINDS[kind], **values})
    work.initialize()
    seen = watched(work)
    work.run()
    work.finalize()
    return work, seen


def position(path: Path, voxel: tuple[float, ...] | None = None) -> list[float]:
    """The position in RAS, in mm, of a voxel, or of the middle of a label."""
    image = nib.load(path)
    place = np.argwhere(np.asanyarray(image.dataobj) > 0).mean(0) if voxel is None else np.array(voxel)
    return [float(v) for v in image.affine[:3, :3] @ place + image.affine[:3, 3]]


def infer(
    bundle: str, kind: str, phantoms: Path, root: Path, out: str, **values: Any
) -> list[tuple[Guidance, torch.Size]]:
    options = {"dataset_dir": phantoms / "images", "bundle_root": root, "output_dir": root / out, "progress": False}
    work = run(bundle, ["inference.json"], f"{kind}_inference.json", "infer", **{**options, **KINDS[kind], **values})
    work.initialize()
    assert not is_plain(work.parser)
    seen = watched(work)
    work.run()
    assert len(list((root / out).glob("*_seg.nii.gz"))) == 2
    return seen


def prompts_file(phantoms: Path, path: Path, **changes: Any) -> Path:
    clicks = {f"ball_{n}.nii.gz": [[1, *position(phantoms / "labels" / f"ball_{n}.nii.gz")]] for n in (0, 1)}
    path.write_text(json.dumps({**clicks, **changes}))
    return path


@pytest.mark.parametrize("bundle", NAMES)
def test_clicks_reach_a_network_as_a_guide_map_and_as_patches(bundle: str, phantoms: Path, tmp_path: Path) -> None:
    _, seen = trained(bundle, "clicks", phantoms, tmp_path)
    assert 0 <= (history(tmp_path)[1]["score"] or 0) <= 1
    for known, shape in seen:
        assert known.appearance is not None and known.appearance.shape == (shape[0], 2, 8, 8, 8)
        assert known.spatial is not None and known.spatial.shape == (shape[0], 2, *shape[2:])
        assert known.guided is not None and known.guided.shape == shape[:1]
    assert any(known.guided.any() for known, _ in seen) and not all(known.guided.all() for known, _ in seen[:4])
    assert max(float(known.spatial.max()) for known, _ in seen) > 0.99

    click = position(phantoms / "images" / "ball_0.nii.gz", (6, 40, 24))
    clicks = prompts_file(phantoms, tmp_path / "prompts.json", **{"ball_0.nii.gz": [[1, *click]]})
    windows = infer(bundle, "clicks", phantoms, tmp_path, "seg", prompts_file=clicks)
    assert all(shape[2:] == (32, 32, 32) and bool(known.guided.all()) for known, shape in windows)
    # The guide is near 1 in the windows around the click, and near 0 in windows far from it.
    peaks = torch.cat([known.spatial[:, 0].flatten(1).amax(1) for known, _ in windows])[:8]
    assert (peaks > 0.95).sum() == 2 and (peaks < 0.1).sum() == 6
    assert all(float(known.spatial[:, 1].max()) == 0 for known, _ in windows)


@pytest.mark.parametrize("bundle", NAMES)
def test_maps_of_texture_reach_a_network_in_training_and_inference(bundle: str, phantoms: Path, tmp_path: Path) -> None:
    work, seen = trained(bundle, "texture", phantoms, tmp_path)
    weights = work.parser.get_parsed_content("network").spatial.convs
    assert any(float(conv.weight.detach().abs().max()) > 0 for conv in weights)  # they start at 0
    seen += infer(bundle, "texture", phantoms, tmp_path, "seg")
    for known, shape in seen:
        assert known.spatial is not None and known.spatial.shape == (shape[0], 10, *shape[2:])
        inside = known.spatial[:, :8].sum(1)
        torch.testing.assert_close(inside, torch.ones_like(inside), rtol=0, atol=1e-4)  # a histogram for each voxel
        assert float(known.spatial[:, 8:].std()) > 0.01


def test_texture_goes_over_evaluation_too_and_windows_see_the_maps_of_the_whole_image(
    phantoms: Path, tmp_path: Path
) -> None:
    trained(NAMES[0], "texture", phantoms, tmp_path)
    work = run(
        NAMES[0],
        ["inference.json", "evaluate.json"],
        "texture_inference.json",
        "infer",
        dataset_dir=phantoms,
        bundle_root=tmp_path,
        progress=False,
    )
    work.initialize()
    seen = watched(work)
    work.run()
    assert 0 <= work.parser.get_parsed_content("evaluator").state.metrics["val_mean_dice_nonempty"] <= 1
    (batch,) = list(work.parser.get_parsed_content("dataloader"))
    maps, cut = batch["texture_maps"], seen[0][0].spatial
    assert any(torch.equal(cut[0], maps[0, :, :32, :32, z : z + 32].as_tensor()) for z in (0, 8, 16))


def test_an_image_without_prompts_and_a_missing_file_are_one_line(phantoms: Path, tmp_path: Path) -> None:
    trained(NAMES[0], "clicks", phantoms, tmp_path, epochs=1, val_interval=1)
    clicks = prompts_file(phantoms, tmp_path / "prompts.json", **{"ball_1.nii.gz": []})
    windows = infer(NAMES[0], "clicks", phantoms, tmp_path, "none", prompts_file=clicks)
    assert {bool(known.guided.all()) for known, _ in windows} == {True, False}
    (tmp_path / "one.json").write_text(json.dumps({"ball_0.nii.gz": []}))
    for path, line in (
        ("one.json", "has no prompts for 'ball_1.nii.gz'"),
        ("gone.json", "no such file; write the prompts"),
    ):
        with pytest.raises(RuntimeError) as caught:
            infer(NAMES[0], "clicks", phantoms, tmp_path, "refused", prompts_file=tmp_path / path)
        assert re.search(re.escape(f"{path}: {line}"), refusal_of(caught.value) or "")


def test_training_and_inference_of_an_example_have_the_same_network_and_settings() -> None:
    for kind in KINDS:
        training, inference = (json.loads((GUIDED / f"{kind}_{of}.json").read_text()) for of in ("train", "inference"))
        shared = set(training) & set(inference) - {"prepare_batch"}
        assert "network_def" in shared
        assert {key: training[key] for key in shared} == {key: inference[key] for key in shared}
