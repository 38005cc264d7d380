"""Run the parts of a bundle's inference configuration on an image in memory, without its files and its engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

    from medseg.inference.case import Case

__all__ = ["is_plain", "run_parts"]

_ENGINE = ("SupervisedEvaluator", "monai.engines.SupervisedEvaluator")
_LOADER = ("LoadImaged", "monai.transforms.LoadImaged")
_SAVER = ("medseg.transforms.SaveMaskd", "medseg.transforms.output.save_mask.SaveMaskd")
_PARTS = {
    "device": "@device",
    "val_data_loader": "@dataloader",
    "network": "@network",
    "inferer": "@inferer",
    "postprocessing": "@postprocessing",
}


def is_plain(parser: ConfigParser) -> bool:
    """Whether a configuration does nothing but load, preprocess, infer, postprocess and save, image by image.

    Then its parts alone give its result. What else an engine can do (handlers, metrics, other steps in ``run``) is left
    to the engine.

    Args:
        parser: the configuration with its overrides, not yet parsed.
    """
    config: Mapping[str, Any] = parser.get()
    engine, data = config.get("evaluator"), config.get("dataset")
    first, last = _ends(config)
    return (
        config.get("run") == ["$@evaluator.run()"]
        and config.get("handlers", []) == []
        and isinstance(engine, Mapping)
        and engine.get("_target_") in _ENGINE
        and all(engine.get(key) == value for key, value in _PARTS.items())
        and set(engine) <= {"_target_", "val_handlers", "amp", *_PARTS}
        and isinstance(data, Mapping)
        and data.get("transform") == "@preprocessing"
        and first.get("_target_") in _LOADER
        and first.get("keys") == "image"
        and last.get("_target_") in _SAVER
        and last.get("keys") == "pred"
    )


def _ends(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The first transform of the preprocessing and the last one of the postprocessing; empty where there is none."""
    ends = []
    for key, place in (("preprocessing", 0), ("postprocessing", -1)):
        part = config.get(key)
        transforms = part.get("transforms") if isinstance(part, Mapping) else None
        one = transforms[place] if isinstance(transforms, list) and transforms else None
        ends.append(one if isinstance(one, Mapping) else {})
    return ends[0], ends[1]


def run_parts(parser: ConfigParser, case: Case) -> NDArray[np.uint8]:
    """The mask of a case, by the parts of a plain configuration.

    The image is not read again, and the mask is not written: the loading transform and the saving one are left out.

    Args:
        parser: a configuration for which `is_plain` holds, with its overrides.
        case: the image.

    Returns:
        What the saving transform would have got, ``[i, j, k]``.
    """
    import torch
    from monai.transforms import Compose
    from monai.utils import CommonKeys

    parser.get_parsed_content("initialize")
    preprocessing, postprocessing = (parser.get_parsed_content(key) for key in ("preprocessing", "postprocessing"))
    network, inferer = parser.get_parsed_content("network"), parser.get_parsed_content("inferer")
    device = torch.device(parser.get_parsed_content("device"))
    amp = bool(parser.get_parsed_content("evaluator::amp")) if "amp" in parser["evaluator"] else False
    network.eval()
    data = preprocessing({CommonKeys.IMAGE: _image_of(case)}, start=1)
    with torch.no_grad(), torch.autocast(device.type, enabled=amp):
        pred = inferer(data[CommonKeys.IMAGE][None].to(device), network)
    data[CommonKeys.PRED] = pred[0]
    del pred
    mask = Compose(postprocessing.transforms[:-1])(data)[CommonKeys.PRED]
    return np.asarray(mask.cpu().numpy()[0])


def _image_of(case: Case) -> Any:
    """What MONAI's ``LoadImaged`` gives for the case, without a copy of its voxels."""
    import torch
    from monai.data import MetaTensor
    from monai.utils import MetaKeys, SpaceKeys

    from medseg.transforms._arrays import plain_tensor

    affine = torch.as_tensor(np.asarray(case.affine_ras, dtype=np.float64))
    meta = {
        "filename_or_obj": str(case.source or "image"),
        MetaKeys.ORIGINAL_AFFINE: affine.numpy().copy(),
        MetaKeys.SPATIAL_SHAPE: np.asarray(case.array.shape),
        MetaKeys.SPACE: SpaceKeys.RAS,
    }
    return MetaTensor(plain_tensor(case.array)[None], affine=affine, meta=meta)
