"""The script that compares methods over paired seeds."""

import csv
import importlib.util
import json
import math
import pathlib

import numpy as np
import pytest
import scipy.stats

from ccp_dml.settings import Settings

ROOT = pathlib.Path(__file__).parents[1]
SCRIPT = ROOT / "experiments" / "paired_seeds.py"
MEASURED = {"map_at_r": 0.1, "precision_at_1": 0.4, "r_precision": 0.2}


@pytest.fixture(scope="module")
def paired_seeds():
    spec = importlib.util.spec_from_file_location("paired_seeds", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(paired_seeds, tmp_path):
    flagfile = tmp_path / "small.flags"
    flagfile.write_text("--dataset=digits\n--validation=samples\n--learning_rate=0.001\n")
    return paired_seeds.planned_run(flagfile, seed=3, workdir=tmp_path / "runs")


def finish(run, settings=None, methods=("before", "plain", "ccp"), gain=0.0):
    run.folder.mkdir(parents=True, exist_ok=True)
    lines = [f"--workdir={run.folder}", *(run.settings if settings is None else settings)]
    (run.folder / "flags.txt").write_text("\n".join(lines) + "\n")
    results = {method: {**MEASURED, "steps": 5, "rounds": 2} for method in methods}
    if "ccp" in results:
        results["ccp"]["map_at_r"] += gain
    (run.folder / "results.json").write_text(json.dumps({"seed": run.seed, **results}))


@pytest.mark.parametrize("count", [2, 5, 30])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_the_interval_is_that_of_the_paired_t_test(count, confidence, paired_seeds, generator):
    ours, theirs = generator.normal(0.3, 1, count), generator.normal(size=count)
    difference = paired_seeds.paired_difference(ours, theirs, confidence)
    interval = scipy.stats.ttest_rel(ours, theirs).confidence_interval(confidence)
    assert difference.mean - difference.half_width == pytest.approx(interval.low)
    assert difference.mean + difference.half_width == pytest.approx(interval.high)
    assert difference.positive == sum(a > b for a, b in zip(ours, theirs, strict=True))


def test_a_single_seed_has_no_interval(paired_seeds):
    difference = paired_seeds.paired_difference([0.5], [0.25])
    assert difference.mean == 0.25
    assert math.isnan(difference.half_width)
    for ours, theirs in [([], []), ([1.0], [1.0, 2.0])]:
        with pytest.raises(ValueError, match="are not pairs"):
            paired_seeds.paired_difference(ours, theirs)


def test_the_table(paired_seeds):
    def results(plain, ccp):
        return {
            method: {key: value + gain for key, value in MEASURED.items()} | {"rounds": rounds}
            for method, gain, rounds in [("before", 0, 0), ("plain", plain, 0), ("ccp", ccp, 3)]
        }

    text = paired_seeds.table(
        {"small": [results(0.01, 0.02), results(0.03, 0.02)], "one": [results(0.01, 0.02)]}
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert {len(row) for row in rows} == {9}
    half_width = scipy.stats.t.ppf(0.975, 1) * np.std([0.01, -0.01], ddof=1) / math.sqrt(2)
    assert rows[2] == [
        "small",
        "MAP@R",
        "2",
        "0.1000 ± 0.0000",
        "0.1200 ± 0.0141",
        "0.1200 ± 0.0000",
        f"+0.0000 ± {half_width:.4f}",
        "1 of 2",
        "3.0",
    ]
    assert rows[5][2:] == ["1", "0.1000", "0.1100", "0.1200", "+0.0100", "1 of 1", "3.0"]


def test_a_complete_run_is_not_done_again(run, paired_seeds):
    assert paired_seeds.results_of(run) is None
    finish(run)
    assert paired_seeds.results_of(run)["seed"] == 3
    assert paired_seeds.run_all([], processes=2) == []


def test_a_run_is_done_again_if_something_is_missing_or_other(run, paired_seeds):
    finish(run, methods=("before", "plain"))
    assert paired_seeds.results_of(run) is None
    finish(run, settings=[line.replace("0.001", "0.002") for line in run.settings])
    assert paired_seeds.results_of(run) is None
    finish(run)
    (run.folder / "results.json").write_text('{"seed": 3, "bef')
    assert paired_seeds.results_of(run) is None


def test_a_run_has_all_settings_but_the_workdir(run):
    assert run.name == "small"
    assert {"--seed=3", "--learning_rate=0.001", "--beta_2=0.999"} <= set(run.settings)
    names = [line.lstrip("-").removeprefix("no").partition("=")[0] for line in run.settings]
    assert names == list(Settings.__dataclass_fields__)


def test_runs_as_csv(run, paired_seeds, tmp_path):
    finish(run, gain=0.5)
    paired_seeds.write_runs(tmp_path / "runs.csv", {run: paired_seeds.results_of(run)})
    with (tmp_path / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["before", "plain", "ccp"]
    assert [float(row["map_at_r"]) for row in rows] == [0.1, 0.1, 0.6]
    assert {(row["name"], row["seed"]) for row in rows} == {("small", "3")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--learning_rate=-1\n", "learning_rate must be above 0; got -1.0"),
        ("--method=ccp\n", "method must be plain,ccp; got ccp"),
        ("--lerning_rate=1\n", "lerning_rate"),
    ],
)
def test_wrong_flagfiles_are_named(text, message, paired_seeds, tmp_path):
    (tmp_path / "wrong.flags").write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        paired_seeds.planned_run(tmp_path / "wrong.flags", 0, tmp_path)
    assert "wrong.flags" in str(raised.value)


def test_a_failing_run_is_reported_and_the_others_go_on(paired_seeds, tmp_path, monkeypatch):
    flagfile = tmp_path / "small.flags"
    flagfile.write_text("--dataset=digits\n")
    runs = [paired_seeds.planned_run(flagfile, seed, tmp_path / "runs") for seed in range(3)]
    program = tmp_path / "ccp_dml" / "main.py"
    program.parent.mkdir()
    (program.parent / "__init__.py").touch()
    # In place of the real program: fails for seed 1, and says how many threads it may use.
    program.write_text(
        "import json, os, sys\n"
        "flags = dict(argument.split('=', 1) for argument in sys.argv[1:])\n"
        "print(os.environ.get('TF_NUM_INTRAOP_THREADS'))\n"
        "if flags['--seed'] == '1':\n"
        "    sys.exit('no memory')\n"
        f"results = dict.fromkeys(['before', 'plain', 'ccp'], {MEASURED!r})\n"
        "os.makedirs(flags['--workdir'])\n"
        "with open(flags['--workdir'] + '/results.json', 'w') as file:\n"
        "    json.dump(results, file)\n"
        "with open(flags['--workdir'] + '/flags.txt', 'w') as file:\n"
        f"    file.write('\\n'.join({runs[0].settings!r}).replace('--seed=0', "
        "'--seed=' + flags['--seed']))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert paired_seeds.run_all(runs, processes=2) == [runs[1]]
    assert (tmp_path / "runs" / "small" / "seed-1.log").read_text() == "1\nno memory\n"
    assert paired_seeds.results_of(runs[2])["plain"] == MEASURED
