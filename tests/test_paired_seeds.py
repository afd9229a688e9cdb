"""The script that compares methods over paired seeds."""

import csv
import importlib.util
import json
import math
import pathlib

import numpy as np
import pytest
import scipy.stats
from absl import flags
from absl.testing import flagsaver

from ccp_dml.experiment.settings import Settings

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
def make_run(paired_seeds, tmp_path):
    def make_run(name="small", seed=3, method="plain,ccp"):
        flagfile = tmp_path / f"{name}.flags"
        flagfile.write_text(
            f"--dataset=digits\n--validation=samples\n--learning_rate=0.001\n--method={method}\n"
        )
        return paired_seeds.planned_run(flagfile, seed, tmp_path / "runs")

    return make_run


@pytest.fixture
def run(make_run):
    return make_run()


@pytest.fixture
def command(paired_seeds, tmp_path):
    """The script as from the command line, in a folder where it finds no runs of others."""

    def command(**values):
        flags.FLAGS.mark_as_parsed()
        with flagsaver.flagsaver(table=str(tmp_path / "tables" / "table.md"), **values):
            code = paired_seeds.main(["paired_seeds.py"])
        flags.FLAGS.unparse_flags()
        return code

    return command


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


def rows(name, method, values, rounds=0, **others):
    """Rows of the record with these values of MAP@R by seed."""
    return [
        {"name": name, "seed": seed, "method": method, **MEASURED, "map_at_r": value}
        | {"rounds": rounds, **others}
        for seed, value in values.items()
    ]


def cells_of(text):
    """The cells of a Markdown table by (flagfile, method), and its header."""
    header, rule, *lines = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()
    )
    assert {len(line) for line in (rule, *lines)} == {len(header)}
    return {tuple(line[:2]): dict(zip(header, line, strict=True)) for line in lines}, header


def test_the_table(paired_seeds):
    record = [
        *rows("small", "before", {0: 0.1, 1: 0.1}),
        *rows("small", "plain", {0: 0.11, 1: 0.13}),
        *rows("small", "ccp", {0: 0.13, 1: 0.13}, rounds=3),
        *rows("one", "xbm", {0: 0.15}),
        *rows("one", "ccp+xbm", {0: 0.16}, rounds=1),
    ]
    table, header = cells_of(paired_seeds.table(record))
    assert header == [
        "flagfile",
        "method",
        "seeds",
        "MAP@R",
        "P@1",
        "R-precision",
        "rounds",
        "MAP@R − first method",
        "positive",
    ]
    half_width = scipy.stats.t.ppf(0.975, 1) * np.std([0.02, 0.0], ddof=1) / math.sqrt(2)
    assert list(table["small", "ccp"].values())[2:] == [
        "2",
        "0.1300 ± 0.0000",
        "0.4000 ± 0.0000",
        "0.2000 ± 0.0000",
        "3.0",
        f"+0.0100 ± {half_width:.4f}",
        "1 of 2",
    ]
    assert list(table["one", "ccp+xbm"].values())[2:] == [
        *("1", "0.1600", "0.4000", "0.2000", "1.0", "+0.0100", "1 of 1")
    ]
    assert table["small", "plain"]["MAP@R"] == "0.1200 ± 0.0141"
    for without_comparison in [("small", "before"), ("small", "plain"), ("one", "xbm")]:
        assert table[without_comparison]["MAP@R − first method"] == ""
        assert table[without_comparison]["positive"] == ""


def test_one_baseline_for_all_flagfiles(paired_seeds):
    record = [
        *rows("small", "plain", {0: 0.1, 1: 0.2, 2: 0.3}),
        *rows("small", "ccp", {0: 0.2, 1: 0.1, 2: 0.5}),
        # Paired by seed, whatever the order; only two are in both.
        *rows("other", "dvml", {7: 0.9, 2: 0.35, 0: 0.13}),
        *rows("alone", "plain", {8: 0.4}),
    ]
    table, _ = cells_of(paired_seeds.table(record, baseline=("small", "plain")))
    found = {
        key: (row["MAP@R − small:plain"].partition(" ")[0], row["positive"])
        for key, row in table.items()
    }
    assert found == {
        ("small", "plain"): ("", ""),
        ("small", "ccp"): ("+0.0667", "2 of 3"),
        ("other", "dvml"): ("+0.0400", "2 of 2"),
        ("alone", "plain"): ("", ""),
    }


