"""A protocol of 2 folds × 2 methods (× 2 seeds if slow) in processes, one of which is killed."""

import itertools
import json
import pathlib
import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import psutil
import pytest
import scipy.stats

from ccp_dml.evaluation import retrieval_metrics
from tests import naive
from tests.data.pictures import write_classes

ROOT = pathlib.Path(__file__).parents[2]
FOLDS, METHODS = (1, 2), ("plain", "ccp")
METRICS = ("map_at_r", "precision_at_1", "r_precision")
SMALL = (
    "--num_folds=2",
    "--folds=1,2",
    "--method=plain,ccp",
    "--embedding_size=4",
    "--learning_rate=1e-3",
    "--max_steps=20",
    "--steps_per_validation=5",
    "--classes_per_batch=4",
    "--samples_per_class=2",
    "--proxies_per_class=2",
    "--pool_size=3",
    "--round_patience=1",
    "--processes=2",
)
# Tested on other letters of the training set, because there are fewer of them than test letters.
LETTERS = (
    "--dataset=glyphs",
    "--dataset_params=train_letters=8,samples_per_letter=4,tuning_letters=20",
)


class Protocol:
    """A protocol and what was seen while it was trained.

    Attributes:
        arguments: Its command line.
        seeds: Its seeds.
        runs: The names of its runs.
        folder: Its folder.
        children: The processes that the first one had started when it was killed.
        output: The output of the process that finished the protocol.
    """

    def __init__(self, arguments, seeds, folder):
        listed = ",".join(map(str, seeds))
        self.arguments = (*arguments, *SMALL, f"--seeds={listed}", f"--workdir={folder}")
        self.seeds, self.folder = seeds, folder
        self.runs = [f"fold{fold}_seed{seed}" for fold in FOLDS for seed in seeds]
        self.children, self.output = [], ""

    def start(self):
        return subprocess.Popen(
            [sys.executable, "-m", "ccp_dml.main", "--checkpoint_minutes=0.001", *self.arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )

    def kill_first_process(self):
        """Kills the process that starts the other two, once both of them are training."""
        parent = self.start()
        while len(list(self.folder.glob("*/checkpoints/*/step-*.npz"))) < 2:
            assert parent.poll() is None, parent.stdout.read()
            try:
                parent.wait(timeout=0.02)
            except subprocess.TimeoutExpired:
                continue
        self.children = psutil.Process(parent.pid).children()
        parent.kill()
        parent.communicate()

    def finish(self):
        process = self.start()
        self.output, _ = process.communicate()
        assert process.returncode == 0, self.output

    def results(self, run):
        return json.loads((self.folder / run / "results.json").read_text())

    def embeddings(self, run, method):
        with np.load(self.folder / run / method / "test_embeddings.npz") as saved:
            return saved["embeddings"], saved["labels"]


# Pictures are slow, because each process builds pipelines of images in files a dozen times. Runs in
# one process test these as well, and test_run_report.py tests reports.
@pytest.fixture(
    scope="module", params=["letters", pytest.param("pictures", marks=pytest.mark.slow)]
)
def protocol(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("protocol")
    arguments, seeds = (*LETTERS, "--noreport"), (0,)
    if request.param == "pictures":
        classes = {f"class{number:02}": 5 for number in range(16)}
        write_classes(folder / "pictures", classes, height=14, width=14, contrast=0.3)
        arguments = (
            "--dataset=folder",
            f"--data_dir={folder / 'pictures'}",
            "--image_size=14",
        )
        seeds = (0, 1)
    protocol = Protocol(arguments, seeds, folder / "c2 ccp")
    protocol.kill_first_process()
    _, alive = psutil.wait_procs(protocol.children, timeout=60)
    assert not alive
    protocol.finish()
    return protocol


def test_a_killed_protocol_ends_its_processes_and_resumes(protocol):
    assert len(protocol.children) == 2
    count = len(protocol.runs)
    assert f"0 of {count} runs are finished" in protocol.output
    assert f"{count} of {count}: fold" in protocol.output
    finished = sorted(path.parent.name for path in protocol.folder.glob("*/results.json"))
    assert finished == protocol.runs
    reports = {path.parent.name for path in protocol.folder.rglob("report.html")}
    expected = (
        set() if "--noreport" in protocol.arguments else {*protocol.runs, protocol.folder.name}
    )
    assert reports == expected
    assert not list(protocol.folder.rglob("checkpoints"))
    assert not list(protocol.folder.rglob(".unfinished*"))
    logs = [(protocol.folder / run / "log.txt").read_text() for run in protocol.runs]
    assert any("resumes after step" in log for log in logs)
    *_, last = protocol.output.splitlines()
    assert last.startswith(f"the results are in {protocol.folder}: ")
    assert ("report.html" in last) == bool(reports)


def test_runs_differ(protocol):
    values = {json.dumps(protocol.results(run)["plain"]["map_at_r"]) for run in protocol.runs}
    assert len(values) == len(protocol.runs)


def row_of(table, method):
    return table.loc[table["method"] == method].iloc[0]


@pytest.mark.parametrize("method", ["raw_pixels", "pooled_features", "before", *METHODS])
def test_the_table_holds_means_and_intervals(protocol, method):
    row = row_of(pd.read_csv(protocol.folder / "table.csv"), method)
    count = len(protocol.runs)
    assert row["runs"] == count
    for metric in METRICS:
        values = [protocol.results(run)[method][metric] for run in protocol.runs]
        assert row[metric] == pytest.approx(sum(values) / count)
        squares = sum((value - sum(values) / count) ** 2 for value in values)
        error = np.sqrt(squares / (count - 1) / count)
        half_width = scipy.stats.t.ppf(0.975, df=count - 1) * error
        assert row[f"{metric}_half_width"] == pytest.approx(half_width, abs=1e-12)
    if method in METHODS:
        steps = [protocol.results(run)[method]["best_step"] for run in protocol.runs]
        assert row["best_step"] == sum(steps) / count


def test_the_table_holds_paired_differences(protocol):
    table = pd.read_csv(protocol.folder / "differences.csv")
    (row,) = table.to_dict("records")
    assert (row["method"], row["baseline_method"]) == ("ccp", "plain")
    count = len(protocol.runs)
    assert row["pairs"] == count
    for metric in METRICS:
        differences = [
            protocol.results(run)["ccp"][metric] - protocol.results(run)["plain"][metric]
            for run in protocol.runs
        ]
        mean = sum(differences) / count
        assert row[f"{metric}_difference"] == pytest.approx(mean)
        assert row[f"{metric}_positive"] == sum(value > 0 for value in differences)
        error = scipy.stats.sem(differences)
        interval = scipy.stats.t.interval(0.95, df=count - 1, loc=mean, scale=error)
        assert row[f"{metric}_half_width"] == pytest.approx(interval[1] - mean)
        signs = itertools.product((1, -1), repeat=count)
        flipped = [abs(np.dot(differences, flips)) / count for flips in signs]
        p_value = np.mean([value >= abs(mean) * (1 - 1e-9) for value in flipped])
        assert row[f"{metric}_p_value"] == pytest.approx(p_value)


def reduce_by_svd(part, components):
    """The coordinates of the rows along the directions in which they vary most."""
    centered = part.astype("float64") - part.mean(axis=0, dtype="float64")
    _, _, directions = np.linalg.svd(centered, full_matrices=False)
    return centered @ directions[:components].T


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["concatenated", "reduced"])
def test_the_table_holds_the_concatenation_of_folds(protocol, method, kind):
    row = row_of(pd.read_csv(protocol.folder / "table.csv"), method)
    values = {metric: [] for metric in METRICS}
    for seed in protocol.seeds:
        parts = [protocol.embeddings(f"fold{fold}_seed{seed}", method) for fold in FOLDS]
        labels = parts[0][1]
        embeddings = [part for part, _ in parts]
        if kind == "reduced":
            embeddings = [naive.normalize(reduce_by_svd(part, 4 // 2)) for part in embeddings]
        whole = naive.normalize(np.concatenate(embeddings, axis=1))
        assert (
            whole.shape[1]
            == row[f"{kind}_embedding_size"]
            == {"concatenated": 8, "reduced": 4}[kind]
        )
        for metric, value in retrieval_metrics(whole, labels).items():
            if metric in values:
                values[metric].append(value)
    assert row[f"{kind}_runs"] == len(protocol.seeds)
    for metric, found in values.items():
        assert row[f"{kind}_{metric}"] == pytest.approx(np.mean(found), abs=1e-4)
        if len(protocol.seeds) == 1:
            continue
        half_width = scipy.stats.t.ppf(0.975, df=1) * np.std(found, ddof=1) / np.sqrt(2)
        assert row[f"{kind}_{metric}_half_width"] == pytest.approx(half_width, abs=2e-3)


def test_the_same_command_again_trains_nothing(protocol, run_command, capsys):
    files = {path: path.stat().st_mtime_ns for path in protocol.folder.glob("fold*/**/*.*")}
    run_command(*protocol.arguments)
    assert {path: path.stat().st_mtime_ns for path in protocol.folder.glob("fold*/**/*.*")} == files
    output = capsys.readouterr().out
    # It prints the same tables.
    assert output.strip() in protocol.output


def test_the_plan_completes_what_is_missing(protocol, run_command, capsys):
    expected = protocol.results("fold2_seed0")
    for path in (protocol.folder / "fold2_seed0").iterdir():
        if path.name in ("results.json", "flags.txt"):
            path.unlink()
    run_command("--mode=plan", *protocol.arguments)
    (line,) = capsys.readouterr().out.splitlines()
    python, *arguments = shlex.split(line)
    assert [python, *arguments[:2]] == ["python", "-m", "ccp_dml.main"]
    # In this process, because the imports of another would take as long as the run.
    run_command(*arguments[2:])
    capsys.readouterr()
    again = protocol.results("fold2_seed0")
    for method in METHODS:
        for results in (expected, again):
            results[method].pop("seconds")
        assert again[method] == expected[method]
    run_command("--mode=plan", *protocol.arguments)
    assert capsys.readouterr().out == ""
