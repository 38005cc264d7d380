"""Run the parts of a bundle's inference configuration on an image in memory, without its files and its engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.geometry import foreground_box

if TYPE_CHECKING:
    from monai.bundle import ConfigParser
    from monai.data import MetaTensor

    from medseg.inference.case import Case
    from medseg.transforms import MaskOnSourceGridd

__all__ = ["ProbabilityListener", "is_plain", "makes_probabilities", "run_parts"]

ProbabilityListener = Callable[[NDArray[np.uint8]], object]
"""Is called with 255 times the probability of each foreground class, ``[C, i, j, k]``."""

_MASK_MAKER = "medseg.transforms.MaskOnSourceGridd"
_ENGINE = ("SupervisedEvaluator", "monai.engines.SupervisedEvaluator")
_LOADER = ("LoadImaged", "monai.transforms.LoadImaged")
_CHECKS_OF_PATHS = ("medseg.transforms.CheckHeaderd",)
_SAVER = ("medseg.transforms.SaveMaskd", "medseg.transforms.output.save_mask.SaveMaskd")
_READ_PRED_ALONE = (
    *_SAVER,
    "Activationsd",
    "AsDiscreted",
    "KeepLargestConnectedComponentd",
    "medseg.transforms.LargestComponentd",
    _MASK_MAKER,
)
_PREPARES_IMAGES_ALONE = {"_target_": "monai.engines.PrepareBatchDefault"}
_RUNS = (["$@evaluator.run()"], ["$refuse_check_only(@check_only)", "$@evaluator.run()"])
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
        config.get("run") in _RUNS
        and config.get("handlers", []) == []
        and isinstance(engine, Mapping)
        and engine.get("_target_") in _ENGINE
        and all(engine.get(key) == value for key, value in _PARTS.items())
        and set(engine) <= {"_target_", "val_handlers", "amp", "prepare_batch", *_PARTS}
        and engine.get("prepare_batch", "@prepare_batch") == "@prepare_batch"
        and config.get("prepare_batch", _PREPARES_IMAGES_ALONE) == _PREPARES_IMAGES_ALONE
        and isinstance(data, Mapping)
        and data.get("transform") == "@preprocessing"
        and first.get("_target_") in _LOADER
        and first.get("keys") == "image"
        and first.get("dtype") in (None, "float32")
        and last.get("_target_") in _SAVER
        and last.get("keys") == "pred"
    )


def _ends(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The loading transform of the preprocessing and the last one of the postprocessing; empty where there is none."""
    before, after = _steps(config, "preprocessing"), _steps(config, "postprocessing")
    place = _path_checks(config)
    return before[place] if place < len(before) else {}, after[-1] if after else {}


def _steps(config: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The transforms of a list in the configuration; empty where it is no list of definitions."""
    part = config.get(key)
    transforms = part.get("transforms") if isinstance(part, Mapping) else None
    if not isinstance(transforms, list) or not all(isinstance(one, Mapping) for one in transforms):
        return []
    return transforms


def _path_checks(config: Mapping[str, Any]) -> int:
    """How many checks of the file stand before the loading transform; the case has passed them when it was read."""
    count = 0
    for step in _steps(config, "preprocessing"):
        if step.get("_target_") not in _CHECKS_OF_PATHS:
            break
        count += 1
    return count


def makes_probabilities(parser: ConfigParser) -> bool:
    """Whether a plain configuration makes its mask of probabilities in a step of its own, which can be listened to."""
    steps = _steps(parser.get(), "postprocessing")
    return any(step.get("_target_") == _MASK_MAKER and step.get("keys") == "pred" for step in steps)


def run_parts(
    parser: ConfigParser,
    case: Case,
    precision: str = "float32",
    on_probability: ProbabilityListener | None = None,
) -> NDArray[np.uint8]:
    """The mask of a case, by the parts of a plain configuration.

    The image is not read again, and the mask is not written: the loading transform and the saving one are left out.

    Args:
        parser: a configuration for which `is_plain` holds, with its overrides.
        case: the image.
        precision: ``"float32"``, or ``"bfloat16"`` for the network alone (torch's autocast); the configuration's key
            ``amp`` is not used.
        on_probability: gets the probabilities on the grid of the case, if `makes_probabilities` holds.

    Returns:
        What the saving transform would have got, ``[i, j, k]``.
    """
    import torch
    from monai.transforms import apply_transform
    from monai.utils import CommonKeys

    from medseg.transforms import MaskOnSourceGridd

    parser.get_parsed_content("initialize")
    for step in range(len(parser["run"]) - 1):  # all but the engine's own
        parser.get_parsed_content(f"run::{step}")
    preprocessing, postprocessing = (parser.get_parsed_content(key) for key in ("preprocessing", "postprocessing"))
    network, inferer = parser.get_parsed_content("network"), parser.get_parsed_content("inferer")
    device = torch.device(parser.get_parsed_content("device"))
    network.eval()
    data = preprocessing({CommonKeys.IMAGE: _image_of(case, parser)}, start=_path_checks(parser.get()) + 1)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        data[CommonKeys.PRED] = inferer(data[CommonKeys.IMAGE][None].to(device), network)[0]
    if _reads_pred_alone(parser):
        data[CommonKeys.IMAGE] = _without_voxels(data[CommonKeys.IMAGE])
    # One at a time: Compose would keep the first dictionary, and with it the logits, until the end.
    for transform in postprocessing.transforms[:-1]:
        if on_probability is not None and isinstance(transform, MaskOnSourceGridd):
            on_probability(_probabilities(transform, data))
        data = apply_transform(transform, data, map_items=False)
    return _first_axis_fastest(data[CommonKeys.PRED].cpu().numpy()[0])


def _first_axis_fastest(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask in the order of the volume's own memory, which all that follows reads; only its foreground is copied."""
    result = np.zeros(mask.shape, mask.dtype, order="F")
    box = foreground_box(mask)
    if box is not None:
        for j in range(box[1].start, box[1].stop):  # planes fit into the cache: four times as fast as all at a time
            result[box[0], j, box[2]] = mask[box[0], j, box[2]]
    return result


def _probabilities(step: MaskOnSourceGridd, data: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The probabilities of the foreground classes that a step makes its mask of."""
    from medseg.transforms import ProbabilityOnSourceGrid

    mask = step.masks["pred"]
    scores = data["pred"] if mask.threshold is not None else data["pred"][1:]  # without the background
    return np.asarray(ProbabilityOnSourceGrid(mask.transform, mask.orig_key)(scores, data[mask.orig_key]).cpu().numpy())


def _reads_pred_alone(parser: ConfigParser) -> bool:
    """Whether no transform of the postprocessing looks at the voxels of the image."""
    return all(
        isinstance(one, Mapping) and one.get("_target_") in _READ_PRED_ALONE and one.get("keys") == "pred"
        for one in parser["postprocessing"]["transforms"]
    )


def _without_voxels(image: MetaTensor) -> MetaTensor:
    """An image of the same shape, grid and trace that takes no memory."""
    from monai.data import MetaTensor

    return MetaTensor(image.as_tensor()[:1, :1, :1, :1].clone().expand(image.shape)).copy_meta_from(image)


def _image_of(case: Case, parser: ConfigParser) -> MetaTensor:
    """What the configuration's ``LoadImaged`` gives for the case; with ``dtype: null`` without a copy of its voxels."""
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
    loader, _ = _ends(parser.get())
    voxels = plain_tensor(case.array)[None]
    return MetaTensor(voxels if loader.get("dtype", "float32") is None else voxels.float(), affine=affine, meta=meta)
