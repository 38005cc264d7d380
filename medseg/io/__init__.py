"""Readers and writers of images, CT series, segmentation results and weights: what users call.

Every name is imported when it is first used. ``import medseg.io`` therefore loads no library, and reading an image
loads neither torch nor ITK. Everything else lives in the folders of this package: ``bounded`` (limits, errors, atomic
writes, archives, weights), ``privacy``, ``volumes`` (NIfTI, MetaImage, NRRD), ``ct`` (DICOM CT series) and ``results``
(DICOM SEG, RTSTRUCT, seg.nrrd).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.io.bounded.errors import DataError
    from medseg.io.bounded.weights import load_weights, save_weights
    from medseg.io.ct.policy import GeometryPolicy
    from medseg.io.ct.scan import SeriesListing, list_series
    from medseg.io.ct.series import CtSeries, read_series
    from medseg.io.results.rtstruct_read import read_rtstruct
    from medseg.io.results.rtstruct_write import write_rtstruct
    from medseg.io.results.seg_read import read_seg
    from medseg.io.results.seg_write import write_seg
    from medseg.io.results.segment_info import SegmentInfo
    from medseg.io.results.segment_masks import SegmentMasks
    from medseg.io.results.source import SourceSeries, read_source
    from medseg.io.volumes.image import Image, read_image, write_image
    from medseg.io.volumes.monai_reader import CheckedNiftiReader
    from medseg.io.volumes.nifti import NiftiVolume, read_nifti

__all__ = [
    "CheckedNiftiReader",
    "CtSeries",
    "DataError",
    "GeometryPolicy",
    "Image",
    "NiftiVolume",
    "SegmentInfo",
    "SegmentMasks",
    "SeriesListing",
    "SourceSeries",
    "list_series",
    "load_weights",
    "read_image",
    "read_nifti",
    "read_rtstruct",
    "read_seg",
    "read_series",
    "read_source",
    "save_weights",
    "write_image",
    "write_rtstruct",
    "write_seg",
]

_MODULES = {
    "bounded.errors": ("DataError",),
    "bounded.weights": ("load_weights", "save_weights"),
    "ct.policy": ("GeometryPolicy",),
    "ct.scan": ("SeriesListing", "list_series"),
    "ct.series": ("CtSeries", "read_series"),
    "results.rtstruct_read": ("read_rtstruct",),
    "results.rtstruct_write": ("write_rtstruct",),
    "results.seg_read": ("read_seg",),
    "results.seg_write": ("write_seg",),
    "results.segment_info": ("SegmentInfo",),
    "results.segment_masks": ("SegmentMasks",),
    "results.source": ("SourceSeries", "read_source"),
    "volumes.image": ("Image", "read_image", "write_image"),
    "volumes.monai_reader": ("CheckedNiftiReader",),
    "volumes.nifti": ("NiftiVolume", "read_nifti"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    """The public names, and what is loaded already."""
    return sorted({*globals(), *__all__})
