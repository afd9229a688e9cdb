"""A study is trained and tabulated by its two commands."""

import json
import os
import pathlib
import subprocess
import sys

import pandas as pd
import pytest

from ccp_dml.experiment.study import read_study
from ccp_dml.experiment.study_runs import read_recorded_runs
from ccp_dml.experiment.study_table import format_study

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = sorted(path.parent for path in ROOT.glob("experiments/studies/*/study.json"))
STUDY = {
    "title": "Rounds on digits",
    "base": "base.flags",
    "variants": {"long": [], "short": ["--method=ccp", "--max_round_validations=1"]},
    "groups": [
        {"name": "main", "title": "Both", "seeds": [0, 1], "variants": ["long", "short"]},
        {
            "name": "curve",
            "title": "Lengths",
            "seeds": [0, 1],
            "axis": "validations",
            "points": {"1": "short", "3": "long"},
            "minus": "long:plain",
        },
    ],
    "comparisons": [["short:ccp", "long:ccp"]],
    "renewals": [["short:ccp", "long:ccp"]],
}
BASE = """--dataset=digits
--method=plain,ccp
--validation=samples
--classes_per_batch=5
--max_steps=20
--steps_per_validation=5
--figure_rounds=0
--embedding_size=8
"""


def call(script, *arguments):
    # TensorFlow imports JAX, which has set the log level in this process.
    environment = {key: each for key, each in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, ROOT / "experiments" / "studies" / script, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "base.flags").write_text(BASE)
    (folder / "study.json").write_text(json.dumps(STUDY))
    return folder


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_tables_of_a_study_are_those_of_its_runs(folder):
    text = (folder / "table.md").read_text(encoding="utf-8")
    assert format_study(read_study(folder), read_recorded_runs(folder).runs) == text


@pytest.mark.slow
def test_a_study_is_trained_group_by_group_and_tabulated(folder, tmp_path):
    workdir = f"--workdir={tmp_path / 'runs'}"
    nothing = call("tabulate_study.py", folder, workdir)
    assert nothing.returncode == 1
    assert "contains no finished run of the study" in nothing.stderr

    output = call("run_study.py", folder, workdir, "--processes=2").stdout
    assert "0 of 4 runs are finished" in output
    assert "4 of 4: " in output
    again = call("run_study.py", folder, workdir).stdout
    assert again.splitlines()[-1] == "4 of 4 runs are finished"

    tables = call("tabulate_study.py", folder, workdir)
    assert tables.returncode == 0, tables.stderr
    text = (folder / "table.md").read_text()
    assert text.strip() == tables.stdout.strip()
    assert "| short:ccp | long:ccp |" in text
    assert "## Lengths" in text
    runs = pd.read_csv(folder / "runs.csv")
    assert len(runs) == 6
    short = runs[runs["name"] == "short"]
    assert short["rounds"].tolist() == [4, 4]
    assert short["first_round_steps"].tolist() == [5, 5]
    # Until a round ends, both variants train alike.
    validation = pd.read_csv(folder / "validation.csv").query("method == 'ccp' and step == 5")
    assert validation.groupby("seed")["validation"].nunique().tolist() == [1, 1]
    assert (folder / "figure.png").stat().st_size > 10_000

    # The same from the record alone.
    (folder / "figure.png").unlink()
    assert call("tabulate_study.py", folder).stdout == tables.stdout
    assert (folder / "table.md").read_text() == text
    assert (folder / "figure.png").exists()

    # On another machine, which does not have the runs.
    elsewhere = f"--workdir={tmp_path / 'elsewhere'}"
    record = (folder / "runs.csv").read_text()
    lines = record.splitlines(keepends=True)
    (folder / "runs.csv").write_text("".join(lines[:-1]))
    output = call("run_study.py", folder, elsewhere, "--keep_recorded").stdout
    assert "0 of 1 runs are finished" in output
    call("tabulate_study.py", folder, elsewhere, "--keep_recorded")
    kept = (folder / "runs.csv").read_text().splitlines(keepends=True)
    assert kept[:-1] == lines[:-1]
    assert kept[-1].split(",")[:4] == lines[-1].split(",")[:4]


@pytest.mark.slow
@pytest.mark.parametrize("script", ["run_study.py", "tabulate_study.py"])
def test_mistakes_end_in_a_line(script, folder, tmp_path):
    nothing = call(script, "--workdir=/tmp")
    assert nothing.returncode == 1
    assert "name one folder with a study.json; got nothing" in nothing.stderr
    (folder / "study.json").write_text(
        json.dumps({**STUDY, "comparisons": [["short:ccp", "so:x"]]})
    )
    wrong = call(script, folder, f"--workdir={tmp_path}")
    assert wrong.returncode == 1
    # A single line, without TensorFlow's notes about the machine.
    (line,) = wrong.stderr.splitlines()
    assert "comparison must be one of" in line
    assert "got 'so:x'" in line
