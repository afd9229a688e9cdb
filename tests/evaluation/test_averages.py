import numpy as np
import pytest
import scipy.stats

from ccp_dml.evaluation import bootstrap_intervals, metrics_by_class, metrics_by_query


def test_means_of_classes_and_over_them(generator):
    labels = generator.permutation(np.repeat([3, -1, 8], [5, 20, 2]))
    values = {"map": generator.random(27), "mrr": generator.random(27)}
    # Queries that have nothing to find do not count.
    missing = generator.choice(27, 6, replace=False)
    labels[labels == 8] = [8, 9]
    missing = np.union1d(missing, np.flatnonzero(labels == 9))
    for each in values.values():
        each[missing] = np.nan
    by_class = metrics_by_class(values, labels[:, None])
    kept = np.setdiff1d(np.arange(27), missing)
    assert by_class.classes.tolist() == sorted(set(labels[kept].tolist()))
    macro = by_class.macro_average()
    for name, each in values.items():
        means = [
            np.mean([each[query] for query in kept if labels[query] == label])
            for label in by_class.classes
        ]
        np.testing.assert_allclose(by_class.metrics[name], means, rtol=1e-12)
        assert macro[name] == pytest.approx(np.mean(means), abs=1e-12)
    assert by_class.num_queries.sum() == len(kept)
    assert 9 not in by_class.classes


def test_classes_of_one_size_weigh_as_queries_do(generator):
    embeddings, labels = generator.standard_normal((60, 4)), np.arange(60) % 6
    values = metrics_by_query(embeddings, labels, metrics=("map", "r_precision"))
    macro = metrics_by_class(values, labels).macro_average()
    for name, each in values.items():
        assert macro[name] == pytest.approx(each.mean(), abs=1e-12)


def test_intervals_are_those_of_scipy(generator):
    values = {"map": generator.random(200) ** 2, "p": (generator.random(200) < 0.3).astype(float)}
    intervals = bootstrap_intervals(values, level=0.9, resamples=20_000, seed=1)
    for name, each in values.items():
        expected = scipy.stats.bootstrap(
            (each,),
            np.mean,
            n_resamples=20_000,
            confidence_level=0.9,
            method="percentile",
            rng=np.random.default_rng(2),
        ).confidence_interval
        # Two sets of 20,000 resamples differ by about a hundredth of the interval's length.
        length = expected.high - expected.low
        np.testing.assert_allclose(intervals[name], expected, atol=0.04 * length)


def test_the_seed_fixes_intervals_and_metrics_share_the_queries(generator):
    each = generator.random(50)
    first = bootstrap_intervals({"a": each, "b": 1 + each}, seed=5)
    assert first == bootstrap_intervals({"a": each, "b": 1 + each}, seed=5)
    assert first != bootstrap_intervals({"a": each, "b": 1 + each}, seed=6)
    np.testing.assert_allclose(np.subtract(first["b"], first["a"]), 1, atol=1e-12)


def test_queries_without_a_value_are_left_out(generator):
    each = generator.random(40)
    with_missing = np.insert(each, [0, 10, 40], np.nan)
    assert bootstrap_intervals({"a": with_missing}) == bootstrap_intervals({"a": each})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics_by_class({}, np.zeros(0)), "no metrics to average"),
        (lambda: metrics_by_class({"a": np.zeros(3)}, np.zeros(2)), r"\(3,\) .*; got \(2,\)"),
        (
            lambda: metrics_by_class({"a": np.zeros(3), "b": np.zeros(2)}, np.zeros(3)),
            r"with the same n for each metric; got \[\(2,\), \(3,\)\]",
        ),
        (lambda: metrics_by_class({"a": np.full(3, np.nan)}, np.zeros(3)), "no query has a value"),
        (lambda: bootstrap_intervals({"a": np.full(3, np.nan)}), "no query has a value"),
        (lambda: bootstrap_intervals({"a": np.zeros(3)}, level=1.0), "between 0 and 1; got 1.0"),
        (lambda: bootstrap_intervals({"a": np.zeros(3)}, resamples=0), "at least 1; got 0"),
    ],
)
def test_what_cannot_be_averaged_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
