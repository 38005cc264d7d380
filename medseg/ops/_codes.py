"""Numbers that Python and C++ must agree on: the codes of options that ops take as integers, and limits.

C++ has the same numbers in ``medseg/csrc/common/codes.h``. ``tests/ops/test_codes.py`` compares the two.
"""

from __future__ import annotations

# quadtree_conv: what a round does with its tiles.
REPLACE, SUM, PARALLEL = 0, 1, 2
MODES = {"replace": REPLACE, "sum": SUM, "parallel": PARALLEL}

# quadtree_conv: what follows the convolution.
NO_ACTIVATION, RELU, LEAKY_RELU = 0, 1, 2
ACTIVATIONS = {None: NO_ACTIVATION, "relu": RELU, "leaky_relu": LEAKY_RELU}
NO_NORM, BATCH_NORM, INSTANCE_NORM = 0, 1, 2
NORMS = {None: NO_NORM, "batch": BATCH_NORM, "instance": INSTANCE_NORM}

# quadtree_plan: the variation of a block, by metric and reduction.
GRADIENT_MAX, GRADIENT_MEAN, VARIANCE, RANGE, ENTROPY = 0, 1, 2, 3, 4
VARIATIONS = {
    ("gradient", "max"): GRADIENT_MAX,
    ("gradient", "mean"): GRADIENT_MEAN,
    ("variance", "max"): VARIANCE,
    ("variance", "mean"): VARIANCE,
    ("range", "max"): RANGE,
    ("range", "mean"): RANGE,
    ("entropy", "max"): ENTROPY,
    ("entropy", "mean"): ENTROPY,
}
METRICS = ("gradient", "variance", "range", "entropy")
REDUCTIONS = ("max", "mean")
MAX_ROUNDS = 8
ENTROPY_BINS = 32

# patch_select: how the scores are differentiated, and how many of its best patches a query may be given.
SURROGATE_PAPER, SURROGATE_SOFTMAX, SURROGATE_NONE = 0, 1, 2
SURROGATES = {"paper": SURROGATE_PAPER, "softmax": SURROGATE_SOFTMAX, "none": SURROGATE_NONE}
CANDIDATES = 32

# geodesic_distance: the cost of a step.
ADDITIVE, HARMONIC = 0, 1
COSTS = {"additive": ADDITIVE, "harmonic": HARMONIC}

# local_glcm: feature i is bit i of the op's bit set; the maps come in this order.
FEATURES = (
    "contrast",
    "dissimilarity",
    "homogeneity",
    "asm",
    "energy",
    "entropy",
    "correlation",
    "cluster_shade",
    "cluster_prominence",
    "max_probability",
)
MAX_LEVELS = 1024

# local_histogram and local_glcm: voxels of a window; local_histogram: bins.
MAX_WINDOW = 32767
MAX_BINS = 32767
