"""The codes of options and the limits are the same numbers in Python and in C++, and each is written down once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import medseg
from medseg.ops import _codes as codes

PACKAGE = Path(medseg.__file__).parent
HEADER = PACKAGE / "csrc/common/codes.h"

# What Python has for every enumerator of the header.
ENUMERATIONS = {
    "QuadtreeMode": {
        "kReplace": codes.MODES["replace"],
        "kSum": codes.MODES["sum"],
        "kParallel": codes.MODES["parallel"],
    },
    "Activation": {
        "kNoActivation": codes.ACTIVATIONS[None],
        "kRelu": codes.ACTIVATIONS["relu"],
        "kLeakyRelu": codes.ACTIVATIONS["leaky_relu"],
    },
    "Norm": {
        "kNoNorm": codes.NORMS[None],
        "kBatchNorm": codes.NORMS["batch"],
        "kInstanceNorm": codes.NORMS["instance"],
    },
    "Metric": {
        "kGradientMax": codes.VARIATIONS["gradient", "max"],
        "kGradientMean": codes.VARIATIONS["gradient", "mean"],
        "kVariance": codes.VARIATIONS["variance", "max"],
        "kRange": codes.VARIATIONS["range", "max"],
        "kEntropy": codes.VARIATIONS["entropy", "max"],
    },
    "Surrogate": {
        "kSurrogatePaper": codes.SURROGATES["paper"],
        "kSurrogateSoftmax": codes.SURROGATES["softmax"],
        "kSurrogateNone": codes.SURROGATES["none"],
    },
    "GeodesicCost": {"kAdditive": codes.COSTS["additive"], "kHarmonic": codes.COSTS["harmonic"]},
    "GlcmFeature": {
        "kFContrast": codes.FEATURES.index("contrast"),
        "kFDissimilarity": codes.FEATURES.index("dissimilarity"),
        "kFHomogeneity": codes.FEATURES.index("homogeneity"),
        "kFSecondMoment": codes.FEATURES.index("asm"),
        "kFEnergy": codes.FEATURES.index("energy"),
        "kFEntropy": codes.FEATURES.index("entropy"),
        "kFCorrelation": codes.FEATURES.index("correlation"),
        "kFShade": codes.FEATURES.index("cluster_shade"),
        "kFProminence": codes.FEATURES.index("cluster_prominence"),
        "kFLargest": codes.FEATURES.index("max_probability"),
    },
}
LIMITS = {
    "kFeatures": len(codes.FEATURES),
    "kMaxRounds": codes.MAX_ROUNDS,
    "kEntropyBins": codes.ENTROPY_BINS,
    "kCandidates": codes.CANDIDATES,
    "kMaxWindow": codes.MAX_WINDOW,
    "kMaxBins": codes.MAX_BINS,
    "kMaxLevels": codes.MAX_LEVELS,
}
# Python tables whose size must be that of the enumeration: nothing is left out on either side.
SIZES = {
    "QuadtreeMode": len(codes.MODES),
    "Activation": len(codes.ACTIVATIONS),
    "Norm": len(codes.NORMS),
    "Metric": len(set(codes.VARIATIONS.values())),
    "Surrogate": len(codes.SURROGATES),
    "GeodesicCost": len(codes.COSTS),
    "GlcmFeature": len(codes.FEATURES),
}


def without_comments(path: Path) -> str:
    comment = r"#[^\n]*" if path.suffix == ".py" else r"//[^\n]*"
    return re.sub(comment, "", path.read_text(encoding="utf-8"))


def enumerations(text: str) -> dict[str, dict[str, int]]:
    """Enumerators and their numbers; every enumerator must have one."""
    found = {}
    for name, body in re.findall(r"enum (?:class )?(\w+)[^{;]*\{([^}]*)\}", text):
        entries = [re.fullmatch(r"(k\w+) = (\d+)", entry.strip()) for entry in body.split(",")]
        assert all(entries), f"{name} has an enumerator without a number: {body.strip()}"
        found[name] = {e[1]: int(e[2]) for e in entries if e}
    return found


def test_enumerators_have_the_numbers_of_python() -> None:
    assert enumerations(without_comments(HEADER)) == ENUMERATIONS


def test_limits_are_those_of_python() -> None:
    assert {k: int(v) for k, v in re.findall(r"constexpr int (k\w+) = (\d+);", without_comments(HEADER))} == LIMITS


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_python_names_every_code_once(name: str) -> None:
    numbers = list(ENUMERATIONS[name].values())
    assert sorted(numbers) == list(range(SIZES[name]))


def test_the_header_is_the_only_place_that_defines_them() -> None:
    names = "|".join([*LIMITS, *(n for members in ENUMERATIONS.values() for n in members)])
    twice = [
        f"{path.relative_to(PACKAGE)}: {found}"
        for path in sorted((PACKAGE / "csrc").rglob("*.*"))
        if path != HEADER
        for found in re.findall(rf"(?:constexpr|enum)[^;]*\b(?:{names}) = \d+", without_comments(path))
    ]
    assert not twice


@pytest.mark.parametrize("folder", ["csrc", "ops"])
def test_options_are_compared_with_names_not_with_numbers(folder: str) -> None:
    option = r"\b(?:mode|activation|norm|surrogate|cost|metric)\s*(?:==|!=|<=|>=|<|>)\s*\d"
    bare = [
        f"{path.relative_to(PACKAGE)}: {found}"
        for path in sorted((PACKAGE / folder).rglob("*.*"))
        if path.suffix in (".h", ".cpp", ".cu", ".cuh", ".inc", ".py")
        for found in re.findall(option, without_comments(path))
    ]
    assert not bare
