"""``medseg run``: a bundle's configuration, checked and then run by MONAI."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medseg.apps.bundle_words import bundle_command, parse_value
from medseg.apps.failures import CommandError
from medseg.inference.errors import ConfigurationError
from medseg.io.bounded.one_line import caller_prints_errors, refusal_of
from medseg.training.config_check import check_configuration

__all__ = ["main"]

_CHECKED = ("meta_file", "logging_file", "run_id", "init_id", "final_id")
_PASSED_ON = (*_CHECKED, "workflow_type")
_REFUSED = {
    "config_file": "give the files without it: medseg run FILE FILE",
    "args_file": "give its values as keys",
    "tracking": "it sends data to a server: leave it out",
    "workflow_name": "it names any class: leave it out",
    "properties_path": "leave it out",
}


def main(args: argparse.Namespace) -> int:
    """Run the command.

    Args:
        args: ``config`` (files), ``keys`` (pairs of a key and its text), ``trust``, ``dry_run``.

    Returns:
        0, 2 if something was refused, or the code with which the run itself ended, such as 75 after SIGTERM.
    """
    files = [str(file) for file in args.config]
    keys = _parsed(args.keys)
    if "bundle_root" not in keys:
        keys = {**_bundle_root(files), **keys}
    first = os.environ.get("RANK", "0") == "0"  # of several processes one speaks
    if not args.trust and not _is_fine(files, keys, first):
        return 2
    if first:
        print(bundle_command(files, keys), flush=True)
        if args.dry_run:
            print("not checked (--trust)" if args.trust else "checked; nothing was run (--dry-run)")
    return 0 if args.dry_run else _run(files, keys, args.trust)


def _parsed(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for name, text in pairs:
        if name in _REFUSED:
            raise ConfigurationError(f"--{name} is an option of monai.bundle that is not taken here; {_REFUSED[name]}")
        if name.replace("#", "::") in keys:
            raise ConfigurationError(f"--{name} is given twice; expected one value")
        try:
            value = parse_value(text)
        except ValueError as error:
            raise ConfigurationError(f"--{name}: {error}") from None
        if name in _PASSED_ON and not isinstance(value, str):
            raise ConfigurationError(f"--{name} is {value!r}; expected one text")
        keys[name.replace("#", "::")] = value
    return keys


def _bundle_root(files: list[str]) -> dict[str, str]:
    """The folder above ``configs``, for configurations that look for it in the working directory."""
    from medseg.training.config_check.load import load

    folder = Path(files[0]).parent
    if folder.name != "configs" or folder.resolve().parent == Path.cwd():
        return {}
    here = load(files, {}).parser.get("bundle_root") == "."
    return {"bundle_root": os.path.normpath(folder / "..")} if here else {}


def _is_fine(files: list[str], keys: Mapping[str, Any], first: bool) -> bool:
    overrides = {key: value for key, value in keys.items() if key not in _PASSED_ON}
    findings = check_configuration(files, overrides, **{key: keys[key] for key in _CHECKED if key in keys})
    if not first:
        return not findings
    for finding in findings:
        print(f"error: {finding}{_option_near(finding.id)}", file=sys.stderr)
    if findings:
        count = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
        line = f"error: {count}, nothing was run; --trust runs a configuration that you have read unchecked"
        print(line, file=sys.stderr)
    return not findings


def _option_near(id: str) -> str:
    near = difflib.get_close_matches(f"--{id}", ("--dry-run", "--trust"), 1, 0.8)
    return f" (or {near[0]}?)" if near else ""


def _run(files: list[str], keys: Mapping[str, Any], trusted: bool) -> int:
    import monai.bundle

    if not trusted:  # MONAI warns that nothing of it was checked
        warnings.filterwarnings("ignore", message="parsing config_file")
    try:
        with caller_prints_errors("medseg run"):
            monai.bundle.run(config_file=files if len(files) > 1 else files[0], **keys)
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    except Exception as error:
        line = refusal_of(error)
        if line is None:
            raise
        raise CommandError(line) from error
    return 0
