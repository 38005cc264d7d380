"""The ``medseg`` command: arguments, dispatch, exit codes. Importing it, and ``--help``, load no heavy library."""

from __future__ import annotations

import argparse
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from medseg import __version__
from medseg.apps.bundle_words import split_keys
from medseg.apps.failures import Interrupted, explain
from medseg.io.bounded.remedies import fit_remedies
from medseg.io.ct.policy_options import add_policy_options
from medseg.io.ct.statement_options import add_assumption_options, add_rescale_option
from medseg.io.privacy.names import HiddenNames
from medseg.io.privacy.terminal import add_show_names_option, print_error, private_terminal, shows_names

__all__ = ["build_parser", "main"]

_EPILOG = """exit codes: 0 success, 1 run-time failure, 2 usage or configuration, 3 data failed an integrity check,
4 some cases failed, 5 out of memory or disk, 75 stopped from outside (run the same command again), 130 Ctrl-C"""


class _Parser(argparse.ArgumentParser):
    """Usage errors in the same one-line form as all others."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see `{self.prog} --help`\n")

    def options(self) -> frozenset[str]:
        """All options of this command."""
        return frozenset(self._option_string_actions)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Keep keys of a configuration, which are not known here, apart from the options of ``medseg run``."""
        if self.get_default("keys") is None:
            return super().parse_known_args(args, namespace)
        try:
            own, keys = split_keys(args, self.options())
        except ValueError as error:
            self.error(str(error))
        found, extra = super().parse_known_args(own, namespace)
        found.keys = keys
        return found, extra


