"""Means and paired differences of runs, against loops over them."""

import math

import pandas as pd
import pytest
import scipy.stats

from ccp_dml.experiment.comparison import compare, summarize
from ccp_dml.experiment.published import PublishedCell
from ccp_dml.experiment.records import add_rows, read_record


@pytest.fixture
def make_runs(tmp_path):
    """A record of rows, each with the values of MAP@R by fold and seed."""

    def make_runs(*groups):
        lines = []
        for name, method, values, *more in groups:
            for (fold, seed), value in values.items():
                row = {"name": name, "fold": fold, "seed": seed, "method": method}
                lines.append({**row, "map_at_r": value, **(more[0] if more else {})})
        pd.DataFrame(lines).to_csv(tmp_path / "runs.csv", index=False)
        return read_record(tmp_path / "runs.csv")

    return make_runs


def rows(frame, *columns):
    return {tuple(row[column] for column in columns): row for row in frame.to_dict("records")}


def by_hand(values):
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    quantile = scipy.stats.t.ppf(0.975, len(values) - 1)
    return mean, quantile * deviation / math.sqrt(len(values))


def test_means_over_folds_and_seeds(make_runs):
    values = {(1, 0): 0.1, (1, 1): 0.2, (2, 0): 0.4, (2, 1): 0.35}
    effort = {"best_step": 300, "rounds": 2, "seconds": 1.5}
    summary = rows(summarize(make_runs(("c2", "plain", values, effort))), "name", "method")
    row = summary["c2", "plain"]
    assert row["runs"] == 4
    assert (row["map_at_r"], row["map_at_r_half_width"]) == pytest.approx(by_hand(values.values()))
    assert [row[name] for name in effort] == list(effort.values())
    assert row["best_phase"] == ""


def test_one_run(make_runs):
    row = summarize(make_runs(("c2", "plain", {(1, 0): 0.25}))).iloc[0]
    assert row["map_at_r"] == 0.25
    assert math.isnan(row["map_at_r_half_width"])


def test_a_mean_is_of_all_runs_or_missing(make_runs):
    runs = make_runs(("c2", "plain", {(1, 0): 0.25, (1, 1): math.nan, (1, 2): 0.5}))
    row = summarize(runs).iloc[0]
    assert row["runs"] == 3
    assert math.isnan(row["map_at_r"])


def test_where_the_best_weights_lie(make_runs):
    runs = make_runs(("c2", "ccp", dict.fromkeys([(1, seed) for seed in range(4)], 0.5)))
    runs["best_phase"] = ["warm-up", "", "round 0", "warm-up"]
    assert summarize(runs)["best_phase"].tolist() == ["warm-up in 2 of 4, round 0 in 1 of 4"]


def test_baselines_stand_first_and_once(make_runs):
    same = {(1, 0): 0.1, (1, 1): 0.2}
    runs = make_runs(
        ("one", "before", same),
        ("one", "plain", same),
        ("one", "raw_pixels", {(1, 0): 0.02, (1, 1): 0.02}),
        ("same", "before", {(1, 1): 0.2000001}),
        ("same", "plain", {(1, 1): 0.3}),
        ("other", "plain", {(1, 1): 0.3}),
        ("other", "before", {(2, 1): 0.2}),
    )
    assert list(rows(summarize(runs), "name", "method")) == [
        ("one", "raw_pixels"),
        ("one", "before"),
        ("other", "before"),
        ("one", "plain"),
        ("same", "plain"),
        ("other", "plain"),
    ]


def test_concatenations_and_what_is_published(make_runs):
    runs = make_runs(("c2", "plain", {(1, 0): 0.2, (2, 0): 0.3}, {"embedding_size": 128}))
    concatenated = {0: 0.5, 1: 0.6}
    runs = add_rows(
        runs,
        [
            {"name": "c2", "seed": seed, "method": "plain", "embedding": kind}
            | {"embedding_size": size, "map_at_r": value - loss}
            for seed, value in concatenated.items()
            for kind, size, loss in [("concatenated", 512, 0.0), ("reduced", 128, 0.1)]
        ],
    )
    published = PublishedCell("C2", {128: {"map_at_r": 0.22}, 512: {"map_at_r": 0.5}}, 62_000)
    asked = []

    def published_by_name(name, method):
        asked.append((name, method))
        return published

    row = summarize(runs, published_by_name).iloc[0]
    assert asked == [("c2", "plain")]
    assert row["runs"] == 2
    assert row["map_at_r"] == pytest.approx(0.25)
    mean, half_width = by_hand(concatenated.values())
    assert row["concatenated_map_at_r"] == pytest.approx(mean)
    assert row["concatenated_map_at_r_half_width"] == pytest.approx(half_width)
    assert row["reduced_map_at_r"] == pytest.approx(mean - 0.1)
    assert row["concatenated_embedding_size"] == 512
    assert row["concatenated_runs"] == 2
    assert row["published_128_map_at_r"] == 0.22
    assert row["difference_128_map_at_r"] == pytest.approx(0.03)
    assert row["difference_512_map_at_r"] == pytest.approx(0.05)
    assert row["published_title"] == "C2"
    assert row["published_steps"] == 62_000


