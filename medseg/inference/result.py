"""What a segmentation gives: mask, geometry, labels, statistics and warnings, and a folder of files on request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.geometry import Affine, spacing_of
from medseg.inference.bundle import Bundle
from medseg.inference.case import Case
from medseg.inference.monitor import Monitor
from medseg.inference.outputs.dicom_results import check_output_types, dicom_source
from medseg.inference.outputs.folder import staged_folder

if TYPE_CHECKING:
    import nibabel as nib

    from medseg.io.results.source import SourceSeries

__all__ = ["Result", "RunRecord"]


@dataclass(frozen=True)
class RunRecord:
    """How a result was made: everything that the files of a result folder need in addition to the result.

    Attributes:
        case: the image, and the headers of its series.
        bundle: what segmented it.
        header: NIfTI header of the image, whose geometry the mask takes over bit for bit.
        facts: the part of ``run.json`` that is known when the network has run.
        monitor: stages and log of the run.
        output_types: the DICOM results that were asked for when the run began.
        source: the series that these refer to.
    """

    case: Case
    bundle: Bundle
    header: nib.Nifti1Header
    facts: Mapping[str, Any]
    monitor: Monitor
    output_types: tuple[str, ...] = ()
    source: SourceSeries | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A segmentation in memory. It keeps the image, from which `save` draws the preview.

    Attributes:
        mask: label map ``[x, y, z]`` on the grid of the case, uint8, read-only (``mask.copy()`` can be changed).
        affine: 4 x 4, voxel to RAS mm, float64, read-only.
        labels: name of every mask value; 0 is the background.
        statistics: measurements as in ``statistics.json``: ``schema_version``, and what
            `medseg.inference.class_statistics` returns. Later versions may hold more.
        warnings: what a user of the numbers should know, one line each; may be empty.
        run: how the result was made.
        probability: 255 times the probability of each foreground class, in the order of ``labels``, uint8
            ``[C, x, y, z]``, read-only; None unless `segment` was asked for it.

    >>> from medseg.inference import segment
    >>> result = segment("scan.nii.gz", "bundles/lits_liver_segmentation", "model.pt")
    >>> result
    Result(... x ... x ... voxels of ... mm; liver: ... ml, 1 component(s))
    >>> result.save("results/case_1")
    PosixPath('results/case_1')
    """

    mask: NDArray[np.uint8]
    affine: Affine
    labels: Mapping[int, str]
    statistics: dict[str, Any]
    warnings: tuple[str, ...]
    run: RunRecord = field(repr=False)
    probability: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        for name in ("mask", "affine", "probability"):
            if getattr(self, name) is None:
                continue
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def __repr__(self) -> str:
        shape = " x ".join(str(n) for n in self.mask.shape)
        spacing = " x ".join(f"{value:.4g}" for value in spacing_of(self.affine))
        return f"Result({shape} voxels of {spacing} mm; {'; '.join(self.summary())})"

    def summary(self) -> list[str]:
        """One line a class: its name, its volume and the number of its connected components."""
        return [
            f"{entry['name']}: {entry['volume_ml']:.2f} ml, {entry['n_components']} component(s)"
            for entry in self.statistics["classes"]
        ]

    def save(
        self,
        folder: str | Path,
        *,
        output_types: str | Sequence[str] | None = None,
        overwrite: bool = False,
        report: bool = True,
    ) -> Path:
        """Write what ``medseg segment`` writes: ``seg.nii.gz``, ``statistics.json``, ``preview.png``, ``report.html``,
        ``run.json`` and ``medseg.log``; also ``probability.nii.gz`` where there are probabilities. The folder appears
        complete or not at all.

        Args:
            folder: a new or empty folder; missing parents are made.
            output_types: ``"dicom_seg"`` (``seg.dcm``), ``"rtstruct"`` (``rtstruct.dcm``) or both, for a case that came
                from DICOM. **These files contain the patient's name if the series does.** None writes those that
                `segment` was asked for.
            overwrite: replace an earlier result. It is moved to ``<folder>.previous`` while the new one is written, and
                stays there after an error.
            report: whether ``report.html`` is written.

        Returns:
            The folder.

        Raises:
            ConfigurationError: if the folder holds an earlier result and ``overwrite`` is False, or holds other files;
                for DICOM results of a case that is not a DICOM series.
            IntegrityError: if DICOM results cannot refer to the series.
        """
        from medseg.inference.outputs.write import write_result

        run = self.run
        kinds = run.output_types if output_types is None else check_output_types(output_types)
        # Refused before anything on the disk is touched.
        source = run.source or dicom_source(run.case, kinds)
        ready = replace(self, run=replace(run, source=source))
        monitor = replace(run.monitor, stages=run.monitor.stages.copy(), log=run.monitor.log.copy())
        with staged_folder(folder, overwrite) as staging:
            write_result(ready, staging, kinds, monitor, report)
        return Path(folder)
