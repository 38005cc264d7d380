"""The code and the command of docs/lightning.md run as they are printed, on synthetic data and with small patches."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow

from tests.bundles.conftest import BUNDLES, SMALL, data_of_phantoms, single_thread
from tests.bundles.test_docs import options

pytest.importorskip("pytorch_lightning", reason="needs the extra lightning")

PAGE = (BUNDLES.parent / "docs" / "lightning.md").read_text()


def test_the_printed_code_and_command_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import medseg.training.lightning as lightning

    (tmp_path / "bundles").symlink_to(BUNDLES)
    data_of_phantoms(tmp_path / "data" / "liver", side=40, spacing_mm=1.0)
    monkeypatch.chdir(tmp_path)
    small: dict[str, Any] = {**SMALL, "pixdim": [1.0] * 3, "cropped": True}
    run = lightning.training_workflow
    quick = {"patches_per_image": 1, "learning_rate": 0.001, **small}
    monkeypatch.setattr(lightning, "training_workflow", lambda file, **values: run(file, **{**quick, **values}))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    code = code.replace(
        "max_epochs=20, check_val_every_n_epoch=5", "max_epochs=2, check_val_every_n_epoch=1, logger=False"
    )
    (command,) = (shlex.split(block) for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL))
    printed = options(command)
    file = printed.pop("config_file")
    printed["output_dir"] = "masks"
    with single_thread():
        exec(compile(code, "lightning.md", "exec"), {})
        work = ConfigWorkflow(
            file, workflow_type="infer", logging_file=False, **{**small, **printed, "progress": False}
        )
        work.initialize()
        work.run()
    assert len(list(Path("masks").glob("*_seg.nii.gz"))) == 2