def _device(text: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a device; expected cpu, cuda or cuda:N")
    return text


def build_parser() -> argparse.ArgumentParser:
    """The argument parser with all sub-commands."""
    parser = _Parser(prog="medseg", description="Segmentation of small, concentrated targets in CT.", epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"medseg {__version__}")
    common = _Parser(add_help=False)
    common.add_argument("--traceback", action="store_true", help="show the full traceback of a failure")
    commands = parser.add_subparsers(
        parser_class=_Parser, title="commands", dest="command", metavar="COMMAND", required=True
    )

    doctor = commands.add_parser(
        "doctor", parents=[common], help="what is installed, compiled and decodable here", epilog=_EPILOG
    )
    doctor.add_argument("--json", action="store_true", help="print JSON instead of tables")
    doctor.set_defaults(run=_doctor)

    demo = commands.add_parser(
        "demo", parents=[common], help="train and segment synthetic cases on this machine", epilog=_EPILOG
    )
    demo.add_argument("-o", "--output", default="demo_output", metavar="DIR", help="result folder (demo_output)")
    _add_run_options(demo)
    demo.set_defaults(run=_demo)

    segment = commands.add_parser(
        "segment", parents=[common], help="segment one CT with a bundle", epilog=_EPILOG,
        description="Segment one CT with a MONAI bundle. A bundle's configuration is code: run only bundles you trust.",
    )  # fmt: skip
    _add_segment_options(segment)
    segment.set_defaults(run=_segment)
    evaluate = commands.add_parser(
        "evaluate", parents=[common], help="score label maps against references", epilog=_EPILOG,
        description="Score a folder of label maps against a folder of references with the same file names, and write "
        "tables, a summary and a report.",
    )  # fmt: skip
    _add_evaluate_options(evaluate)
    evaluate.set_defaults(run=_evaluate)
    run = commands.add_parser(
        "run", parents=[common], help="check a bundle's configuration and run it", epilog=_EPILOG,
        usage="medseg run CONFIG [CONFIG ...] [--KEY VALUE ...] [--dry-run] [--trust] [--traceback]",
        description="Check configuration files (JSON, YAML; later ones over earlier ones) before anything of them is "
        "run: misspelt keys, wrong types, and what could run code. Then print the same command of monai.bundle, and "
        "run it. --KEY VALUE overrides a key, such as --epochs 5 or --network_def::norm BATCH.",
    )  # fmt: skip
    run.add_argument("config", nargs="+", metavar="CONFIG", help="configuration file, such as configs/train.json")
    run.add_argument("--dry-run", action="store_true", help="check and print the command; run nothing")
    run.add_argument(
        "--trust", action="store_true", help="run without the check: for configurations that you have read"
    )
    run.set_defaults(run=_run, keys=())
    froc = commands.add_parser(
        "froc", parents=[common], help="score marks of nodules as LUNA16 does", epilog=_EPILOG,
        description="The FROC curve of marks in the tables of LUNA16: sensitivity at 1/8 to 8 false positives a scan, "
        "and their mean, the CPM, with bootstrap intervals by scan.",
    )  # fmt: skip
    _add_froc_options(froc)
    froc.set_defaults(run=_froc)
    weights = commands.add_parser(
        "weights", parents=[common], help="what a file of weights holds", epilog=_EPILOG,
        description="Tell what files of weights hold, without running anything that they bring along; or write the "
        "weights of one in another format. Code 3 if values are NaN or infinite.",
    )  # fmt: skip
    _add_weights_options(weights)
    weights.set_defaults(run=_weights)
    for command in (doctor, demo, segment, evaluate, run, weights):
        command.set_defaults(fit_message=partial(fit_remedies, options=command.options()))
    return parser


def _add_case_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("many cases (each result is DIR/cases/NAME; also summary.csv and failed.csv)")
    group.add_argument(
        "--cases", action="store_true",
        help="CASE is a folder of cases: the image files in it, and CT series in DICOM anywhere below it. Run the same "
        "command again after any end, and only what is missing is done",
    )  # fmt: skip
    group.add_argument("--num-parts", type=int, default=1, metavar="P", help="divide the cases into P parts")
    group.add_argument("--part-id", type=int, default=0, metavar="I", help="the part to do, 0 to P-1")
    group.add_argument("--retry-failed", action="store_true", help="try cases again that failed before")


def _add_segment_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-i", "--input", required=True, metavar="CASE",
        help="image file (NIfTI, MetaImage or NRRD), or folder or archive with one CT series in DICOM",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="result folder, new or empty")
    parser.add_argument(
        "--bundle", required=True, action="append", metavar="DIR",
        help="bundle folder (with configs/inference.json), or an archive of one (.zip, .tar.gz ...); give it several "
        "times for several bundles, whose results go to DIR/NAME of the bundle",
    )  # fmt: skip
    parser.add_argument("--series", metavar="UID", help="SeriesInstanceUID, if the folder holds several CT series")
    parser.add_argument(
        "--weights", action="append", metavar="FILE",
        help="checkpoint instead of the bundle's own; of several bundles one each, in their order",
    )  # fmt: skip
    parser.add_argument(
        "--ot", "--output-type", dest="output_type", nargs="+", choices=("dicom_seg", "rtstruct"), default=[],
        help="also write seg.dcm or rtstruct.dcm for the series in CASE; these files repeat the patient's name and the "
        "study from it, because an archive files them by these",
    )  # fmt: skip
    parser.add_argument(
        "--on-nonfinite", choices=("refuse", "fill"), default="refuse",
        help="voxels that are NaN or infinite: refuse the case, or fill them with --fill-value (default: refuse)",
    )  # fmt: skip
    parser.add_argument(
        "--fill-value", type=float, metavar="HU", help="what --on-nonfinite fill puts there (default: -1024, air)"
    )
    parser.add_argument(
        "--cropped",
        action="store_true",
        help="CASE is a crop inside the body: missing air raises no doubt about its unit",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="refuse a CASE whose values can hardly be HU, instead of a warning (code 3)",
    )
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32",
        help="of the network; bfloat16 is faster where the processor has it and changes borders a little "
        "(default: float32)",
    )  # fmt: skip
    parser.add_argument(
        "--max-memory", type=float, metavar="GIB", help="refuse a CASE that is estimated to need more main memory"
    )
    _add_case_options(parser)
    parser.add_argument(
        "--json", action="store_true", help="print statistics, warnings and files as one JSON object, and nothing else"
    )
    parser.add_argument(
        "--probability-map", action="store_true",
        help="also write probability.nii.gz: the probability of each class but the background, in a byte a voxel",
    )  # fmt: skip
    parser.add_argument("--no-report", action="store_true", help="leave report.html out")
    parser.add_argument("--dry-run", action="store_true", help="check everything and print the plan; write nothing")
    _add_run_options(parser)
    add_show_names_option(parser)
    add_policy_options(parser)
    add_rescale_option(parser)
    add_assumption_options(parser)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", type=_device, help="cpu, cuda or cuda:N (default: cuda if there is one)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result in DIR")
    parser.add_argument("--quiet", action="store_true", help="show errors only")


