"""``medseg segment`` with one bundle, or with several side by side."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from medseg.apps import segment, segment_cases
from medseg.inference.bundle_archive import open_bundle
from medseg.inference.bundle_runner import find_weights
from medseg.inference.errors import ConfigurationError
from medseg.inference.outputs.folder import check_target

__all__ = ["main"]

_SOME_FAILED = 4


def main(args: argparse.Namespace) -> int:
    """Run the command for each bundle.

    Args:
        args: as for `medseg.apps.segment.main`, but ``bundle`` is a list, and ``weights`` a list or None.

    Returns:
        0, or 4 if with ``--cases`` a case failed with one of the bundles.
    """
    runs = _runs(args)
    codes = []
    for number, one in enumerate(runs, 1):
        if len(runs) > 1 and not args.quiet:
            print(f"bundle {number} of {len(runs)}: {Path(one.output).name}", file=sys.stderr, flush=True)
        codes.append(segment_cases.main(one) if one.cases else segment.main(one))
    return _SOME_FAILED if any(codes) else 0


def _runs(args: argparse.Namespace) -> list[argparse.Namespace]:
    """The options of each run. Everything that can be known is checked before the first one begins."""
    weights = args.weights or [None] * len(args.bundle)
    if len(weights) != len(args.bundle):
        raise ConfigurationError(
            f"--weights is given {len(weights)} time(s) for {len(args.bundle)} bundle(s); give one for each --bundle, "
            "in the same order, or none"
        )
    if len(args.bundle) == 1:
        return [_with(args, bundle=args.bundle[0], weights=weights[0])]
    if args.json:
        raise ConfigurationError("--json prints one result; leave it out, or give one --bundle")
    target = Path(args.output)
    if target.exists() and not target.is_dir():
        raise ConfigurationError(f"{target}: is a file, expected a folder for the results")
    runs: dict[str, argparse.Namespace] = {}
    for path, checkpoint in zip(args.bundle, weights, strict=True):
        with open_bundle(path) as bundle:
            find_weights(bundle, checkpoint)
            name = bundle.name
        if name in runs or name in ("", ".", "..") or "/" in name:
            reason = "is the name of two bundles" if name in runs else "cannot be the name of a folder"
            raise ConfigurationError(f"{path}: its name {name!r} (metadata.json) {reason}; run the bundle by itself")
        if not args.cases:
            check_target(target / name, args.overwrite)
        runs[name] = _with(args, bundle=path, weights=checkpoint, output=str(target / name))
    return list(runs.values())


def _with(args: argparse.Namespace, **changes: object) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(args), **changes})