@pytest.mark.parametrize(
    ("size", "published"), [(64, PublishedCell("C2", {128: {"map_at_r": 0.2}}, None)), (128, None)]
)
def test_nothing_is_published(size, published, make_runs):
    runs = make_runs(("c2", "plain", {(1, 0): 0.2}, {"embedding_size": size}))
    summary = summarize(runs, lambda name, method: published)
    assert not [column for column in summary if column.startswith("published")]


def test_paired_differences(make_runs):
    plain = {(1, 0): 0.1, (1, 1): 0.2, (2, 0): 0.3, (2, 1): 0.4}
    # In another order, with one run that `plain` lacks, and without one that it has.
    ccp = {(2, 1): 0.5, (1, 1): 0.15, (9, 9): 0.9, (1, 0): 0.12}
    other = {(2, 0): 0.35, (1, 0): 0.2}
    runs = make_runs(
        ("c2", "before", plain), ("c2", "plain", plain), ("c2", "ccp", ccp), ("c1", "plain", other)
    )
    found = rows(compare(runs), "name", "method", "baseline_name", "baseline_method")
    assert list(found) == [("c2", "ccp", "c2", "plain"), ("c1", "plain", "c2", "plain")]
    within, between = found.values()
    differences = [ccp[key] - plain[key] for key in [(1, 0), (1, 1), (2, 1)]]
    estimate = (within["map_at_r_difference"], within["map_at_r_half_width"])
    assert estimate == pytest.approx(by_hand(differences))
    assert (within["pairs"], within["map_at_r_positive"], within["map_at_r_pairs"]) == (3, 2, 3)
    # Of the 8 sign flips of .02, −.05 and .1, 6 are at least as far from 0: 3 of each sign.
    assert within["map_at_r_p_value"] == pytest.approx(0.75)
    assert between["map_at_r_difference"] == pytest.approx(0.075)
    assert between["map_at_r_p_value"] == pytest.approx(0.5)


def test_a_baseline_of_ones_own(make_runs):
    runs = make_runs(
        ("small", "before", {(1, 0): 0.05}),
        ("small", "plain", {(1, 0): 0.1, (1, 1): 0.2}),
        ("small", "ccp", {(1, 0): 0.2, (1, 1): 0.1}),
        ("a:b", "ccp", {(1, 1): 0.4}),
        ("alone", "plain", {(1, 8): 0.4}),
    )
    found = rows(compare(runs, "small:ccp"), "name", "method")
    assert {key: row["map_at_r_difference"] for key, row in found.items()} == {
        ("small", "plain"): pytest.approx(0.0),
        ("a:b", "ccp"): pytest.approx(0.3),
    }
    assert list(rows(compare(runs, "a:b:ccp"), "name", "method")) == [
        ("small", "plain"),
        ("small", "ccp"),
    ]
    for baseline in ("small:xbm", "ccp"):
        with pytest.raises(ValueError, match=f"small:before, small:plain.*; got '{baseline}'"):
            compare(runs, baseline)


def test_metrics_that_not_all_runs_have(make_runs):
    runs = make_runs(
        ("one", "plain", {(1, 0): 0.1, (1, 1): 0.2}),
        ("one", "ccp", {(1, 0): 0.2, (1, 1): math.nan}, {"nmi": 0.5}),
        ("one", "xbm", {(1, 0): math.nan, (1, 1): math.nan}),
    )
    ccp, xbm = compare(runs).to_dict("records")
    assert (ccp["pairs"], ccp["map_at_r_pairs"]) == (2, 1)
    assert ccp["map_at_r_difference"] == pytest.approx(0.1)
    assert math.isnan(ccp["map_at_r_half_width"])
    assert "nmi_difference" not in ccp
    assert math.isnan(xbm["map_at_r_difference"])


def test_nothing_to_compare(make_runs):
    assert compare(make_runs(("one", "plain", {(1, 0): 0.1}))).empty


def test_by_default_only_runs_on_the_same_data_are_compared(make_runs):
    values = {(1, 0): 0.1, (1, 1): 0.2}
    names = ("sop/c1", "cub/c1", "sop/c2", "cub/c2", "other")
    runs = make_runs(*((name, "plain", values) for name in names))
    data_sets = {name: name.partition("/")[0] for name in names[:4]}
    found = compare(runs, data_sets=data_sets)
    assert list(zip(found["name"], found["baseline_name"], strict=True)) == [
        ("sop/c2", "sop/c1"),
        ("cub/c2", "cub/c1"),
        ("other", "sop/c1"),
    ]
    assert len(compare(runs)) == 4
    assert len(compare(runs, "other:plain", data_sets)) == 4
