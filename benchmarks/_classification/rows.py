"""The rows of the study: what each network does at its halvings and between them."""

from __future__ import annotations

from typing import Any, NamedTuple

PLACEMENTS: dict[int, dict[str, tuple[str, ...]]] = {
    2: {
        "max": ("max",) * 6,
        "recipe": ("max", "max", "sd", "sd", "max", "max"),
        "4sd": ("sd", "sd", "sd", "sd", "max", "max"),
        "6sd": ("sd",) * 6,
    },
    3: {"max": ("max",) * 4, "recipe": ("max", "sd", "sd", "max"), "4sd": ("sd",) * 4},
}
"""What each halving is, by dimension: max pooling or sparse downsampling."""
PATCH = {2: {128: 16, 64: 8, 32: 8, 16: 4, 8: 2, 4: 1}, 3: {32: 8, 16: 4, 8: 2, 4: 1}}
"""Patch side by the side of the map; 16 to 64 patches everywhere."""
LITERAL_LAMBDA, LITERAL_EPS = 0.03, 0.6
BUDGET = (0.5, 0.25, 0.125)


class Row(NamedTuple):
    """One network of the study.

    Attributes:
        name: in the table.
        placement: a key of ``PLACEMENTS``.
        head: "mean" or "max" over the last map.
        evaluator: of sparse downsampling: "shared", "slots" or "norm" (not learned).
        assignment: "unique" or "argmax" (a patch may fill several slots).
        surrogate: "softmax" or "paper" (the literal derivative 0.1).
        sparsity: weight of the sparsifying loss.
        warmup: True if patches are chosen by their norm during the first epochs.
        evaluator_rate: learning rate of evaluators as a multiple of the network's.
        rounds: convolutions added at the 64 x 64 map.
        partition: where they act: "dense", "gradient", "learned", "oracle" (the target's mask) or "random".
        note: printed under the table.
    """

    name: str
    placement: str = "max"
    head: str = "mean"
    evaluator: str = ""
    assignment: str = "unique"
    surrogate: str = "softmax"
    sparsity: float = 0.0
    warmup: bool = False
    evaluator_rate: float = 1.0
    rounds: int = 0
    partition: str = ""
    note: str = ""


def _literal(name: str, placement: str, sparsity: float, **other: Any) -> Row:
    return Row(name, placement, evaluator="slots", surrogate="paper", sparsity=sparsity)._replace(**other)


def _recipe(name: str, **other: Any) -> Row:
    row = Row(name, "recipe", evaluator="shared", warmup=True, evaluator_rate=0.2)
    return row._replace(**other)


BASELINE = "max pool"
POOLING = (
    Row(BASELINE),
    Row("max pool, max head", head="max"),
    _literal("4SD literal + loss", "4sd", LITERAL_LAMBDA),
    _literal("4SD literal", "4sd", 0.0),
    _literal("6SD literal + loss", "6sd", LITERAL_LAMBDA),
    _literal("6SD literal", "6sd", 0.0),
    _literal("4SD literal, repeats + loss", "4sd", LITERAL_LAMBDA, assignment="argmax"),
    _recipe("Recipe"),
    Row("Recipe placement, norm pick", "recipe", evaluator="norm"),
    Row("4SD norm pick", "4sd", evaluator="norm"),
)
ADAPTIVE = (
    Row("dense 1", rounds=1, partition="dense"),
    Row("dense 2", rounds=2, partition="dense"),
    Row("dense 3", rounds=3, partition="dense"),
    Row("AQC 1 gradient", rounds=1, partition="gradient"),
    Row("AQC 2 gradient", rounds=2, partition="gradient"),
    Row("AQC 3 gradient", rounds=3, partition="gradient"),
    Row("AQC 3 learned", rounds=3, partition="learned"),
    Row("AQC 3 oracle", rounds=3, partition="oracle"),
    Row("AQC 3 random", rounds=3, partition="random"),
)
EXPLORE = (
    _literal("Recipe placement, literal + loss", "recipe", LITERAL_LAMBDA, warmup=True, evaluator_rate=0.2),
    _recipe("Recipe, literal shared + loss", surrogate="paper", sparsity=LITERAL_LAMBDA),
    _literal("4SD literal + loss, warm-up, slow", "4sd", LITERAL_LAMBDA, warmup=True, evaluator_rate=0.2),
)
DIAMETER = Row("logistic regression on diameter", note="no network: largest axial diameter of the outline")
"""The only row that sees no image."""


def rows_of(data: str, explore: bool = False) -> tuple[Row, ...]:
    """Rows of a data set, in the order in which they are run."""
    if data == "adrenal":
        return (POOLING[0], _literal("4SD literal + loss", "4sd", LITERAL_LAMBDA), _recipe("Recipe"))
    if data == "lidc_shape_same_area":
        return (DIAMETER, POOLING[0], POOLING[2], POOLING[7], POOLING[8])
    if data == "phantom_nodule":
        return (*POOLING, *ADAPTIVE, *(EXPLORE if explore else ()))
    unique = [row for row in POOLING if row.assignment == "unique"]
    three = [row for row in ADAPTIVE if row.rounds == 3]
    if data == "pneumonia":  # no target, so no oracle
        return (*unique, *(row for row in three if row.partition != "oracle"))
    return (DIAMETER, *unique, *three)