def _add_evaluate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pred", required=True, metavar="DIR",
        help="label files to be scored; or CASE/seg.nii.gz in folders, as `medseg segment` writes them",
    )  # fmt: skip
    parser.add_argument("--truth", required=True, metavar="DIR", help="reference label files")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="result folder, new or empty")
    parser.add_argument(
        "--scheme", choices=("plain", "lits"), default="plain",
        help="lits: also the scores of the LiTS challenge as its scripts compute them (1 liver, 2 tumour)",
    )  # fmt: skip
    parser.add_argument(
        "--labels", nargs="+", default=[], metavar="NAME=V[,V]",
        help="classes and their values, such as liver=1,2 tumour=2; or one dataset.json (default: one class of all "
        "values above 0; with --scheme lits liver=1,2 tumour=2)",
    )  # fmt: skip
    parser.add_argument(
        "--lesions", nargs="*", metavar="NAME",
        help="classes whose connected parts are counted as lesions (default: all; with --scheme lits tumour)",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance", type=_tolerance, default=1.0, metavar="MM",
        help="of the surface Dice; none leaves it out and saves seconds at the start (default: 1)",
    )  # fmt: skip
    parser.add_argument("--baseline", metavar="DIR", help="other predictions for the same references, to compare with")
    parser.add_argument(
        "--patients", metavar="FILE",
        help="CSV with the columns case and patient: intervals draw patients (default: every case is a patient)",
    )  # fmt: skip
    parser.add_argument("--only-common", action="store_true", help="leave out files without a partner")
    parser.add_argument(
        "--pseudonym-key", metavar="FILE",
        help="key made by data_prep.key: cases whose file names could name a patient get pseudonyms in the results "
        "(default: numbers in the order of the references' names)",
    )  # fmt: skip
    parser.add_argument("--resamples", type=int, default=2000, metavar="N", help="of the bootstrap (default: 2000)")
    parser.add_argument("--threads", type=int, metavar="N", help="of the search for distances (default: all)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result in OUT")
    parser.add_argument("--quiet", action="store_true", help="show errors only")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    add_show_names_option(parser)


def _add_froc_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--marks", required=True, metavar="FILE", help="CSV: seriesuid, coordX, coordY, coordZ (LPS mm), probability"
    )
    parser.add_argument("--nodules", required=True, metavar="FILE", help="annotations.csv")
    parser.add_argument("--scans", required=True, metavar="FILE", help="seriesuids.csv: every scan that was read")
    parser.add_argument(
        "--excluded", metavar="FILE", help="annotations_excluded.csv: a mark on these is neither right nor wrong"
    )
    parser.add_argument("--only-listed", action="store_true", help="leave out rows of scans that --scans does not list")
    parser.add_argument("--resamples", type=int, default=1000, metavar="N", help="of the bootstrap (default: 1000)")
    parser.add_argument("--curve", metavar="FILE", help="also write the whole curve as CSV")
    parser.add_argument("--overwrite", action="store_true", help="replace the FILE of --curve")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_weights_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="model.pt, last.pt, a checkpoint or model.safetensors")
    parser.add_argument("--all", action="store_true", help="list every tensor")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--to", metavar="OUT", help="write the weights of FILE to OUT (.pt or .safetensors), and compare them"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT")


def _tolerance(text: str) -> float | None:
    if text == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no tolerance; expected mm, at least 0, or none")
    return value


def _evaluate(args: argparse.Namespace) -> int:
    from medseg.apps import evaluate

    return evaluate.main(args)


def _froc(args: argparse.Namespace) -> int:
    from medseg.apps import froc

    return froc.main(args)


def _weights(args: argparse.Namespace) -> int:
    from medseg.apps import weights

    return weights.main(args)


def _doctor(args: argparse.Namespace) -> int:
    from medseg.apps import doctor

    return doctor.main(args)


def _demo(args: argparse.Namespace) -> int:
    from medseg.apps import demo

    return int(demo.main(args))


def _segment(args: argparse.Namespace) -> int:
    from medseg.apps import segment_bundles

    return segment_bundles.main(args)


def _run(args: argparse.Namespace) -> int:
    from medseg.apps import run

    return run.main(args)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        argv: arguments without the program name; ``None`` takes those of the process.
    """
    try:
        args = build_parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    names = args.hidden_names = _hidden_names(args)
    with nullcontext() if names is None else private_terminal(names, stdout=not getattr(args, "json", False)):
        try:
            with _sigterm_raises():
                return int(args.run(args))
        except (Exception, KeyboardInterrupt) as error:
            if args.traceback:
                import traceback

                traceback.print_exc()
            line, code = explain(error)
            print_error(getattr(args, "fit_message", str)(line), names)
            return code


def _hidden_names(args: argparse.Namespace) -> HiddenNames | None:
    """The names of the case, which are hidden on the terminal; None if there is no case or they are to be shown."""
    if shows_names(args):
        return None
    if getattr(args, "pred", None) is not None:
        given = {"PRED": args.pred, "TRUTH": args.truth, "BASELINE": args.baseline, "PATIENTS": args.patients}
        inputs = {word: path for word, path in given.items() if path is not None}
        return HiddenNames(inputs, outputs=[args.output])
    if getattr(args, "input", None) is None:
        return None
    model = [Path(path) for path in (*args.bundle, *(args.weights or ()))]
    unpacked = [Path(path.name) for path in model if path.is_file()]  # as an unpacked archive is called
    return HiddenNames({"CASE": args.input}, outputs=[args.output, *model, *unpacked])


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that unfinished results are cleaned up on the way out."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    raise SystemExit(main())
