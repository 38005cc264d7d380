"""One CT through MONAI's own parts, in a process of its own: Spacingd, SlidingWindowInferer, Invertd.

It takes window, spacing, network and blending from a bundle's inference configuration, but resampling, inferer and the
way back are MONAI's, as a bundle without medseg would name them. ``python -m benchmarks._inference.plain_monai`` prints
one JSON line: CPU seconds, wall seconds and peak memory of the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

INFERERS = ("SlidingWindowInferer", "SlidingWindowInfererAdapt")
NEAR_TIE = 1e-4  # of the foreground's probability from 0.5: the two classes then lie within 2e-4 of each other


def main(argv: Sequence[str] | None = None) -> int:
    """Segment one image; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--mask", type=Path, required=True)
    parser.add_argument("--inferer", choices=INFERERS, default=INFERERS[0])
    parser.add_argument("--ties", type=Path, help="also write where the two classes are nearly equal (.npz)")
    options = parser.parse_args(argv)
    start = time.perf_counter()
    _run(options)
    used = resource.getrusage(resource.RUSAGE_SELF)
    from benchmarks._harness import process_peak_mb
    from medseg.io.bounded.atomic import json_text

    cpu, wall = used.ru_utime + used.ru_stime, time.perf_counter() - start
    print(json_text({"cpu_s": cpu, "wall_s": wall, "peak_mb": process_peak_mb()}, indent=None))
    return 0


def _run(options: argparse.Namespace) -> None:
    import torch
    from monai import inferers
    from monai.bundle import ConfigParser
    from monai.transforms import (
        Activationsd,
        AsDiscreted,
        Compose,
        Invertd,
        KeepLargestConnectedComponentd,
        Lambdad,
        LoadImaged,
        Orientationd,
        SaveImaged,
        ScaleIntensityRanged,
        Spacingd,
    )

    from medseg.transforms.intensity.windows import HU_WINDOWS

    config = json.loads((options.bundle / "configs" / "inference.json").read_text())
    level, width = HU_WINDOWS[config["window"]]
    before = Compose(
        [
            LoadImaged("image", reader="NibabelReader", ensure_channel_first=True),
            ScaleIntensityRanged("image", level - width / 2, level + width / 2, 0.0, 1.0, clip=True),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", config["pixdim"], mode="bilinear"),
        ]
    )
    network = ConfigParser(config).get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(options.weights, weights_only=True))
    names = ("mode", "padding_mode")
    window = getattr(inferers, options.inferer)(
        config["roi_size"],
        config["sw_batch_size"],
        config["overlap"],
        **{name: config["inferer"][name] for name in names},
    )
    largest = any(one["_target_"].endswith("LargestComponentd") for one in config["postprocessing"]["transforms"])
    data: dict[str, Any] = before({"image": str(options.image)})
    with torch.no_grad():
        data["pred"] = window(data["image"][None], network)[0]
    back = [
        Activationsd("pred", softmax=True),
        Lambdad("pred", lambda p: p[1:]),
        Invertd("pred", before, "image", nearest_interp=False, to_tensor=True),
    ]
    data = Compose(back)(data)
    if options.ties is not None:
        near = np.abs(data["pred"].numpy() - 0.5) <= NEAR_TIE
        np.savez_compressed(options.ties, near=np.packbits(near.ravel()))
    folder, name = options.mask.parent, options.mask.name.removesuffix(".nii.gz")
    rest: list[Any] = [AsDiscreted("pred", threshold=0.5)]
    if largest:
        rest.append(KeepLargestConnectedComponentd("pred", applied_labels=[1], is_onehot=False))
    rest.append(
        SaveImaged(
            "pred",
            output_dir=folder,
            output_postfix="",
            output_dtype=np.uint8,
            separate_folder=False,
            resample=False,
            print_log=False,
            output_name_formatter=lambda *_: {"subject": name, "idx": None},
        )
    )
    Compose(rest)(data)


if __name__ == "__main__":
    raise SystemExit(main())