def test_before_is_shown_where_it_differs(paired_seeds):
    record = [
        *rows("one", "before", {0: 0.1, 1: 0.2}),
        *rows("one", "plain", {0: 0.3, 1: 0.3}),
        *rows("same", "before", {1: 0.2000001}),
        *rows("same", "plain", {1: 0.3}),
        *rows("other", "before", {1: 0.1}),
        *rows("other", "plain", {1: 0.3}),
    ]
    table, _ = cells_of(paired_seeds.table(record))
    assert [name for name, method in table if method == "before"] == ["one", "other"]


def test_metrics_of_clustering_are_shown_if_there_are_some(paired_seeds):
    without = rows("one", "plain", {0: 0.1, 1: 0.2})
    record = [*without, *rows("two", "dvml", {0: 0.1, 1: 0.2}, nmi=0.5, pairwise_f1=0.25)]
    table, _ = cells_of(paired_seeds.table(record))
    assert [table["two", "dvml"][metric] for metric in ("NMI", "F1")] == [
        "0.5000 ± 0.0000",
        "0.2500 ± 0.0000",
    ]
    assert [table["one", "plain"][metric] for metric in ("NMI", "F1")] == ["", ""]
    assert "NMI" not in paired_seeds.table(without)


def test_the_table_of_the_letters_is_that_of_their_runs(paired_seeds):
    folder = ROOT / "experiments" / "glyphs"
    text = (folder / "table.md").read_text(encoding="utf-8")
    _, header = cells_of(text)
    baseline = header[-2].removeprefix("MAP@R − ").rpartition(":")
    record = paired_seeds.read_record(folder / "runs.csv")
    assert paired_seeds.table(record, (baseline[0], baseline[2]) if baseline[0] else None) == text
    assert text in (folder / "README.md").read_text(encoding="utf-8")


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


@pytest.mark.parametrize("method", ["plain", "ccp", "ccp,plain"])
def test_a_run_is_complete_with_the_methods_of_its_flagfile(method, make_run, paired_seeds):
    run = make_run(method=method)
    assert run.methods == tuple(method.split(","))
    finish(run, methods=("before", *run.methods[:-1]))
    assert paired_seeds.results_of(run) is None
    finish(run, methods=("before", *run.methods))
    rows = paired_seeds.rows_of(run, paired_seeds.results_of(run))
    assert [row["method"] for row in rows] == ["before", *run.methods]


def test_rows_of_a_run(run, paired_seeds):
    finish(run, gain=0.5)
    rows = paired_seeds.rows_of(run, paired_seeds.results_of(run))
    assert [row["method"] for row in rows] == ["before", "plain", "ccp"]
    assert [row["map_at_r"] for row in rows] == [0.1, 0.1, 0.6]
    assert {(row["name"], row["seed"]) for row in rows} == {("small", 3)}


