"""A configuration, checked before anything of it is instantiated or evaluated."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ReferenceResolver
from monai.bundle.config_item import ComponentLocator, ConfigComponent, ConfigExpression

from medseg.training.config_check.arguments import check_arguments, check_fixed_argument, check_special_keys
from medseg.training.config_check.expressions import Expressions
from medseg.training.config_check.findings import Finding, RefusedError, shown
from medseg.training.config_check.keys import check_key, check_type, references
from medseg.training.config_check.load import Loaded, load, walk
from medseg.training.config_check.logging_file import check_logging_file
from medseg.training.config_check.syntax import is_import, refuse_text
from medseg.training.config_check.targets import find_target

__all__ = ["check_configuration"]


def check_configuration(
    files: Sequence[str | Path],
    overrides: Mapping[str, Any] | None = None,
    *,
    run_id: str = "run",
    init_id: str | None = None,
    final_id: str | None = None,
    meta_file: str | None = None,
    logging_file: str | None = None,
) -> list[Finding]:
    """What is wrong with a configuration, before anything of it is instantiated or evaluated.

    Files are merged and overridden as ``python -m monai.bundle run`` does it. It is a net against mistakes and against
    known ways to run code from a configuration, not a sandbox: classes that are allowed still do what they do.

    Args:
        files: JSON or YAML files; later ones override earlier ones.
        overrides: values by id, such as ``{"network_def::channels": [8, 16]}``.
        run_id, init_id, final_id: which expressions are run, as in MONAI.
        meta_file, logging_file: as in MONAI; by default those beside the first file, if they exist.

    Returns:
        One finding for every part that is refused; none if the configuration may run.

    >>> import json, pathlib
    >>> content = {"epochs": 5, "run": ["$open('a', 'w')", "$range(@epochs)"]}
    >>> _ = pathlib.Path("train.json").write_text(json.dumps(content))
    >>> for finding in check_configuration(["train.json"], {"epoch": 6}):
    ...     print(finding)
    --epoch: epoch is a key that nothing reads; did you mean epochs?
    train.json: run::0 has the name 'open', which is neither imported nor committed; ...
    """
    names = [str(file) for file in files]
    try:
        loaded = load(names, overrides or {}, meta_file)
        findings = loaded.findings + _logging_findings(names[0], logging_file)
        if not loaded.findings:  # otherwise it would be about a configuration that nobody wrote
            ids = {"run": run_id, "init": init_id, "final": final_id}
            findings += [Finding(loaded.place_of(id), id, problem) for id, problem in _problems(loaded, ids)]
    except RecursionError:
        return [Finding(names[0], "", "is nested too deep; expected fewer levels")]
    return list(dict.fromkeys(findings))


def _problems(loaded: Loaded, run_ids: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Ids and what is wrong there."""
    locator = ComponentLocator()
    expressions = Expressions(loaded.items, locator, loaded.wrong)
    problems = [
        *_imports(loaded, expressions),  # first: they make the names that expressions use
        *_changes(loaded, expressions, [id for id in run_ids.values() if id]),
        *_odd_keys(loaded),
        *_components(loaded, locator, expressions),
        *_run_ids(loaded, run_ids),
    ]
    yield from problems
    reported = {id for id, _ in problems}
    yield from ((id, why) for id, why in expressions.assumed.items() if id not in reported)


def _changes(loaded: Loaded, expressions: Expressions, run_ids: list[str]) -> Iterator[tuple[str, str]]:
    used = references(loaded)
    for change in loaded.changes:
        try:
            check_key(change, loaded, used, run_ids)
            check_type(change, expressions)
        except RefusedError as refused:
            loaded.wrong.add(change.id)
            yield change.id, str(refused)


def _imports(loaded: Loaded, expressions: Expressions) -> Iterator[tuple[str, str]]:
    """MONAI imports first of all, wherever the statement stands."""
    for id, item in loaded.items.items():
        config = item.get_config()
        if isinstance(item, ConfigExpression) and is_import(config[1:]):
            try:
                expressions.check(config[1:])
            except RefusedError as refused:
                yield id, str(refused)


def _components(loaded: Loaded, locator: ComponentLocator, expressions: Expressions) -> Iterator[tuple[str, str]]:
    for id, item in loaded.items.items():
        config = item.get_config()
        try:
            if isinstance(item, ConfigComponent):
                _check_component(config, locator, loaded)
            elif isinstance(item, ConfigExpression):
                if not is_import(config[1:]):
                    expressions.check(config[1:])
            elif isinstance(config, str):
                _check_text(id, config, expressions)
            elif isinstance(config, Mapping) and not _is_free_text(id):
                for key, value in config.items():
                    check_fixed_argument(str(key), _literal(value, loaded))
        except RefusedError as refused:
            about_a_part = refused.part and isinstance(config, Mapping)
            yield f"{id}::{refused.part}".removeprefix("::") if about_a_part else id, str(refused)


def _check_component(config: Mapping[str, Any], locator: ComponentLocator, loaded: Loaded) -> None:
    check_special_keys(config)
    target = find_target(config["_target_"], locator)
    given = {key: _resolved(value, loaded) for key, value in config.items() if not key.startswith("_")}
    check_arguments(target, given, partial=config.get("_mode_") == "callable")


def _check_text(id: str, text: str, expressions: Expressions) -> None:
    if text.startswith("@") and ReferenceResolver.match_refs_pattern(text):
        expressions.value_of(text[1:])
    elif not _is_free_text(id):
        refuse_text(text)


def _is_free_text(id: str) -> bool:
    return id.split("::")[0] == "_meta_" or id.endswith("::_desc_")


def _resolved(value: Any, loaded: Loaded, depth: int = 0) -> Any:
    """A value, with a reference replaced by what the configuration has there."""
    known = isinstance(value, str) and value.startswith("@") and value[1:] in loaded.items
    if known and value[1:] not in loaded.wrong and depth < len(loaded.items):
        found = loaded.items[value[1:]].get_config()
        return _resolved(found, loaded, depth + 1)
    return value


def _literal(value: Any, loaded: Loaded) -> Any:
    found = _resolved(value, loaded)
    return Ellipsis if isinstance(found, str) and found.startswith(("$", "@")) else found


def _odd_keys(loaded: Loaded) -> Iterator[tuple[str, str]]:
    """Keys whose ids would be those of other items."""
    for id, config in walk(loaded.parser.get()):
        if not isinstance(config, dict):
            continue
        keys = [str(key) for key in config]
        for key in keys:
            if "::" in key or "#" in key or keys.count(key) > 1:
                yield id or key, f"has the key {shown(key)}; expected one without :: and #, and each key once"


def _run_ids(loaded: Loaded, ids: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    for kind, id in ids.items():
        if id is not None and id not in loaded.parser:
            near = difflib.get_close_matches(id, [str(key) for key in loaded.parser.get()], 1)
            yield id, f"is not there, but --{kind}_id names it; expected {near[0] if near else 'a key of the files'}"
    only = _resolved(loaded.parser.get("check_only"), loaded)
    if only is True or (isinstance(only, str) and only.strip().lower() == "true"):
        yield "check_only", f"is {only}: without data and weights there is nothing to run; leave check_only out to run"


def _logging_findings(first: str, logging_file: str | None) -> list[Finding]:
    path = Path(first).parent / "logging.conf" if logging_file is None else Path(logging_file)
    if logging_file is None and not path.is_file():
        return []
    try:
        check_logging_file(path)
    except RefusedError as refused:
        return [Finding(str(path), "", str(refused))]
    return []
