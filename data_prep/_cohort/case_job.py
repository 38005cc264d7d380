"""One case of a cohort, as a job for a worker: convert it in a temporary folder, then publish it in one step."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.io.bounded.atomic import write_json
from medseg.io.cohort.peak_memory import peak_memory_mb, reset_peak_memory
from medseg.io.cohort.tree import contents_sha256, digest_of, files_of, tree_sha256

__all__ = ["CASE_FILE", "COMMANDS", "command_words", "missing_outputs", "read_case_file", "recipe_of", "run_case"]

CASE_FILE = "case.json"
"""Written beside the outputs of a case: what they were made of and what they are."""

COMMANDS = {"convert": "data_prep.convert", "lidc": "data_prep.lidc"}
"""Modules whose ``main`` converts one case, by the name of the cohort's command."""


def recipe_of(command: str, options: Sequence[str], key_id: str | None = None) -> dict[str, Any]:
    """What decides the output beside the input: command, its options, pseudonym key and versions of the program."""
    import medseg
    from medseg.io.ct.sidecar import CONVERTER_VERSION

    return {
        "command": command,
        "options": list(options),
        "converter_version": CONVERTER_VERSION,
        "medseg": medseg.__version__,
        **({} if key_id is None else {"pseudonym_key_id": key_id}),
    }


def command_words(
    command: str, dicom: str | Path, out: str | Path, xml: str | Path | None, series: str | None, options: Sequence[str]
) -> list[str]:
    """The command line that converts one case.

    Args:
        command: ``convert`` or ``lidc``.
        dicom: folder with the CT.
        out: folder to make; a series that ``convert`` splits gives several images in it.
        xml: folder with the annotations, only for ``lidc``.
        series: what to choose among several series, or None.
        options: further options, given as they are.
    """
    chosen = [] if series is None else ["--series", series]
    if command == "convert":
        return [str(dicom), str(Path(out, "ct.nii.gz")), *chosen, *options]
    annotations = [] if xml is None else ["--xml", str(xml)]
    return ["--dicom", str(dicom), *annotations, "--out", str(out), *chosen, *options]


