"""Every transform that has a peer, against that peer: MONAI, scikit-image, SciPy, FastGeodis.

Outputs are compared before anything is timed (except for MONAI's random elastic field, which is a different field by
construction). Bars: 5 times MONAI's ``Rand3DElastic`` at 96^3 and 192^3; 100 times the loop of scikit-image's
co-occurrence matrices over all windows of a 512^2 image, which is timed on 1,000 random windows and scaled; 2 times
FastGeodis at both sizes, where it is installed (``pip install FastGeodis``). The other rows have no bar: some show the
cost of medseg's checks and containers around the same library. Two threads unless ``--threads`` says otherwise;
scikit-image and SciPy run on one. Images are noise or smoothed noise, synthetic.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks import _harness as harness
from benchmarks._transforms import elastic, geodesic, others, texture
from benchmarks._transforms.case import row_of
from medseg.ops import status

OPS = ("bspline_warp", "geodesic_distance", "local_glcm", "local_histogram")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    options = harness.arguments(__doc__, argv)
    backends = {op: str(status()[op]["cpu"]) for op in OPS}
    head = harness.header(options.threads or 2, "fresh output in every call", **backends)
    repeats, seconds = (5, 2.0) if options.quick else (15, 20.0)
    rows = elastic.rows(options.quick)
    rows += [row_of(case, repeats, seconds) for case in texture.cases(options.quick) + others.cases(options.quick)]
    rows += geodesic.rows(options.quick)
    notes = [geodesic.NOTE, "scikit-image and SciPy run on one thread; a scaled peer ran on a sample of the windows."]
    return harness.finish(options, head, rows, notes)


if __name__ == "__main__":
    sys.exit(main())
