"""Make the secret key of pseudonyms: ``python -m data_prep.key FILE``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from data_prep._options.command_line import EXIT_CODES, OneLineParser, output_path, run_command

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _make(args), args)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data_prep.key",
        description="Write a new random key into FILE, readable by its owner alone, for data_prep.convert "
        "--pseudonym-key and the other commands that have this option. Keep it apart from the outputs: whoever has it "
        "can test which patient a pseudonym stands for. If it is lost, the same pseudonyms cannot be made again. An "
        "existing file is never replaced.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("output", metavar="FILE", type=output_path, help="file to make")
    return parser


def _make(args: argparse.Namespace) -> None:
    from medseg.io.privacy.pseudonym import write_key

    key_id = write_key(args.output)
    print(f"{args.output}: new pseudonym key, id {key_id}; outputs made with it name this id")


if __name__ == "__main__":
    sys.exit(main())