def test_the_record_is_added_to(paired_seeds, tmp_path):
    path = tmp_path / "tables" / "table.md"
    third = 1 / 3
    paired_seeds.report(path, rows("old", "plain", {1: third, 0: 0.2}))
    paired_seeds.report(path, rows("new", "dvml", {0: 0.3}, nmi=0.5))
    paired_seeds.report(path, rows("old", "ccp", {1: 0.4}) + rows("old", "plain", {0: 0.7}))
    with (tmp_path / "tables" / "runs.csv").open() as file:
        record = list(csv.DictReader(file))
    assert [(row["name"], row["seed"], row["method"], row["map_at_r"]) for row in record] == [
        ("old", "0", "plain", "0.7"),
        ("old", "1", "ccp", "0.4"),
        ("old", "1", "plain", str(third)),
        ("new", "0", "dvml", "0.3"),
    ]
    assert [row["nmi"] for row in record] == ["", "", "", "0.5"]
    table, _ = cells_of(path.read_text())
    assert [row["seeds"] for row in table.values()] == ["2", "1", "1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,seed,map_at_r\n", "has no column 'method'"),
        ("name,seed,method,map_at_r\nold,0,plain\n", "line 2: there must be 4 cells"),
        ("name,seed,method,map_at_r\nold,0,plain,\n", "line 2: could not convert"),
        ("name,seed,method,map_at_r\nold,first,plain,0.1\n", "line 2: invalid literal"),
    ],
)
def test_a_damaged_record_is_not_written_over(text, message, command, tmp_path, capsys):
    path = tmp_path / "tables" / "runs.csv"
    path.parent.mkdir()
    path.write_text(text)
    assert command(flagfiles=[]) == 2
    assert message in capsys.readouterr().err
    assert path.read_text() == text


def test_the_table_alone(command, paired_seeds, tmp_path, capsys):
    assert command(flagfiles=[]) == 2
    assert "no runs in" in capsys.readouterr().err
    table = tmp_path / "tables" / "table.md"
    paired_seeds.report(table, rows("old", "plain", {0: 0.1}) + rows("old", "ccp", {0: 0.2}))
    record, text = (table.parent / "runs.csv").read_text(), table.read_text()
    table.unlink()
    assert command(flagfiles=[]) == 0
    assert table.read_text() == text
    assert command(flagfiles=[], baseline="old:ccp") == 0
    assert cells_of(table.read_text())[0]["old", "plain"]["MAP@R − old:ccp"] == "-0.1000"
    assert (table.parent / "runs.csv").read_text() == record


def test_runs_that_are_there_join_the_record(command, make_run, tmp_path):
    for name, method in [("one", "plain,ccp"), ("two", "ccp")]:
        run = make_run(name, seed=5, method=method)
        finish(run, methods=("before", *run.methods), gain=0.2)
        code = command(
            flagfiles=[str(tmp_path / f"{name}.flags")],
            seeds=["5"],
            workdir=str(tmp_path / "runs"),
            baseline="one:plain",
        )
        assert code == 0
    table, _ = cells_of((tmp_path / "tables" / "table.md").read_text())
    assert list(table) == [("one", "before"), ("one", "plain"), ("one", "ccp"), ("two", "ccp")]
    assert table["two", "ccp"]["MAP@R − one:plain"] == "+0.2000"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"workdir": None}, "--workdir is missing"),
        ({"baseline": "small:xbm"}, "must be one of small:plain, small:ccp; got 'small:xbm'"),
        ({"baseline": "plain"}, "must be one of small:plain, small:ccp; got 'plain'"),
        ({"seeds": ["1", "1"]}, "seeds must be different"),
        ({"seeds": ["one"]}, "invalid literal"),
    ],
)
def test_wrong_flags_stop_before_anything_is_run(values, message, command, run, tmp_path, capsys):
    flagfile = str(tmp_path / "small.flags")
    values = {"flagfiles": [flagfile], "workdir": str(tmp_path / "runs"), **values}
    assert command(**values) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("flagfile", sorted((ROOT / "experiments" / "glyphs").glob("*.flags")))
def test_flagfiles_of_the_letters(flagfile, paired_seeds, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    run = paired_seeds.planned_run(flagfile, 0, tmp_path)
    common_flags = {"--dataset=glyphs", "--num_folds=2", "--embedding_size=64", "--max_steps=3000"}
    assert common_flags <= set(run.settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--learning_rate=-1\n", "learning_rate must be above 0; got -1.0"),
        ("--method=cpc\n", "method must be one of plain, ccp"),
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
