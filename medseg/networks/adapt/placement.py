"""Decides which halving stages of a network become sparse, and the sides of their patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medseg.layers import default_patch, parse_placement
from medseg.networks.adapt.candidates import Candidate
from medseg.networks.adapt.swaps import why_not_sparse

__all__ = ["place"]


def place(candidates: Sequence[Candidate], placement: str, options: dict[str, Any]) -> dict[str, dict[str, Any] | str]:
    """Arguments of the new layer, or a reason to keep the old one, for every halving layer.

    Layers that read the same tensor are one stage. A stage that cannot be replaced is not part of the placement.

    Args:
        candidates: layers that halve, in the order in which they run.
        placement: ``"sd"`` for every stage, or a placement of as many stages as there are, see
            `medseg.layers.parse_placement`; ``max`` and ``avg`` do not change a stage.
        options: arguments of `SparseDownsample`; ``patch`` may be a sequence with one side for each ``sd``.

    Returns:
        By the name of the candidate, the arguments of its `SparseDownsample`, or the reason why it is not replaced.

    Raises:
        ValueError: if placement or patches do not match the stages.
    """
    stages: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        stages.setdefault(id(candidate.source), []).append(candidate)
    outcome: dict[str, dict[str, Any] | str] = {}
    fitting = []
    for stage in stages.values():
        reasons = {c.name: why_not_sparse(c) for c in stage}
        if not any(reasons.values()):
            fitting.append(stage)
            continue
        blocking = next(reason for reason in reasons.values() if reason)
        outcome.update(
            {
                name: reason or f"it shares its input with a layer that cannot be swapped: {blocking}"
                for name, reason in reasons.items()
            }
        )
    words = _words(placement, len(fitting))
    patches = iter(_patches(options, words))
    for word, stage in zip(words, fitting, strict=True):
        if word != "sd":
            outcome.update({c.name: f"the placement {placement!r} does not change this stage" for c in stage})
            continue
        patch = next(patches) or default_patch(_size(stage[0]))
        outcome.update({c.name: {**options, "patch": patch} for c in stage})
    return outcome


def _words(placement: str, stages: int) -> list[str]:
    if placement == "sd":
        return ["sd"] * stages
    words = parse_placement(placement)
    if len(words) != stages:
        raise ValueError(f"adapt: placement {placement!r} has {len(words)} stages; the network halves {stages} times")
    return words


def _patches(options: dict[str, Any], words: Sequence[str]) -> list[int | None]:
    wanted = options.get("patch")
    sparse = words.count("sd")
    if wanted is None or isinstance(wanted, int):
        return [wanted] * sparse
    if len(wanted) != sparse:
        raise ValueError(f"adapt: patch has {len(wanted)} sides {list(wanted)}; expected one for each of {sparse} sd")
    return list(wanted)


def _size(candidate: Candidate) -> tuple[int, ...]:
    assert candidate.source is not None
    return tuple(candidate.source.shape[2:])
