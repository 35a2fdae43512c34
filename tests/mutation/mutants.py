"""Every mutant of a file: one operator, comparison, condition or constant changed, as mutmut's own mutators change it.

Left out: text (messages), annotations, and whole arguments or assignments removed, which type checking finds.
"""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider
from mutmut.mutation import mutators

MUTATORS = (
    (cst.BaseNumber, mutators.operator_number),
    (cst.Name, mutators.operator_name),
    (cst.UnaryOperation, mutators.operator_remove_unary_ops),
    (cst.AugAssign, mutators.operator_augmented_assignment),
    (cst.CSTNode, mutators.operator_keywords),
    (cst.CSTNode, mutators.operator_swap_op),
    (cst.IfExp, mutators.operator_if_exp),
)


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    ``where`` is the function (``Class.method``, or ``<module>``), ``before`` and ``after`` the changed source lines
    without their indentation, ``copy`` tells equal changes within a function apart: together they say which mutant it
    is, wherever the file lies. ``first`` and ``last`` are the lines (from 1) that run it; None where importing does.
    """

    package: str
    path: Path
    where: str
    before: str
    after: str
    copy: int
    line: int
    first: int | None
    last: int | None
    source: str

    @property
    def key(self) -> str:
        """What the mutant is called: the same when its file moves or other code changes."""
        return hashlib.sha256(
            "\0".join((self.path.name, self.where, self.before, self.after, str(self.copy))).encode()
        ).hexdigest()[:12]


class _Finder(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        self.found: list[tuple[cst.CSTNode, cst.CSTNode, CodeRange]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.Annotation | cst.ImportFrom | cst.Import | cst.SimpleString):
            return False
        if isinstance(node, cst.If) and getattr(node.test, "value", None) == "TYPE_CHECKING":
            return False
        for kind, mutate in MUTATORS:
            if isinstance(node, kind):
                span = self.get_metadata(PositionProvider, node)
                self.found += [(node, changed, span) for changed in mutate(node)]
        return True


def mutants(package: str, path: Path) -> Iterator[Mutant]:
    """The mutants of a file in the order of its text."""
    text = path.read_text("utf-8")
    wrapper = MetadataWrapper(cst.parse_module(text))
    finder = _Finder()
    wrapper.visit(finder)
    tree, starts, seen = ast.parse(text), _line_starts(text), Counter[tuple[str, str, str]]()
    for node, changed, span in finder.found:
        begin, end = starts[span.start.line] + span.start.column, starts[span.end.line] + span.end.column
        old, new = (wrapper.module.code_for_node(each) for each in (node, changed))
        if text[begin:end] != old:  # brackets and blanks around it are part of the node, not of its span
            begin = text.find(old, max(0, begin - 8), end + 8)
            end = begin + len(old)
        # a node over several lines does not know its indentation: the slow way
        source = text[:begin] + new + text[end:] if begin >= 0 else wrapper.module.deep_replace(node, changed).code
        before, after = _changed_lines(text, source)
        where, first, last = _place(tree, span.start.line)
        seen[where, before, after] += 1
        copy = seen[where, before, after]
        yield Mutant(package, path, where, before, after, copy, span.start.line, first, last, source)


def _line_starts(text: str) -> list[int]:
    starts = [0, 0]  # lines count from 1
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def _changed_lines(text: str, source: str) -> tuple[str, str]:
    """What stands in one text and not in the other, whole lines joined without their indentation."""
    old, new = text.splitlines(), source.splitlines()
    head = next(number for number, (left, right) in enumerate(zip(old, new, strict=False)) if left != right)
    while old[-1:] == new[-1:] and min(len(old), len(new)) > head:
        old.pop(), new.pop()
    return tuple(" ".join(line.strip() for line in lines[head:]) for lines in (old, new))


def _place(tree: ast.Module, line: int) -> tuple[str, int | None, int | None]:
    """Name of the innermost function around a line, and the lines of the statement there."""
    names: list[str] = []
    function, statement, node = None, None, tree
    while True:
        inner = [child for child in _statements(node) if _start(child) <= line <= child.end_lineno]
        if not inner:
            break
        node = inner[0]
        statement = node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
            function = node if not isinstance(node, ast.ClassDef) else None
    where = ".".join(names) or "<module>"
    if function is None or statement is None:
        return where, None, None
    if statement is function:  # the signature: whatever calls it
        return where, function.body[0].lineno, function.end_lineno
    body = getattr(statement, "body", None)
    last = body[0].lineno - 1 if isinstance(body, list) and body else statement.end_lineno
    return where, statement.lineno, max(statement.lineno, last or 0)


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            yield from _statements(child)


def _start(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(entry.lineno for entry in decorators)])