def read_case_file(folder: str | Path) -> dict[str, Any] | None:
    """The record that a published case carries, or None if there is none that can be read."""
    try:
        record = json.loads((Path(folder) / CASE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and {"key", "files", "tree_sha256"} <= record.keys() else None


def missing_outputs(folder: str | Path, record: Mapping[str, Any], deep: bool = False) -> list[str]:
    """Files of a published case that are absent or changed: by size, or by contents too.

    Args:
        folder: the case's output folder.
        record: what `read_case_file` returned.
        deep: read every file and compare its SHA-256.
    """
    folder = Path(folder)
    if deep:
        found = files_of(folder)
        return sorted(name for name, facts in record["files"].items() if found.get(name) != facts)
    return sorted(name for name, facts in record["files"].items() if _size(folder / name) != facts["bytes"])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def run_case(
    *,
    recipe: dict[str, Any],
    sources: dict[str, str],
    dicom: list[str],
    xml: list[str],
    series: str | None,
    staging: str,
    target: str,
    overwrite: bool,
    secrets: Sequence[str] = (),
) -> dict[str, Any]:
    """Convert one case, unless its output exists already and was made of the same input by the same recipe.

    The case's files alone are linked into a folder of its own, so that files of other cases are neither read nor mixed
    in. The command writes beside them; only when it is done does the whole output folder move to its place, together
    with the record ``case.json`` by which a later run knows it.

    Args:
        recipe: from `recipe_of`.
        sources: the folders ``dicom`` and ``xml`` that file names are relative to.
        dicom: files of the CT.
        xml: annotation files.
        series: value of ``--series``, or None.
        staging: folder for work in progress, on the same file system as the target.
        target: the output folder to make.
        overwrite: replace an output that was made of other input or by another recipe.
        secrets: further words of the command line that no record holds: where key and link file are.

    Returns:
        ``status`` (``done`` or ``failed``), ``error``, ``kept`` (True: it was there already), ``key``, ``tree_sha256``,
        ``input_sha256``, ``input_bytes``, ``output_bytes``, ``warnings``, ``seconds`` and ``peak_rss_mb``.
    """
    start = time.perf_counter()
    reset_peak_memory()
    digest, size = contents_sha256([Path(sources["dicom"], n) for n in dicom] + [Path(sources["xml"], n) for n in xml])
    facts: dict[str, Any] = {
        "key": digest_of({**recipe, "input_sha256": digest}),
        "input_sha256": digest,
        "input_bytes": size,
    }
    result = _kept(Path(target), facts["key"], overwrite)
    if result is None:
        with _workplace(Path(staging)) as place:
            result = _convert(place, recipe, facts, sources, dicom, xml, series, Path(target), secrets)
    seconds = round(time.perf_counter() - start, 3)
    return {**facts, **result, "seconds": seconds, "peak_rss_mb": peak_memory_mb()}


def _kept(target: Path, key: str, overwrite: bool) -> dict[str, Any] | None:
    """The outcome where the target exists already; None if there is work to do."""
    if not target.exists():
        return None
    record = read_case_file(target)
    same = record is not None and record["key"] == key
    if same and not missing_outputs(target, record or {}, deep=True):
        return {"status": "done", "kept": True, **_output_facts(record or {})}
    if overwrite:
        return None
    if record is None:
        reason = f"it holds no {CASE_FILE}, so no run of this command made it"
    elif same:
        reason = f"its files were changed since: {', '.join(missing_outputs(target, record, deep=True))}"
    else:
        reason = "it was made of other input, with other options or by another version"
    return _failure(f"{target} exists already and {reason}; remove it, or add --overwrite or --skip-existing", 2)


def _output_facts(record: Mapping[str, Any]) -> dict[str, Any]:
    files = record["files"].values()
    return {"tree_sha256": record["tree_sha256"], "output_bytes": sum(facts["bytes"] for facts in files)}


def _failure(error: str, exit_code: int) -> dict[str, Any]:
    return {"status": "failed", "error": error, "exit_code": exit_code}


@contextlib.contextmanager
def _workplace(staging: Path) -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="case-", dir=staging))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _convert(
    place: Path,
    recipe: Mapping[str, Any],
    facts: Mapping[str, Any],
    sources: Mapping[str, str],
    dicom: Sequence[str],
    xml: Sequence[str],
    series: str | None,
    target: Path,
    secrets: Sequence[str],
) -> dict[str, Any]:
    _link(place / "dicom", sources["dicom"], dicom)
    _link(place / "xml", sources["xml"], xml)
    out = place / target.name
    annotations = place / "xml" if xml else None
    words = command_words(recipe["command"], place / "dicom", out, annotations, series, recipe["options"])
    code, errors = _run_main(COMMANDS[recipe["command"]], [*words, *secrets])
    errors = [_as_seen_by_the_user(line, place, sources, dicom, target) for line in errors]
    if code:
        refused = [line for line in errors if line.startswith("refused: ")]
        otherwise = f"error: {'; '.join(refused[:3]) or f'exit code {code}'}"
        text = next((line for line in reversed(errors) if line.startswith("error: ")), otherwise)
        return _failure(text.removeprefix("error: "), code)
    files = files_of(out)
    record = {**recipe, **facts, "files": files, "tree_sha256": tree_sha256(files)}
    write_json(out / CASE_FILE, record)
    _publish(out, target, place / "old")
    warnings = sum(line.startswith("warning: ") for line in errors)
    return {"status": "done", "kept": False, **_output_facts(record), "warnings": warnings}


def _as_seen_by_the_user(line: str, place: Path, sources: Mapping[str, str], dicom: Sequence[str], target: Path) -> str:
    """A message that names files and folders where the user has them, not the links."""
    folder = os.path.commonpath([os.path.dirname(name) for name in dicom])
    for own, theirs in (
        (f"{place / 'dicom'}/", f"{sources['dicom']}/"),
        (str(place / "dicom"), str(Path(sources["dicom"], folder))),
        (str(place / "xml"), sources["xml"]),
        (str(place / target.name), str(target)),
    ):
        line = line.replace(own, theirs)
    return line


def _link(folder: Path, source: str, names: Sequence[str]) -> None:
    folder.mkdir()
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(Path(source, name).resolve())


def _run_main(module: str, words: list[str]) -> tuple[int, list[str]]:
    """Exit code of a command's ``main`` and the lines that it printed on stderr."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        try:
            code = importlib.import_module(module).main([*words, "--show-names"])  # whoever writes it down hides them
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
    return code, errors.getvalue().splitlines()


def _publish(out: Path, target: Path, old: Path) -> None:
    """Move a finished case to its place; what lies there already is moved aside first, and goes with the workplace."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        os.replace(target, old)
    os.replace(out, target)
