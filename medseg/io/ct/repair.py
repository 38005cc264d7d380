"""Turn irregular slices into regular volumes by a policy: what is refused, what is repaired, and the record of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.geometry.shear import ShearPlan, plan_shear, shift_plane
from medseg.geometry.slice_repair import SliceGrid, grid_step, regular_grid, regular_runs
from medseg.geometry.slice_stack import StackProblem, find_problems
from medseg.io.bounded.errors import SeriesGeometryError, shorten
from medseg.io.ct.duplicates import clusters, refuse_different
from medseg.io.ct.header import SliceHeader
from medseg.io.ct.pixels import AIR_HU, MAX_SIDE
from medseg.io.ct.policy import GeometryPolicy
from medseg.io.ct.stack import SliceStack

__all__ = ["MAX_TILT_DEG", "PartPlan", "note_duplicates", "plan_parts", "repair_volume"]

MAX_TILT_DEG = 45.0
"""Largest tilt that is straightened: no gantry tilts as far, so more means that the headers are wrong."""

_FIXES = {
    "duplicate": "remove the second copies, or keep the lowest InstanceNumber with --on-duplicate keep-lowest",
    "tilt": "straighten the slices with --on-tilt shear",
    "missing": "fetch the missing files, fill them with --on-gap resample, or split the series with --on-gap split",
    "variable": "use --on-gap resample for an even grid, or --on-gap split for a volume of each spacing",
    "shifted": "check that the files belong to one acquisition",
}


@dataclass
class PartPlan:
    """How one regular volume is made from the slices of a stack.

    Attributes:
        indices: the slices of the stack that it is made from, sorted by position.
        positions: position of the first pixel of every output slice (as ImagePositionPatient), ``(m, 3)`` LPS mm.
        sources: for every output slice, the stack's slices it is made from (one, or two that were blended).
        shear: how slices move within their plane, or None.
        grid: how slices are blended, or None.
        dropped: (slice left out, slice kept instead) for second slices at one position.
        repairs: the record: rule, what, count, mm and details, one for each rule applied.
        part: number of the even stretch from 1, or 0 where the stack was not split.
    """

    indices: list[int]
    positions: NDArray[np.float64]
    sources: list[tuple[int, ...]]
    shear: ShearPlan | None = None
    grid: SliceGrid | None = None
    dropped: list[tuple[int, int]] = field(default_factory=list)
    repairs: list[dict[str, Any]] = field(default_factory=list)
    part: int = 0


def plan_parts(where: object, stack: SliceStack, policy: GeometryPolicy) -> list[PartPlan]:
    """Plan the regular volumes of a stack: one, or one for each evenly spaced stretch where the policy splits.

    Where the policy names one stretch, that alone is planned.

    Args:
        where: folder or file, for messages.
        stack: sorted slices.
        policy: the outcome for each kind of irregularity.

    Raises:
        SeriesGeometryError: if a problem is found whose outcome is to refuse, or that no rule can repair, such as
            different images at one position.
        UnreadableFileError: if slices at one position, whose pixels are compared, cannot be decoded.
    """
    if len(stack.headers) < 2:
        raise SeriesGeometryError(f"{where}: only {len(stack.headers)} slice(s); spacing needs two or more positions")
    problems = find_problems(stack.positions, stack.normal)
    along = stack.positions @ stack.normal
    for problem in problems:
        if problem.kind == "duplicate":
            refuse_different(f"{where}: {problem.text}", stack.headers, along)
    _refuse(where, stack.headers, problems, policy)
    kept, dropped = _single_slices(where, stack, along)
    if len(kept) < 2:
        raise SeriesGeometryError(f"{where}: all slices share one position; spacing needs two or more positions")
    split = any(policy.outcome(problem.kind) == "split" for problem in problems)
    if split:
        runs = [[kept[i] for i in range(run.start, run.stop)] for run in regular_runs(along[kept])]
        if not runs:
            raise SeriesGeometryError(
                f"{where}: {_texts(problems)}; no two slices are evenly spaced, so nothing to split"
            )
        _leave_out_single(stack, kept, runs)
    else:
        runs = [kept]
    plans = [_plan_part(where, stack, run, policy) for run in runs]
    for number, plan in enumerate(plans, 1):
        members = set(plan.indices)
        plan.dropped = [(gone, stays) for gone, stays in dropped if stays in members]
        if split:
            ends = [round(float(along[i]), 3) for i in (plan.indices[0], plan.indices[-1])]
            record = {"rule": "split", "what": "uneven series split into even stretches", "count": len(plans)}
            plan.repairs.insert(0, {**record, "mm": ends, "part": number, "slices": len(plan.indices)})
        plan.part = number if len(plans) > 1 else 0
    if policy.part > len(plans):
        raise SeriesGeometryError(
            f"{where}: part {policy.part} is asked for, but the series has {len(plans)} even stretch(es)"
        )
    return plans if policy.part == 0 else [plans[policy.part - 1]]


def _refuse(
    where: object, headers: Sequence[SliceHeader], problems: Sequence[StackProblem], policy: GeometryPolicy
) -> None:
    refused = [problem for problem in problems if policy.outcome(problem.kind) == "refuse"]
    if not refused:
        return
    texts = []
    for problem in refused:
        names = shorten((headers[i].label for i in problem.indices), 6)
        texts.append(problem.text + (f" ({names})" if names else ""))
    fixes = dict.fromkeys(_FIXES[problem.kind] for problem in refused)
    raise SeriesGeometryError(f"{where}: {'; '.join(texts)}; {'; '.join(fixes)}")


def _texts(problems: Sequence[StackProblem]) -> str:
    return "; ".join(problem.text for problem in problems)


def _single_slices(
    where: object, stack: SliceStack, along: NDArray[np.float64]
) -> tuple[list[int], list[tuple[int, int]]]:
    """One slice for each position, by the lowest InstanceNumber, and which slices it stands for."""
    kept: list[int] = []
    dropped: list[tuple[int, int]] = []
    for cluster in clusters(along):
        best = cluster[0] if len(cluster) == 1 else _lowest(where, stack.headers, cluster)
        kept.append(best)
        dropped += [(index, best) for index in cluster if index != best]
    return kept, dropped


def _lowest(where: object, headers: Sequence[SliceHeader], cluster: Sequence[int]) -> int:
    numbers = {index: headers[index].integer("InstanceNumber", -1) for index in cluster}
    best = min(cluster, key=lambda index: (numbers[index], headers[index].path, headers[index].frame))
    for index in cluster:
        same = headers[index].sop_uid == headers[best].sop_uid and headers[index].frame == headers[best].frame
        if index != best and not same and (numbers[index] == numbers[best] or numbers[best] < 0):
            raise SeriesGeometryError(
                f"{where}: {headers[best].label} and {headers[index].label} share a position and have no "
                "InstanceNumber that tells them apart; remove one of them"
            )
    return best


def _leave_out_single(stack: SliceStack, kept: Sequence[int], runs: Sequence[Sequence[int]]) -> None:
    taken = {index for run in runs for index in run}
    stack.left_out.extend(
        (stack.headers[index].path, "belongs to no evenly spaced stretch") for index in kept if index not in taken
    )


def _plan_part(where: object, stack: SliceStack, run: list[int], policy: GeometryPolicy) -> PartPlan:
    positions, normal = stack.positions[run], stack.normal
    headers = [stack.headers[index] for index in run]
    problems = {problem.kind: problem for problem in find_problems(positions, normal)}
    _refuse(where, headers, list(problems.values()), policy)
    plan = PartPlan(run, positions, [(index,) for index in run])
    along = positions @ normal
    uneven = problems.get("missing") or problems.get("variable")
    if "tilt" in problems:
        _plan_shear(where, stack, plan, problems["tilt"])
    if uneven is not None and policy.outcome(uneven.kind) == "split":
        raise SeriesGeometryError(f"{where}: {uneven.text}, even after splitting; use --on-gap resample")
    if uneven is not None:
        _plan_grid(where, plan, along, uneven, policy)
    if plan.shear is not None or plan.grid is not None:
        origin = positions[0] if plan.shear is None else plan.shear.origin_lps
        places = along if plan.grid is None else plan.grid.along_mm
        direction = normal if plan.shear is not None else (positions[-1] - positions[0]) / (along[-1] - along[0])
        plan.positions = origin + (places - places[0])[:, None] * direction
    return plan


def _plan_shear(where: object, stack: SliceStack, plan: PartPlan, problem: StackProblem) -> None:
    advance = plan.positions[-1] - plan.positions[0]
    height = float(advance @ stack.normal)
    degrees = float(np.degrees(np.arctan2(np.linalg.norm(advance - height * stack.normal), height)))
    rows, columns = (int(stack.headers[0].numbers(keyword, 1)[0]) for keyword in ("Rows", "Columns"))
    shear = plan_shear(plan.positions, stack.orientation, stack.pixel_spacing, (columns, rows))
    if degrees > MAX_TILT_DEG or max(shear.shape) > MAX_SIDE:
        raise SeriesGeometryError(
            f"{where}: {problem.text}; expected at most {MAX_TILT_DEG:g} degrees and an upright image of at most "
            f"{MAX_SIDE} pixels a side, so no rule repairs it; check the positions"
        )
    plan.shear = shear
    plan.repairs.append(
        {
            "rule": "shear",
            "what": f"gantry tilt of {degrees:.2f} degrees straightened by moving slices within their planes",
            "count": len(plan.indices),
            "mm": round(shear.largest_mm, 3),
            "degrees": round(degrees, 3),
            "columns_added": shear.shape[0] - columns,
            "rows_added": shear.shape[1] - rows,
            "padding_hu": AIR_HU,
            "interpolation": "linear between the pixels of a row or column",
        }
    )


def _plan_grid(
    where: object, plan: PartPlan, along: NDArray[np.float64], problem: StackProblem, policy: GeometryPolicy
) -> None:
    count, step = grid_step(along)
    widest = float(np.diff(along).max())
    if widest / step - 1 > policy.max_gap + 0.02:
        raise SeriesGeometryError(
            f"{where}: {problem.text}; the widest hole of {widest:.3f} mm would need {widest / step - 1:.1f} invented "
            f"slices, at most {policy.max_gap:g} is allowed; fetch the files, use --on-gap split, or raise --max-gap"
        )
    if count >= MAX_SIDE:
        raise SeriesGeometryError(
            f"{where}: {problem.text}; an even grid would have {count + 1} slices; use --on-gap split"
        )
    grid = regular_grid(along)
    plan.grid = grid
    plan.sources = [
        (plan.indices[low],) if weight == 0 else (plan.indices[low], plan.indices[low + 1])
        for low, weight in zip(grid.lower, grid.weight, strict=True)
    ]
    plan.repairs.append(
        {
            "rule": "resample",
            "what": "missing slices filled" if problem.kind == "missing" else "variable spacing evened",
            "count": int((grid.weight > 0).sum()),
            "mm": round(widest, 3),
            "step_mm": round(step, 6),
            "slices_before": len(along),
            "slices_after": len(grid.along_mm),
            "slices_unused": grid.unused,
            "interpolation": "linear between the two neighbouring slices",
        }
    )


def note_duplicates(plan: PartPlan, positions_mm: Sequence[float]) -> None:
    """Record the copies left out for a slice at the same position; `plan_parts` made sure that they are copies.

    Args:
        plan: the plan of the part; its ``repairs`` gain one record.
        positions_mm: positions of all slices of the stack along the normal.
    """
    if not plan.dropped:
        return
    plan.repairs.insert(
        0,
        {
            "rule": "keep-lowest",
            "what": "copies of slices left out, the lowest InstanceNumber is kept",
            "count": len(plan.dropped),
            "mm": sorted({round(float(positions_mm[gone]), 3) for gone, _ in plan.dropped}),
            "identical_pixels": len(plan.dropped),
            "different_pixels": 0,
        },
    )


def repair_volume(plan: PartPlan, volume: NDArray[np.int16]) -> NDArray[np.int16]:
    """The regular volume of a plan, int16 Hounsfield units ``[i, j, k]``, i fastest in memory.

    Args:
        plan: what `plan_parts` gave.
        volume: all decoded slices of the stack ``[i, j, slice]``; returned itself where nothing is to be done.
    """
    if plan.shear is None and plan.grid is None:
        whole = plan.indices == list(range(volume.shape[2]))
        return volume if whole else np.asfortranarray(volume[:, :, plan.indices])
    shape = volume.shape[:2] if plan.shear is None else plan.shear.shape
    result = np.empty((*shape, len(plan.sources)), np.int16, order="F")
    upright: dict[int, NDArray[np.float32]] = {}
    place = {index: n for n, index in enumerate(plan.indices)}
    for k, sources in enumerate(plan.sources):
        for index in sources:
            if index not in upright:
                upright[index] = _upright(plan, volume[:, :, index], place[index])
        for index in set(upright) - set(sources):
            del upright[index]
        slab = upright[sources[0]]
        if len(sources) == 2 and plan.grid is not None:
            slab = slab + np.float32(plan.grid.weight[k]) * (upright[sources[1]] - slab)
        result[:, :, k] = np.rint(slab)
    return result


def _upright(plan: PartPlan, pixels: NDArray[np.int16], number: int) -> NDArray[np.float32]:
    if plan.shear is None:
        return pixels.astype(np.float32)
    return shift_plane(pixels, plan.shear.shifts[number], plan.shear.shape, AIR_HU)
