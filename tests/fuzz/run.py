"""Coverage-guided fuzzing of one target by atheris: ``python -m tests.fuzz.run NAME --seconds 60``.

It starts from the saved corpus, runs under a limit of memory and of time for each input, and stops at the first input
that does not end in a value or in one line. That input is written to the folder named by ``--findings``; once the
reader is mended, the file belongs into ``tests/corpus/NAME``, where every test run meets it again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["medseg"], enable_loader_override=False):
    from tests.fuzz._targets import CORPUS, TARGETS, outcome


def main() -> None:
    """Run the command line; atheris ends the process."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description="Fuzz one reader by coverage.")
    parser.add_argument("name", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--findings", type=Path, default=Path("fuzz_findings"), help="folder for what is found")
    parser.add_argument("--memory-mb", type=int, default=2048, help="limit of the process")
    args = parser.parse_args()
    args.findings.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    grown = args.findings / f"{args.name}-grown"
    grown.mkdir(exist_ok=True)

    def one_input(data: bytes) -> None:
        outcome(args.name, data, folder)

    options = [
        f"-max_total_time={args.seconds}",
        "-max_len=8192",
        "-timeout=10",
        f"-rss_limit_mb={args.memory_mb}",
        f"-artifact_prefix={args.findings / args.name}-",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(grown), str(CORPUS / args.name)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
