"""What is measured on the test classes, and how it is shown."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics

from ccp_dml.data import Benchmark, LabeledImages
from ccp_dml.evaluation import metrics_by_class, metrics_by_query, retrieval_metrics
from ccp_dml.experiment.flags import flagfile, settings_from_text
from ccp_dml.experiment.metrics import measure, metric_titles, write_class_metrics
from ccp_dml.experiment.settings import Settings

METRICS = ("map", "mrr", "map_at_10", "macro_map", "macro_r_precision", "roc_auc", "recall_at_16")


def make_benchmark(labels, gallery_labels=None, class_names=None):
    def part(labels):
        return LabeledImages(np.zeros((len(labels), 2, 2, 1), "float32"), np.asarray(labels))

    return Benchmark(
        part([0, 1]),
        part(labels),
        None if gallery_labels is None else part(gallery_labels),
        class_names,
    )


@pytest.mark.parametrize("has_gallery", [False, True])
def test_what_is_chosen_is_measured_beside_what_always_is(has_gallery, generator):
    labels, gallery_labels = np.repeat(np.arange(4), [5, 9, 12, 20]), np.arange(30) % 5
    embeddings = generator.standard_normal((46, 3)).astype("float32")
    gallery = generator.standard_normal((30, 3)).astype("float32")
    rest = (gallery, gallery_labels) if has_gallery else ()
    benchmark = make_benchmark(labels, gallery_labels if has_gallery else None)
    settings = Settings(metrics=(*METRICS, "ami"))
    parts = [embeddings, gallery][: 1 + has_gallery]
    measured = measure(parts, benchmark, settings).metrics
    plain = measure(parts, benchmark, Settings()).metrics
    assert {name: measured[name] for name in plain} == plain
    assert set(measured) - set(plain) == {*METRICS, "ami", "nmi", "pairwise_f1"}
    expected = retrieval_metrics(
        embeddings, labels, *rest, recall_at=(1, 2, 4, 8, 16), metrics=METRICS[:3]
    )
    assert {name: measured[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    values = metrics_by_query(embeddings, labels, *rest, metrics=("map",))
    by_label = [np.nanmean(values["map"][labels == label]) for label in range(4)]
    assert measured["macro_map"] == pytest.approx(np.mean(by_label), abs=1e-12)
    assert measured["macro_map"] != pytest.approx(measured["map"], abs=1e-4)
    if not has_gallery:
        first, second = np.triu_indices(46, 1)
        distances = np.linalg.norm(embeddings[first] - embeddings[second], axis=1)
        auc = sklearn.metrics.roc_auc_score(labels[first] == labels[second], -distances)
        assert measured["roc_auc"] == pytest.approx(auc, abs=1e-5)


def test_intervals_hold_the_values(generator):
    labels = np.arange(60) % 4
    embeddings = [generator.standard_normal((60, 3)).astype("float32")]
    settings = Settings(metrics=("mrr", "macro_mrr"), bootstrap_resamples=200, seed=3)
    benchmark = make_benchmark(labels)
    measured = measure(embeddings, benchmark, settings).metrics
    for name in ("mrr", "map_at_r", "precision_at_1", "recall_at_2"):
        assert measured[f"{name}_low"] < measured[name] < measured[f"{name}_high"]
    assert measure(embeddings, benchmark, settings).metrics == measured
    assert "macro_mrr_low" not in measured


def test_metrics_of_classes_are_left_by_name(tmp_path, generator):
    labels = np.repeat([0, 2, 3], [4, 5, 1])
    embeddings = [generator.standard_normal((10, 3)).astype("float32")]
    names = ("boots", "unused", "hats, caps", "alone")
    measured = measure(embeddings, make_benchmark(labels), Settings(metrics=("macro_mrr",)))
    path = tmp_path / "class_metrics.csv"
    write_class_metrics(path, {"one": measured.by_class, "two": measured.by_class}, names)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["network"], row["class"]) for row in rows] == [
        (network, name) for network in ("one", "two") for name in ("boots", "hats, caps")
    ]
    assert [row["queries"] for row in rows] == ["4", "5"] * 2
    values = metrics_by_query(embeddings[0], labels, metrics=("mrr", "map_at_r"))
    by_class = metrics_by_class(values, labels)
    for name in values:
        found = [float(row[name]) for row in rows[:2]]
        np.testing.assert_allclose(found, by_class.metrics[name], rtol=1e-12)


def test_titles():
    rows = {
        "a": {"steps": 5, "map_at_r": 0.1, "map_at_r_low": 0.0, "recall_at_1": 0.1, "map": 0.2},
        "b": {"recall_at_16": 0.1, "tar_at_far_1e-3": 0.2, "macro_map_at_5": 0.3, "macro_x": 1},
    }
    assert metric_titles(rows) == {
        "map_at_r": "MAP@R",
        "map": "MAP",
        "recall_at_16": "recall@16",
        "tar_at_far_1e-3": "TAR@FAR 1e-3",
        "macro_map_at_5": "macro MAP@5",
    }


def test_flagfiles_keep_the_choice():
    for chosen in ((), ("mrr",), METRICS):
        settings = Settings(metrics=chosen, bootstrap_resamples=10)
        assert settings_from_text(flagfile(settings)) == settings


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (("mrr", "maps"), "metrics must be among .*roc_auc.*; got 'maps'"),
        (("macro_roc_auc",), "got 'macro_roc_auc'"),
        (("mrr", "mrr"), "must name each metric once; got mrr,mrr"),
        (("tar_at_far_7",), "tar_at_far_7 must be between 0 and 1; got 7.0"),
    ],
)
def test_wrong_choices_are_named(metrics, message):
    with pytest.raises(ValueError, match=message):
        Settings(metrics=metrics)


def test_the_command_measures_what_is_chosen(tmp_path, run_command, capsys):
    from tests.experiment.test_evaluation import network

    paths = [str(tmp_path / f"{seed}.keras") for seed in (1, 2)]
    for seed, path in enumerate(paths):
        network(seed).save(path)
    workdir = tmp_path / "results"
    run_command(
        "--mode=evaluate",
        f"--networks={','.join(paths)}",
        f"--workdir={workdir}",
        "--metrics=map,tar_at_far_0.01,macro_map",
        "--bootstrap_resamples=50",
    )
    text = capsys.readouterr().out
    numbers = json.loads((workdir / "evaluation.json").read_text())
    assert set(numbers) == {*paths, "mean", "concatenated"}
    header = next(line for line in text.splitlines() if "on the test classes" in line)
    assert all(title in header for title in (" MAP ", "TAR@FAR 0.01", "macro MAP"))
    low, high = (numbers[paths[0]][f"map_{end}"] for end in ("low", "high"))
    assert f"{low:.4f} to {high:.4f}" in text
    assert "map" in numbers["mean"]
    assert "map_low" not in numbers["mean"]
    table = pd.read_csv(workdir / "class_metrics.csv", dtype={"class": str})
    assert table["network"].unique().tolist() == [*paths, "concatenated"]
    macro = table[table["network"] == paths[1]]["map"].mean()
    assert macro == pytest.approx(numbers[paths[1]]["macro_map"], abs=1e-12)
