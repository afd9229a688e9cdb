"""Public functions and classes are annotated, for type checkers and the documentation."""

import ast
import importlib
import inspect
import textwrap

import pytest

PACKAGES = (
    "backend",
    "callbacks",
    "data",
    "distribution",
    "evaluation",
    "experiment",
    "inference",
    "layers",
    "losses",
    "miners",
    "models",
    "optimizers",
    "projections",
    "report",
)


def returns_something(function):
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    own = [definition.body]
    while own:
        for node in own.pop():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
                continue
            if isinstance(node, ast.Return) and node.value is not None:
                return True
            if isinstance(node, ast.Yield | ast.YieldFrom):
                return True
            own.append(ast.iter_child_nodes(node))
    return False


def find_missing(function, is_constructor):
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[is_constructor:]
    missing = [
        parameter.name
        for parameter in parameters
        if parameter.annotation is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if signature.return_annotation is signature.empty and returns_something(function):
        missing.append("what it returns")
    return missing


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_annotated(package):
    module = importlib.import_module(f"ccp_dml.{package}")
    missing = {}
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) and inspect.isfunction(vars(value).get("__init__")):
            missing[name] = find_missing(value.__init__, is_constructor=True)
        elif inspect.isfunction(value):
            missing[name] = find_missing(value, is_constructor=False)
    assert missing
    assert {name: parts for name, parts in missing.items() if parts} == {}


def test_what_is_not_annotated_is_found():
    def full(number: int) -> int:
        return number

    def silent(number: int, *others, **options):
        def returned_by_another():
            return others, options, number

    def partial(number: int, other):
        if number:
            return other
        return None

    assert [find_missing(each, False) for each in (full, silent, partial)] == [
        [],
        [],
        ["other", "what it returns"],
    ]
