"""The rules by which readers' outlines become nodules; every output states them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from medseg.datasets.lidc.clusters import cluster_annotations
from medseg.datasets.lidc.consensus_rules import ConsensusRule
from medseg.datasets.lidc.pylidc_clusters import cluster_like_pylidc
from medseg.datasets.lidc.records import Annotation
from medseg.geometry.contours import BORDER_RULES, BorderRule
from medseg.io.bounded.errors import DataError

__all__ = ["BORDER_TEXTS", "CLUSTER_RULES", "ClusterRule", "NodulePolicy"]

ClusterRule = Literal["kdtree", "pylidc"]
CLUSTER_RULES: tuple[str, ...] = get_args(ClusterRule)

BORDER_TEXTS = {
    "exclude": "the outline's own pixels do not belong to the nodule (the data set's definition)",
    "include": "the outline's own pixels belong to the nodule",
}
_CLUSTER_TEXTS = {
    "kdtree": "outlines of different readers within one pixel spacing in mm (nearest points) show one nodule",
    "pylidc": "as pylidc groups: nearest points within the slice thickness, counted in pixels and slices; lowered by a "
    "tenth while a group has more than four members",
}


@dataclass(frozen=True)
class NodulePolicy:
    """How annotations are grouped, filled and joined.

    Attributes:
        cluster: "kdtree" (``cluster_annotations``) or "pylidc" (``cluster_like_pylidc``).
        consensus: how the readers' masks of a nodule become one.
        border: rule for the pixels of the outlines, see ``annotation_mask``.

    Raises:
        ValueError: for an unknown rule.

    >>> policy = NodulePolicy(consensus=ConsensusRule.parse("union"))
    >>> policy.describe()["consensus_definition"]
    'voxels marked by any reader'
    """

    cluster: ClusterRule = "kdtree"
    consensus: ConsensusRule = field(default_factory=ConsensusRule)
    border: BorderRule = "exclude"

    def __post_init__(self) -> None:
        if self.cluster not in CLUSTER_RULES:
            raise ValueError(f"cluster is {self.cluster!r}, expected one of {', '.join(CLUSTER_RULES)}")
        if self.border not in BORDER_RULES:
            raise ValueError(f"border is {self.border!r}, expected one of {', '.join(BORDER_RULES)}")

    def groups(
        self,
        annotations: Sequence[Annotation],
        pixel_spacing_mm: tuple[float, float],
        slice_z_mm: Sequence[float],
        slice_thickness_mm: float | None,
    ) -> list[list[int]]:
        """Indices of the annotations of every nodule, under the rule ``cluster``.

        Args:
            annotations: outlined nodules of one scan.
            pixel_spacing_mm: distance between columns (x) and between rows (y).
            slice_z_mm: z of every slice.
            slice_thickness_mm: as recorded in the DICOM header; only "pylidc" uses it.

        Raises:
            DataError: if "pylidc" is asked for and the thickness is unknown.
        """
        if self.cluster == "kdtree":
            return cluster_annotations(annotations, pixel_spacing_mm)
        if slice_thickness_mm is None:
            raise DataError(
                "the pylidc grouping starts from SliceThickness, which this scan does not record; group by kdtree"
            )
        return cluster_like_pylidc(annotations, slice_z_mm, slice_thickness_mm).groups

    def describe(self) -> dict[str, str]:
        """The choices with their meaning, for file headers."""
        return {
            "cluster": self.cluster,
            "cluster_definition": _CLUSTER_TEXTS[self.cluster],
            "consensus": self.consensus.text,
            "consensus_definition": self.consensus.describe(),
            "border_convention": self.border,
            "border_definition": BORDER_TEXTS[self.border],
        }
