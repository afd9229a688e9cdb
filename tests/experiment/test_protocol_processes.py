"""A protocol of 2 folds × 2 seeds × 2 methods, in processes, one of which is killed."""

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
FOLDS, SEEDS, METHODS = (1, 2), (0, 1), ("plain", "ccp")
RUNS = [f"fold{fold}_seed{seed}" for fold in FOLDS for seed in SEEDS]
METRICS = ("map_at_r", "precision_at_1", "r_precision")
SMALL = (
    "--num_folds=2",
    "--folds=1,2",
    "--seeds=0,1",
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
# Tested on other letters of the training set, which are fewer than those for testing.
LETTERS = (
    "--dataset=glyphs",
    "--dataset_params=train_letters=8,samples_per_letter=4,tuning_letters=20",
)


class Protocol:
    """A protocol and what was seen while it was trained.

    Attributes:
        arguments: Its command line.
        folder: Its folder.
        children: The processes that the first one had started when it was killed.
        output: What the process that ended said.
    """

    def __init__(self, arguments, folder):
        self.arguments, self.folder = (*arguments, *SMALL, f"--workdir={folder}"), folder
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
        """Kills the process that starts the others, when both of them train."""
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


# Each process builds pipelines of images in files a dozen times, which the runs of one process test
# as well, and reports are those of test_run_report.py.
@pytest.fixture(
    scope="module", params=["letters", pytest.param("pictures", marks=pytest.mark.slow)]
)
def protocol(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("protocol")
    arguments = (*LETTERS, "--noreport")
    if request.param == "pictures":
        classes = {f"class{number:02}": 5 for number in range(16)}
        write_classes(folder / "pictures", classes, height=14, width=14, contrast=0.3)
        arguments = (
            "--dataset=folder",
            f"--data_dir={folder / 'pictures'}",
            "--image_size=14",
        )
    protocol = Protocol(arguments, folder / "c2 ccp")
    protocol.kill_first_process()
    _, alive = psutil.wait_procs(protocol.children, timeout=60)
    assert not alive
    protocol.finish()
    return protocol


def test_a_killed_protocol_ends_its_processes_and_resumes(protocol):
    assert len(protocol.children) == 2
    assert "0 of 4 runs are finished" in protocol.output
    assert "4 of 4: fold" in protocol.output
    assert sorted(path.parent.name for path in protocol.folder.glob("*/results.json")) == RUNS
    reports = {path.parent.name for path in protocol.folder.rglob("report.html")}
    expected = set() if "--noreport" in protocol.arguments else {*RUNS, protocol.folder.name}
    assert reports == expected
    assert not list(protocol.folder.rglob("checkpoints"))
    assert not list(protocol.folder.rglob(".unfinished*"))
    logs = [(protocol.folder / run / "log.txt").read_text() for run in RUNS]
    assert any("resumes after step" in log for log in logs)
    *_, last = protocol.output.splitlines()
    assert last.startswith(f"the results are in {protocol.folder}: ")
    assert ("report.html" in last) == bool(reports)


def test_runs_differ(protocol):
    values = {json.dumps(protocol.results(run)["plain"]["map_at_r"]) for run in RUNS}
    assert len(values) == 4


def row_of(table, method):
    return table.loc[table["method"] == method].iloc[0]


@pytest.mark.parametrize("method", ["raw_pixels", "pooled_features", "before", *METHODS])
def test_the_table_holds_means_and_intervals(protocol, method):
    row = row_of(pd.read_csv(protocol.folder / "table.csv"), method)
    assert row["runs"] == 4
    for metric in METRICS:
        values = [protocol.results(run)[method][metric] for run in RUNS]
        assert row[metric] == pytest.approx(sum(values) / 4)
        deviation = np.sqrt(sum((value - sum(values) / 4) ** 2 for value in values) / 3)
        half_width = scipy.stats.t.ppf(0.975, df=3) * deviation / np.sqrt(4)
        assert row[f"{metric}_half_width"] == pytest.approx(half_width, abs=1e-12)
    if method in METHODS:
        steps = [protocol.results(run)[method]["best_step"] for run in RUNS]
        assert row["best_step"] == sum(steps) / 4


def test_the_table_holds_paired_differences(protocol):
    table = pd.read_csv(protocol.folder / "differences.csv")
    (row,) = table.to_dict("records")
    assert (row["method"], row["baseline_method"]) == ("ccp", "plain")
    assert row["pairs"] == 4
    for metric in METRICS:
        differences = [
            protocol.results(run)["ccp"][metric] - protocol.results(run)["plain"][metric]
            for run in RUNS
        ]
        mean = sum(differences) / 4
        assert row[f"{metric}_difference"] == pytest.approx(mean)
        assert row[f"{metric}_positive"] == sum(value > 0 for value in differences)
        interval = scipy.stats.t.interval(0.95, df=3, loc=mean, scale=scipy.stats.sem(differences))
        assert row[f"{metric}_half_width"] == pytest.approx(interval[1] - mean)
        flipped = [
            abs(np.dot(differences, [1 if flips >> bit & 1 else -1 for bit in range(4)])) / 4
            for flips in range(16)
        ]
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
    for seed in SEEDS:
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
    assert row[f"{kind}_runs"] == 2
    for metric, found in values.items():
        assert row[f"{kind}_{metric}"] == pytest.approx(np.mean(found), abs=1e-4)
        half_width = scipy.stats.t.ppf(0.975, df=1) * np.std(found, ddof=1) / np.sqrt(2)
        assert row[f"{kind}_{metric}_half_width"] == pytest.approx(half_width, abs=2e-3)


def test_the_same_command_again_trains_nothing(protocol, run_command, capsys):
    files = {path: path.stat().st_mtime_ns for path in protocol.folder.glob("fold*/**/*.*")}
    run_command(*protocol.arguments)
    assert {path: path.stat().st_mtime_ns for path in protocol.folder.glob("fold*/**/*.*")} == files
    output = capsys.readouterr().out
    # The same tables.
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
    # Without a process of its own, whose imports take as long as the run.
    run_command(*arguments[2:])
    capsys.readouterr()
    again = protocol.results("fold2_seed0")
    for method in METHODS:
        for results in (expected, again):
            results[method].pop("seconds")
        assert again[method] == expected[method]
    run_command("--mode=plan", *protocol.arguments)
    assert capsys.readouterr().out == ""
