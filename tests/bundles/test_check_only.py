"""Properties of the workflows: complete with data, complete without them in a check, and one line otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medseg.io.bounded.one_line import refusal_of
from tests.bundles.conftest import TrainedBundle, workflow

FORMS = {
    "train": (["train.json"], "train"),
    "inference": (["inference.json"], "infer"),
    "evaluate": (["inference.json", "evaluate.json"], "infer"),
    "evaluate over train": (["train.json", "evaluate.json"], "train"),
}


@pytest.mark.parametrize("form", FORMS)
def test_without_data_and_weights_the_property_check_passes_and_nothing_runs(
    bundle: str, tmp_path: Path, form: str
) -> None:
    configs, kind = FORMS[form]
    run = workflow(bundle, configs, kind, bundle_root=tmp_path, dataset_dir=tmp_path / "gone", check_only=True)
    run.initialize()
    assert run.check_properties() == []
    with pytest.raises(RuntimeError) as caught:
        run.run()
    assert (refusal_of(caught.value) or "").startswith("check_only is True")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMS)
def test_without_data_one_line_names_the_missing_place(trained: TrainedBundle, tmp_path: Path, form: str) -> None:
    configs, kind = FORMS[form]
    weights = {} if form == "train" else {"weights": trained.root / "models" / "model.pt"}
    run = workflow(trained.name, configs, kind, bundle_root=tmp_path, dataset_dir=tmp_path / "gone", **weights)
    with pytest.raises(RuntimeError) as caught:
        run.initialize()
        run.run()
    name = "gone: no such folder" if form == "inference" else "gone/dataset.json: no such file"
    assert (refusal_of(caught.value) or "").startswith(f"{tmp_path}/{name}")


@pytest.mark.parametrize("form", ["inference", "evaluate", "evaluate over train"])
def test_without_weights_one_line_names_the_missing_file(trained: TrainedBundle, tmp_path: Path, form: str) -> None:
    configs, kind = FORMS[form]
    run = workflow(trained.name, configs, kind, bundle_root=tmp_path, dataset_dir=trained.dataset_dir)
    with pytest.raises(RuntimeError) as caught:
        run.initialize()
    assert (refusal_of(caught.value) or "").startswith(f"{tmp_path}/models/model.pt: no weights there")


def test_evaluation_over_the_training_configuration_gives_the_same_score(
    trained: TrainedBundle, infer: Callable[..., Any], tmp_path: Path
) -> None:
    values = {"bundle_root": trained.root, "dataset_dir": trained.dataset_dir, "progress": False}
    over_train = workflow(trained.name, ["train.json", "evaluate.json"], "train", output_dir=tmp_path / "zoo", **values)
    over_train.initialize()
    assert over_train.check_properties() == []
    over_train.run()
    over_inference = infer(["inference.json", "evaluate.json"], output_dir=tmp_path / "ours")
    scores = [
        run.parser.get_parsed_content("evaluator").state.metrics["val_mean_dice_nonempty"]
        for run in (over_train, over_inference)
    ]
    assert scores[0] == scores[1] > 0
    masks = [(tmp_path / name / "other_seg.nii.gz").read_bytes() for name in ("zoo", "ours")]
    assert masks[0] == masks[1]
