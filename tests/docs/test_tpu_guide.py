"""What the guide to Cloud TPU says is true."""

import os
import pathlib
import re

import keras
import pytest

from ccp_dml.distribution.strategy_names import STRATEGIES_OF_BACKENDS
from tests.docs.commands import assert_flags_and_flagfiles_exist

ROOT = pathlib.Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "tpu.md").read_text(encoding="utf-8")


def test_its_commands_have_flags_and_flagfiles_that_exist():
    commands = re.findall(r"ccp_dml\.main(.*?)(?:\n```|'\n|\nKERAS)", GUIDE, flags=re.DOTALL)
    assert len(commands) == 4
    assert_flags_and_flagfiles_exist(commands)


def test_it_names_the_strategies_of_jax():
    table = GUIDE.partition("| `--strategy` |")[2].partition("\n\n")[0]
    named = re.findall(r"^\| `(\w+)", table, flags=re.MULTILINE)
    assert tuple(named) == STRATEGIES_OF_BACKENDS["jax"]


@pytest.mark.both_backends
def test_its_example_runs(monkeypatch):
    if keras.backend.backend() != "jax":
        pytest.skip("the example is of JAX")
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    # Keras was imported before, but a user chooses the backend here.
    choice, imports_keras, rest = code.partition("import keras\n")
    assert imports_keras
    monkeypatch.delenv("KERAS_BACKEND")
    exec(choice, {})
    assert os.environ["KERAS_BACKEND"] == "jax"
    names = {}
    exec(imports_keras + rest, names)
    assert "<DataParallel" in repr(names["model"].distribution)
