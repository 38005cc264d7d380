"""Segmenting a CT: from a file, a DICOM series or an array to a mask with measurements, in memory or as a folder.

    >>> from medseg.inference import segment
    >>> result = segment("scan.nii.gz", "bundles/lits_liver_segmentation", "model.pt")
    >>> result.save("results/case_1")
    PosixPath('results/case_1')

Also whole-image inference by networks without padding (`overlap_tile_inference`), measurements of a mask
(`class_statistics`), still pictures (`write_preview`), and a threshold rule to compare a network with.

Every name is imported when it is first used: importing this package loads neither torch nor MONAI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medseg._lazy import lazy_exports

if TYPE_CHECKING:
    from medseg.inference.bundle import Bundle, read_bundle
    from medseg.inference.case import Case, read_case
    from medseg.inference.cohort.keep_loaded import keep_loaded
    from medseg.inference.errors import ConfigurationError, InferenceError, IntegrityError, ResourceError
    from medseg.inference.foreground_inferer import ForegroundInferer
    from medseg.inference.input_rules import InputRules
    from medseg.inference.monitor import Monitor
    from medseg.inference.outputs.preview import write_preview
    from medseg.inference.overlap_tile import OverlapTileInferer, inferer_for, overlap_tile_inference
    from medseg.inference.patch_size import check_roi_size, size_multiple
    from medseg.inference.result import Result
    from medseg.inference.segment_case import segment
    from medseg.inference.stages import Stages
    from medseg.inference.statistics import class_statistics
    from medseg.inference.threshold_baseline import ThresholdBaseline, tune_threshold

__all__ = [
    "Bundle",
    "Case",
    "ConfigurationError",
    "ForegroundInferer",
    "InferenceError",
    "InputRules",
    "IntegrityError",
    "Monitor",
    "OverlapTileInferer",
    "ResourceError",
    "Result",
    "Stages",
    "ThresholdBaseline",
    "check_roi_size",
    "class_statistics",
    "inferer_for",
    "keep_loaded",
    "overlap_tile_inference",
    "read_bundle",
    "read_case",
    "segment",
    "size_multiple",
    "tune_threshold",
    "write_preview",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "bundle": ("Bundle", "read_bundle"),
        "case": ("Case", "read_case"),
        "errors": ("ConfigurationError", "InferenceError", "IntegrityError", "ResourceError"),
        "foreground_inferer": ("ForegroundInferer",),
        "input_rules": ("InputRules",),
        "cohort.keep_loaded": ("keep_loaded",),
        "monitor": ("Monitor",),
        "outputs.preview": ("write_preview",),
        "overlap_tile": ("OverlapTileInferer", "inferer_for", "overlap_tile_inference"),
        "patch_size": ("check_roi_size", "size_multiple"),
        "result": ("Result",),
        "segment_case": ("segment",),
        "stages": ("Stages",),
        "statistics": ("class_statistics",),
        "threshold_baseline": ("ThresholdBaseline", "tune_threshold"),
    },
)
