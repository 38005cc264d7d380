"""Run a bundle's inference config on one image, inside this process."""

from __future__ import annotations

import contextlib
import io
import logging
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.geometry import Affine, corner_displacement_mm, label_counts
from medseg.inference.bundle import Bundle
from medseg.inference.cohort.keep_loaded import keep_parser, kept_key, kept_parser
from medseg.inference.errors import ConfigurationError, InferenceError, root_cause

if TYPE_CHECKING:
    from medseg.inference.bundle_parts import ProbabilityListener
    from medseg.inference.case import Case

__all__ = [
    "MASK_NAME",
    "checked_mask",
    "equivalent_command",
    "find_weights",
    "overrides_for",
    "public_command",
    "read_mask",
    "run_bundle",
]

MASK_NAME = "seg"

_TOLERANCE_MM = 1e-2

_log = logging.getLogger(__name__)


def find_weights(bundle: Bundle, weights: str | Path | None = None) -> Path:
    """Path of the checkpoint: the one given, else the one the bundle's ``weights`` key points to.

    Raises:
        ConfigurationError: if the file is not there; the line says how to get it.
    """
    if weights is not None:
        if not Path(weights).is_file():
            raise ConfigurationError(f"{weights}: no such weights file")
        return Path(weights)
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(bundle.config))
    parser.update({"bundle_root": str(bundle.root)})
    path = Path(str(parser.get_parsed_content("weights")))
    if not path.is_file():
        train = bundle.root / "configs" / "train.json"
        command = f"python -m monai.bundle run --config_file {train} --bundle_root {bundle.root}"
        trained = f"train with `{command}`, " if train.is_file() and bundle.archive is None else ""
        raise ConfigurationError(
            f"{path}: no weights there; {trained}run `make demo`, or give weights (--weights FILE)"
        )
    return path


def overrides_for(
    bundle: Bundle, image: Path, output_dir: Path, weights: Path, device: str, progress: bool = False
) -> dict[str, Any]:
    """The config values that turn a bundle's inference config into a run on one image."""
    values: dict[str, Any] = {
        "bundle_root": str(bundle.root.absolute()),
        "output_dir": str(output_dir.absolute()),
        "input_files": [str(image.absolute())],
        "weights": str(weights.absolute()),
        "output_name": MASK_NAME,
        "device": f"$torch.device('{device}')",
    }
    if bundle.has_progress:
        values["progress"] = progress
    if bundle.has_amp:
        values["amp"] = False
    if bundle.has_hu_check:
        values["on_hu_doubt"] = "ignore"  # the case was judged when it was read
    if bundle.has_header_check:
        values["on_header_doubt"] = "ignore"
    return values


def equivalent_command(bundle: Bundle, overrides: dict[str, Any]) -> str:
    """The ``python -m monai.bundle run`` command that does the same, quoted for a shell.

    ``BUNDLE`` in it is the folder into which the bundle's archive is unpacked.
    """
    parts = ["python", "-m", "monai.bundle", "run", "--config_file", str(bundle.config)]
    for key, value in overrides.items():
        parts += [f"--{key}", str(value)]
    return bundle.shown(shlex.join(parts))


def public_command(bundle: Bundle, weights: Path, device: str) -> str:
    """`equivalent_command` with placeholders for image and output, which may carry names of patients."""
    values = overrides_for(bundle, Path("/CASE.nii.gz"), Path("/OUTPUT"), weights, device)
    values.update(input_files=["CASE.nii.gz"], output_dir="OUTPUT")
    return equivalent_command(bundle, values)


