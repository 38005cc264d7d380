"""Expressions (``$...``) of a configuration, parsed and never evaluated.

Allowed are imports of committed modules, references, literals, arithmetic, comparisons, conditionals, subscripts,
comprehensions and lambdas over these, and calls of committed functions and methods. No name may begin with ``_``.
What a reference stands for is known before the run where its ``_target_`` says it.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Collection, Mapping
from typing import Any

import monai
import numpy
import torch
from monai.bundle import ReferenceResolver
from monai.bundle.config_item import ComponentLocator, ConfigComponent, ConfigExpression, ConfigItem

from medseg.training.config_check import committed
from medseg.training.config_check.arguments import check_arguments, check_fixed_argument
from medseg.training.config_check.findings import RefusedError, shown
from medseg.training.config_check.known import (
    Anything,
    Instance,
    Known,
    Value,
    attribute_of,
    check_attribute,
    import_of,
    is_committed_method,
)
from medseg.training.config_check.syntax import (
    ALLOWED,
    REFERENCES,
    has_imports,
    literal_of,
    loop_names,
    parsed,
    refuse_hidden,
    refuse_hidden_text,
    refuse_text,
    shown_code,
    words_of,
)
from medseg.training.config_check.targets import (
    canonical_name,
    check_object,
    find_target,
    is_function,
    result_class,
)

__all__ = ["Expressions"]

_GLOBALS = {"monai": monai, "torch": torch, "np": numpy, "numpy": numpy}
_DEEPEST = 50
_PLAIN_NODES = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.BoolOp, ast.UnaryOp, ast.Compare, ast.Slice)
_RULED_NODES = (
    *(ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.BinOp, ast.IfExp, ast.Call, ast.Lambda),
    *(ast.JoinedStr, ast.FormattedValue),
)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Expressions:
    """The expressions of one configuration.

    Args:
        items: the items of the configuration by id, as MONAI's reference resolver keeps them.
        locator: MONAI's, which finds short names of targets.
        wrong: ids that have a finding of their own: nothing is known about their values.

    Attributes:
        assumed: ids whose value could not be told, and why. What uses them passes here, so each must be reported.
    """

    def __init__(self, items: Mapping[str, ConfigItem], locator: ComponentLocator, wrong: Collection[str] = ()) -> None:
        self.items, self.locator, self.wrong = items, locator, wrong
        self.imported: dict[str, Any] = {}
        self.assumed: dict[str, str] = {}
        self._open: list[str] = []
        self._values: dict[str, Value] = {}

    def check(self, text: str) -> Value:
        """Check one expression (without its ``$``) and say what its value is.

        Raises:
            RefusedError: with what was found and what was expected.
        """
        tree = parsed(text)
        if has_imports(tree):
            return self._check_import(tree)
        if REFERENCES in text:
            raise RefusedError(f"has the name {REFERENCES}; expected names that do not begin with _")
        resolved = self._with_references(text)
        try:
            body = ast.parse(resolved, mode="eval").body
        except SyntaxError as error:
            raise RefusedError(f"is no expression of Python ({error.msg}); expected one value") from None
        return self._as_value(self._value(body, frozenset(), 0))

    def value_of(self, reference: str) -> Value:
        """What the item of an id is, as far as it is known before the run.

        Raises:
            RefusedError: if there is no such item.
        """
        if reference not in self.items:
            raise RefusedError(_missing(reference, self.items))
        if reference in self.wrong:
            return Instance(Anything)
        if reference not in self._values:
            if reference in self._open:
                raise RefusedError(
                    f"refers to @{reference}, which refers back to it; expected references without circles"
                )
            if len(self._open) > _DEEPEST:
                raise RefusedError(f"refers over more than {_DEEPEST} other ids; expected fewer")
            self._open.append(reference)
            try:
                self._values[reference] = self._item_value(self.items[reference])
            except RefusedError as refused:
                self._values[reference] = Instance(Anything)
                self.assumed[reference] = str(refused)
            finally:
                self._open.pop()
        return self._values[reference]

    def _item_value(self, item: ConfigItem) -> Value:
        config = item.get_config()
        if isinstance(item, ConfigComponent):
            if config.get("_mode_", "default") != "default":
                return None
            target = find_target(config["_target_"], self.locator)
            kind = target if inspect.isclass(target) else result_class(target)
            return None if kind is None else Instance(kind)
        if isinstance(item, ConfigExpression):
            return self.check(config[1:])
        if isinstance(config, str) and re.fullmatch(ReferenceResolver.id_matcher, config):
            return self.value_of(config[1:])
        return Instance(type(config))

    def _with_references(self, text: str) -> str:
        """The text as MONAI evaluates it, so that it is this text that is parsed."""
        references = ReferenceResolver.match_refs_pattern(f"${text}")
        for reference in references:
            if reference not in self.items:
                raise RefusedError(_missing(reference, self.items))
        return str(ReferenceResolver.update_refs_pattern(f"${text}", references))[1:]

    def _check_import(self, tree: ast.Module) -> Value:
        statement = tree.body[0]
        if len(tree.body) > 1 or not isinstance(statement, ast.Import | ast.ImportFrom) or len(statement.names) > 1:
            raise RefusedError("has several statements; expected one import of one name, the next one in its own text")
        name = statement.names[0]
        path = name.name if isinstance(statement, ast.Import) else f"{statement.module}.{name.name}"
        alias = name.asname or name.name
        if getattr(statement, "level", 0) or any(part.startswith("_") for part in [*path.split("."), alias]):
            raise RefusedError(f"imports {path!r}; expected a module by its full name, no part of which begins with _")
        found = import_of(statement, path)
        for known in (_GLOBALS, self.imported):
            if known.get(alias, found) is not found:
                raise RefusedError(f"imports {path!r} as {alias}, which means something else; expected another name")
        self.imported[alias] = found
        return Known(found)

    def _as_value(self, value: Value) -> Value:
        """A value that stands alone must itself be allowed: no module, no function that is not committed."""
        if isinstance(value, Known):
            check_object(value.object)
            if callable(value.object) or inspect.isclass(value.object):
                return None
            return Instance(type(value.object))
        return value

    def _value(self, node: ast.AST, local: frozenset[str], depth: int) -> Value:
        if depth > _DEEPEST:
            raise RefusedError(f"is nested more than {_DEEPEST} levels deep; expected a simpler expression")
        if isinstance(node, _RULED_NODES):
            rule = getattr(self, f"_{type(node).__name__.lower()}")
            return rule(node, local, depth + 1)
        if isinstance(node, _COMPREHENSIONS):
            return self._comprehension(node, local, depth + 1)
        if isinstance(node, _PLAIN_NODES):
            self._children(node, local, depth + 1)
            kinds = {ast.List: list, ast.Tuple: tuple, ast.Set: set, ast.Dict: dict, ast.Compare: bool}
            return Instance(kinds[type(node)]) if type(node) in kinds else None
        raise RefusedError(f"has a {words_of(node)}; expected {ALLOWED}")

    def _children(self, node: ast.AST, local: frozenset[str], depth: int) -> None:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr_context | ast.operator | ast.unaryop | ast.boolop | ast.cmpop):
                self._as_value(self._value(child, local, depth))
        if isinstance(node, ast.Dict) and None in node.keys:
            raise RefusedError(f"unpacks with **; expected {ALLOWED}")

    def _constant(self, node: ast.Constant, local: frozenset[str], depth: int) -> Value:
        if isinstance(node.value, str):
            refuse_text(node.value)
            refuse_hidden_text(node.value)
            check_fixed_argument(node.value, Ellipsis)
        elif not isinstance(node.value, int | float | bool | None):
            raise RefusedError(f"has the constant {shown(node.value)}; expected a number, a text, True, False or None")
        return Instance(type(node.value))

    def _joinedstr(self, node: ast.JoinedStr, local: frozenset[str], depth: int) -> Value:
        self._children(node, local, depth)
        return Instance(str)

    def _formattedvalue(self, node: ast.FormattedValue, local: frozenset[str], depth: int) -> Value:
        self._children(node, local, depth)
        return Instance(str)

    def _binop(self, node: ast.BinOp, local: frozenset[str], depth: int) -> Value:
        left = self._as_value(self._value(node.left, local, depth))
        right = self._as_value(self._value(node.right, local, depth))
        texts = (Instance(str), Instance(list))
        same = isinstance(node.op, ast.Add) and (left in texts or right in texts)
        return (left if left in texts else right) if same else None

    def _ifexp(self, node: ast.IfExp, local: frozenset[str], depth: int) -> Value:
        self._as_value(self._value(node.test, local, depth))
        found = [self._as_value(self._value(part, local, depth)) for part in (node.body, node.orelse)]
        return found[0] if found[0] == found[1] else None

    def _name(self, node: ast.Name, local: frozenset[str], depth: int) -> Value:
        refuse_hidden(node.id)
        if node.id in local:
            return None
        for names in (self.imported, _GLOBALS):
            if node.id in names:
                return Known(names[node.id])
        if node.id in committed.BUILTINS:
            import builtins

            return Known(getattr(builtins, node.id))
        near = difflib.get_close_matches(node.id, [*self.imported, *_GLOBALS, *committed.BUILTINS, *local], 1)
        expected = f"did you mean {near[0]}?" if near else "expected one that imports or lambdas define, or @ID"
        raise RefusedError(f"has the name {node.id!r}, which is neither imported nor committed; {expected}")

    def _attribute(self, node: ast.Attribute, local: frozenset[str], depth: int) -> Value:
        refuse_hidden(node.attr)
        base = self._value(node.value, local, depth)
        if isinstance(base, Known):
            return attribute_of(base.object, node.attr)
        if isinstance(base, Instance):
            check_attribute(base.kind, node.attr)
            return None
        if node.attr not in committed.ALLOWED_ATTRIBUTES:
            raise RefusedError(
                f"reads {node.attr!r} of a value whose class is not known before the run; expected one of "
                f"{', '.join(committed.ALLOWED_ATTRIBUTES)}"
            )
        return None

    def _subscript(self, node: ast.Subscript, local: frozenset[str], depth: int) -> Value:
        if isinstance(node.value, ast.Name) and node.value.id == REFERENCES and isinstance(node.slice, ast.Constant):
            return self.value_of(str(node.slice.value))
        self._as_value(self._value(node.value, local, depth))
        if isinstance(node.slice, ast.Constant) and str(node.slice.value).startswith("_"):
            raise RefusedError(f"has the subscript {shown(node.slice.value)}; expected one that does not begin with _")
        self._as_value(self._value(node.slice, local, depth))
        return None

    def _comprehension(self, node: Any, local: frozenset[str], depth: int) -> Value:
        for part in node.generators:
            if part.is_async:
                raise RefusedError(f"is asynchronous; expected {ALLOWED}")
            local = local | loop_names(part.target)
            for inner in (part.iter, *part.ifs):
                self._as_value(self._value(inner, local, depth))
        for name in ("elt", "key", "value"):
            if hasattr(node, name):
                self._as_value(self._value(getattr(node, name), local, depth))
        kinds = {ast.ListComp: list, ast.SetComp: set, ast.DictComp: dict}
        return Instance(kinds[type(node)]) if type(node) in kinds else None

    def _lambda(self, node: ast.Lambda, local: frozenset[str], depth: int) -> Value:
        arguments = node.args
        names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        for name in names:
            if name is not None:
                refuse_hidden(name.arg)
        for default in [*arguments.defaults, *arguments.kw_defaults]:
            if default is not None:
                self._as_value(self._value(default, local, depth))
        self._as_value(self._value(node.body, local | {name.arg for name in names if name is not None}, depth))
        return None

    def _call(self, node: ast.Call, local: frozenset[str], depth: int) -> Value:
        for argument in node.args:
            self._as_value(self._value(argument, local, depth))
        for keyword in node.keywords:
            if keyword.arg is None:
                raise RefusedError("unpacks arguments with **; expected arguments by name")
            refuse_hidden(keyword.arg)
            self._as_value(self._value(keyword.value, local, depth))
            constant = keyword.value.value if isinstance(keyword.value, ast.Constant) else Ellipsis
            check_fixed_argument(keyword.arg, constant)
        return self._called(node, local, depth)

    def _called(self, node: ast.Call, local: frozenset[str], depth: int) -> Value:
        if isinstance(node.func, ast.Attribute):
            base = self._value(node.func.value, local, depth)
            if isinstance(base, Instance):
                refuse_hidden(node.func.attr)
                if not is_committed_method(base.kind, node.func.attr):
                    raise RefusedError(f"calls {base.kind.__name__}.{node.func.attr}, which is no committed method")
                return base if node.func.attr in committed.RETURNS_ITSELF else None
            if base is None:
                raise RefusedError(
                    f"calls {node.func.attr!r} of a value whose class is not known before the run; expected a "
                    "reference to an item with a _target_"
                )
        found = self._value(node.func, local, depth)
        if isinstance(found, Instance) and is_committed_method(found.kind, "__call__"):
            return None
        if not isinstance(found, Known):
            raise RefusedError(f"calls {shown_code(node.func)}, which is not a committed function; expected {ALLOWED}")
        check_object(found.object)
        if inspect.isclass(found.object) and not is_function(found.object):
            given = {keyword.arg: literal_of(keyword.value) for keyword in node.keywords if keyword.arg}
            check_arguments(found.object, given, len(node.args))
            return Instance(found.object)
        if not is_function(found.object):
            raise RefusedError(f"calls {canonical_name(found.object)}, which is not a committed function")
        result = result_class(found.object)
        return None if result is None else Instance(result)


def _missing(reference: str, items: Mapping[str, ConfigItem]) -> str:
    near = difflib.get_close_matches(reference, items, 1)
    return f"refers to @{reference}, which is not there; expected {f'@{near[0]}' if near else 'an id'}"
