"""What the guide to Cloud TPU says is true."""

import os
import pathlib
import re
import subprocess
import sys

from ccp_dml.distribution.strategy_names import STRATEGIES_OF_BACKENDS
from tests.docs.commands import assert_flags_and_flagfiles_exist
from tests.processes_on_jax import ENVIRONMENT

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


def test_its_example_runs(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    program = tmp_path / "example.py"
    program.write_text(f"{code}\nprint(keras.backend.backend(), model.distribution)\n")
    finished = subprocess.run(
        [sys.executable, program],
        env=os.environ | ENVIRONMENT | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "jax <DataParallel" in finished.stdout, finished.stderr