def run_bundle(
    bundle: Bundle,
    case: Case,
    weights: Path,
    device: str,
    scratch: Path,
    progress: bool = False,
    precision: str = "float32",
    on_probability: ProbabilityListener | None = None,
) -> NDArray[np.uint8]:
    """Run the bundle and return its mask ``[i, j, k]``, checked against the case's grid and the bundle's classes.

    A configuration that does nothing but load, preprocess, infer, postprocess and save is run part by part on the image
    in memory (`medseg.inference.bundle_parts`). Every other one is run as ``monai.bundle run`` does it, with files in
    ``scratch``. The bundle's own ``logging.conf`` is not applied, and what the bundle prints on standard output goes to
    the log.

    Raises:
        ConfigurationError: for another precision than float32, or for probabilities, if the configuration is not run
            part by part, or has no step of its own that makes the mask of probabilities.
        InferenceError: if the bundle ends without having written the mask, if that does not belong to the case, or in
            the words of the part of it that refused a value. Other errors pass as they are.
    """
    from monai.bundle import ConfigWorkflow

    from medseg.inference.bundle_parts import is_plain, makes_probabilities, run_parts

    image = case.file if case.file is not None else scratch / "image.nii"
    overrides = overrides_for(bundle, image, scratch / "bundle", weights, device, progress)
    with _stdout_to_log(), _cause_in_one_line():
        key = kept_key(bundle, weights, device, progress)
        parser = kept_parser(key)
        if parser is None:
            workflow = ConfigWorkflow(
                config_file=str(bundle.config),
                meta_file=str(bundle.metadata),
                logging_file=False,
                workflow_type="infer",
                **overrides,
            )
            parser = workflow.parser
        plain = is_plain(parser)
        if on_probability is not None and not (plain and makes_probabilities(parser)):
            raise ConfigurationError(
                f"{bundle.config}: a probability map needs a bundle that makes its mask with "
                "medseg.transforms.MaskOnSourceGridd; leave --probability-map (probability_map=True) out"
            )
        if plain:
            listener = None if on_probability is None else _checked_listener(on_probability, bundle, case)
            mask = run_parts(parser, case, precision, listener)
            keep_parser(key, parser)
            return checked_mask(mask, case.affine_ras, bundle, case)
        if precision != "float32":
            raise ConfigurationError(
                f"{bundle.config}: this bundle does more than its parts, so its own engine sets the precision; leave "
                f"--precision (precision={precision!r}) out"
            )
        case.as_nifti(scratch)
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    written = Path(overrides["output_dir"]) / f"{overrides['output_name']}.nii.gz"
    if not written.is_file():
        raise InferenceError(
            f"{bundle.config}: the bundle ended without writing {written.name} into output_dir; it must write "
            "<output_dir>/<output_name>.nii.gz"
        )
    return read_mask(written, bundle, case)


def _checked_listener(listener: ProbabilityListener, bundle: Bundle, case: Case) -> ProbabilityListener:
    """A listener that gets one map for each foreground class on the grid of the case."""

    def listen(found: NDArray[np.uint8]) -> None:
        expected = (len(bundle.labels) - 1, *case.array.shape)
        if found.shape != expected:
            raise InferenceError(
                f"{bundle.config}: the probabilities have shape {found.shape}, expected {expected}: one for each class "
                "but the background, on the grid of the image"
            )
        listener(found)

    return listen


def read_mask(path: Path, bundle: Bundle, case: Case) -> NDArray[np.uint8]:
    """The mask that a bundle wrote, checked against the case's grid and the bundle's classes.

    Raises:
        InferenceError: if it lies on another grid, or holds a value that the bundle does not name.
    """
    from medseg.io.volumes.nifti import read_nifti

    return checked_mask(*read_nifti(path)[:2], bundle, case)


def checked_mask(mask: NDArray[Any], affine: Affine, bundle: Bundle, case: Case) -> NDArray[np.uint8]:
    """A bundle's mask, if it lies on the case's grid and holds the bundle's classes alone.

    Raises:
        InferenceError: if it does not.
    """
    if mask.shape != case.array.shape:
        raise InferenceError(
            f"{bundle.config}: the mask has shape {mask.shape}, the image {case.array.shape}; "
            "the bundle must invert its spatial transforms"
        )
    shift = corner_displacement_mm(affine, case.affine_ras, mask.shape)
    if shift > _TOLERANCE_MM:
        raise InferenceError(f"{bundle.config}: the mask lies {shift:.3f} mm off the image's grid")
    unnamed = [value for value in label_counts(mask) if value not in bundle.labels]
    if unnamed:
        raise InferenceError(
            f"{bundle.config}: the mask holds the value {unnamed[0]:g}, but metadata.json names only "
            f"{sorted(bundle.labels)}"
        )
    return mask.astype(np.uint8, copy=False)


@contextlib.contextmanager
def _cause_in_one_line() -> Iterator[None]:
    """MONAI wraps an error in others that only say where it happened: raise what a part of the bundle said instead."""
    try:
        yield
    except RuntimeError as error:
        cause = root_cause(error)
        if isinstance(cause, InferenceError | ValueError) and str(cause):
            raise InferenceError(" ".join(str(cause).split())) from error
        raise


@contextlib.contextmanager
def _stdout_to_log() -> Iterator[None]:
    """Send printed lines and MONAI's records to the log: standard output is for what the user asked for."""
    captured = io.StringIO()
    # Some of MONAI's loggers write to standard output themselves and pass nothing on to the root logger.
    loggers = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict) if name.startswith("monai")]
    before = [(logger, logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers = [handler for handler in logger.handlers if type(handler) is not logging.StreamHandler]
        logger.propagate = True
    try:
        with contextlib.redirect_stdout(captured):
            yield
    finally:
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
        for line in captured.getvalue().splitlines():
            _log.info("printed: %s", line)
