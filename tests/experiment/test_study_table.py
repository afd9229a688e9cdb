"""Tables of a study, against SciPy's tests and means by hand."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.study import Group, Study
from ccp_dml.experiment.study_runs import StudyRuns
from ccp_dml.experiment.study_table import (
    align_at_first_renewal,
    compare_claims,
    correlate_radius,
    format_study,
    summarize_group,
    unfinished_groups,
)

MAIN = Group("main", "What it is worth", (1, 2, 3, 4, 5), ("both", "often"))
CURVE = Group(
    "lengths", "Lengths", (1, 2), ("often", "seldom"), "validations", (2.0, 5.0), "both:plain"
)
STUDY = Study(
    "A study",
    {
        "both": Settings(),
        "often": Settings(method=("ccp",), max_round_validations=2),
        "seldom": Settings(method=("ccp",), max_round_validations=5),
    },
    (MAIN, CURVE),
    (("both:ccp", "both:plain"), ("often:ccp", "both:ccp"), ("seldom:ccp", "both:ccp")),
)


def make_runs(missing=()):
    """Runs of all variants with random numbers, except for `missing` pairs of variant and seed."""
    generator = np.random.default_rng(3)
    rows = []
    for name, settings in STUDY.settings.items():
        for seed in STUDY.seeds(name):
            for method in settings.method:
                values = generator.uniform(0.2, 0.4, 3) + (0.1 if method == "ccp" else 0.0)
                metrics = ["map_at_r", "precision_at_1", "covering_radius"]
                row = dict(zip(metrics, values, strict=True))
                row |= {"name": name, "seed": seed, "method": method}
                row |= {"rounds": 2 * (method == "ccp"), "best_step": 100 * seed}
                row["first_round_steps"] = 50.0 if method == "ccp" else math.nan
                if (name, seed) not in missing:
                    rows.append(row)
    return pd.DataFrame(rows)


def values(runs, name, method, metric="map_at_r"):
    own = runs[(runs["name"] == name) & (runs["method"] == method)]
    return own.sort_values("seed")[metric].to_numpy()


def test_clusters_are_compared_and_tested_if_all_runs_have_them():
    runs = make_runs()
    runs["nmi"] = np.random.default_rng(0).uniform(size=len(runs))
    runs["pairwise_f1"] = runs["nmi"].where(runs["seed"] > 1)
    study = dataclasses.replace(STUDY, metric="nmi")
    row = compare_claims(study, runs).iloc[0]
    difference = values(runs, "both", "ccp", "nmi") - values(runs, "both", "plain", "nmi")
    flips = scipy.stats.permutation_test(
        (difference,), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert row["nmi_difference"] == pytest.approx(difference.mean())
    assert row["p_value"] == pytest.approx(flips.pvalue)
    assert row["positive"] == (difference > 0).sum()
    text = format_study(study, runs)
    assert "permutation test of NMI" in text
    assert "| NMI |" in text
    assert "F1" not in text


def test_claims_are_paired_tests():
    runs = make_runs()
    claims = compare_claims(STUDY, runs)
    assert list(zip(claims["name"], claims["minus"], strict=True)) == list(STUDY.comparisons)
    for metric in ("map_at_r", "precision_at_1", "covering_radius"):
        ours, theirs = values(runs, "both", "ccp", metric), values(runs, "both", "plain", metric)
        interval = scipy.stats.ttest_rel(ours, theirs).confidence_interval(0.95)
        row = claims.iloc[0]
        assert row[f"{metric}_difference"] == pytest.approx((ours - theirs).mean())
        half_width = (interval.high - interval.low) / 2
        assert row[f"{metric}_half_width_of_difference"] == pytest.approx(half_width)
    difference = values(runs, "both", "ccp") - values(runs, "both", "plain")
    flips = scipy.stats.permutation_test(
        (difference,), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert claims["p_value"][0] == pytest.approx(flips.pvalue)
    assert claims["positive"][0] == (difference > 0).sum()
    # The third comparison has only the seeds that both sides share.
    assert claims["pairs"].tolist() == [5, 5, 2]


def test_p_values_are_corrected_for_all_comparisons():
    claims = compare_claims(STUDY, make_runs())
    order = np.argsort(claims["p_value"].to_numpy(), kind="stable")
    corrected = claims["p_value"].to_numpy()[order] * [3, 2, 1]
    expected = np.minimum(1, np.maximum.accumulate(corrected))
    np.testing.assert_allclose(claims["adjusted_p_value"].to_numpy()[order], expected)
    # An unfinished comparison is left out, but still counts in the correction.
    claims = compare_claims(STUDY, make_runs(missing=[("often", 4), ("seldom", 2)]))
    assert claims["name"].tolist() == ["both:ccp"]
    assert claims["adjusted_p_value"][0] == pytest.approx(min(1, 3 * claims["p_value"][0]))


def test_groups_are_unfinished_until_all_their_runs_are_there():
    assert unfinished_groups(STUDY, make_runs()) == {}
    missing = [("often", 2), ("seldom", 1)]
    assert unfinished_groups(STUDY, make_runs(missing)) == {
        "main": "9 of 10 runs",
        "lengths": "2 of 4 runs",
    }


def test_means_of_a_group():
    runs = make_runs()
    rows = summarize_group(MAIN, runs)
    assert rows["method"].tolist() == ["plain", "ccp", "ccp"]
    assert rows["runs"].tolist() == [5, 5, 5]
    plain = values(runs, "both", "plain")
    assert rows["map_at_r"][0] == pytest.approx(sum(plain) / 5)
    quantile = scipy.stats.t.ppf(0.975, 4)
    assert rows["map_at_r_half_width"][0] == pytest.approx(
        quantile * plain.std(ddof=1) / math.sqrt(5)
    )
    assert rows["best_step"].tolist() == [300, 300, 300]
    assert rows["first_round_steps"].tolist()[1:] == [50, 50]


def test_a_curve_takes_the_seeds_of_its_group_and_its_differences():
    runs = make_runs()
    rows = summarize_group(CURVE, runs)
    assert rows["at"].tolist() == [2, 5]
    assert rows["runs"].tolist() == [2, 2]
    often, plain = values(runs, "often", "ccp")[:2], values(runs, "both", "plain")[:2]
    assert rows["map_at_r"][0] == pytest.approx(often.mean())
    assert rows["map_at_r_difference"][0] == pytest.approx((often - plain).mean())


def test_the_radius_is_correlated_between_and_within():
    runs = make_runs()
    sides = [("both", "ccp"), ("both", "plain"), ("often", "ccp"), ("seldom", "ccp")]
    radii = [values(runs, *side, "covering_radius") for side in sides]
    found = [values(runs, *side) for side in sides]
    between = scipy.stats.spearmanr(
        [each.mean() for each in radii], [each.mean() for each in found]
    )
    within = scipy.stats.spearmanr(
        np.concatenate([each - each.mean() for each in radii]),
        np.concatenate([each - each.mean() for each in found]),
    )
    correlations = correlate_radius(STUDY, runs)
    assert correlations["means"] == pytest.approx(between.statistic)
    assert correlations["seeds"] == pytest.approx(within.statistic)
    assert correlate_radius(STUDY, runs[:0]) == {}


def test_the_text_holds_what_is_finished_and_names_what_is_not():
    text = format_study(STUDY, make_runs(missing=[("seldom", 1)]))
    assert text.startswith("# A study\n")
    assert "## What it is worth" in text
    assert "## Lengths" not in text
    assert "Left out, because they are not finished: lengths (3 of 4 runs)." in text
    assert "| seldom:ccp |" not in text
    assert "Left out" not in format_study(STUDY, make_runs())
    # A correlation between two means says nothing, so none is shown.
    single = format_study(STUDY, make_runs(missing=[("often", 4), ("seldom", 2)]))
    assert "between the seeds of each" in single
    assert "between the means" not in single
    assert "nan" not in single
    nothing = format_study(STUDY, make_runs()[:0])
    assert "main (0 of 10 runs)" in nothing


def test_a_group_of_one_seed_has_no_intervals():
    study = dataclasses.replace(
        STUDY, groups=(dataclasses.replace(MAIN, seeds=(2,)),), comparisons=()
    )
    text = format_study(study, make_runs())
    assert "One run each, with the seed 2:" in text
    assert "±" not in text


def test_validation_is_aligned_at_the_first_renewal():
    runs = make_runs()
    is_ours = (runs["name"] == "often") & (runs["method"] == "ccp")
    # Two seeds were renewed, at different steps, and the others never.
    runs.loc[is_ours, "first_round_steps"] = [100, 200, math.nan, math.nan, math.nan]
    rows = []
    for seed in (1, 2, 3):
        for step in (100, 200, 300):
            row = {"seed": seed, "step": step, "method": "ccp"}
            rows.append({**row, "name": "often", "validation": seed + step / 1000})
            rows.append({**row, "name": "both", "validation": 0.5})
    found = StudyRuns(runs, pd.DataFrame(rows))
    aligned = align_at_first_renewal(found, "often:ccp", "both:ccp")
    # 0: step 100 of seed 1 and 200 of seed 2; 100: steps 200 and 300.
    assert aligned["steps"].tolist() == [0, 100]
    np.testing.assert_allclose(aligned["difference"], [1.15, 1.25])
    half_width = scipy.stats.t.ppf(0.975, 1) * np.std([0.6, 1.7], ddof=1) / math.sqrt(2)
    assert aligned["half_width"][0] == pytest.approx(half_width)
    runs["first_round_steps"] = math.nan
    assert not len(align_at_first_renewal(found, "often:ccp", "both:ccp"))
