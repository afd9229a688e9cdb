"""Classes that are hard and classes that are confused, against plain loops."""

from collections import Counter

import numpy as np
import pytest

from ccp_dml.report.classes import average_by_class, class_section, count_confusions
from tests.report.retrieval_cases import make_retrievers, make_samples


@pytest.fixture(params=[False, True], ids=["among themselves", "in a gallery"])
def case(request, generator):
    labels = generator.integers(0, 12, 150)
    # Two classes of the queries are not in the gallery.
    gallery_labels = generator.integers(0, 10, 90) if request.param else None
    samples = make_samples(labels, gallery_labels, [f"class {label}" for label in range(12)])
    return samples, make_retrievers(samples, generator)


def test_the_mean_of_each_class(case):
    samples, retrievers = case
    labels = np.unique(samples.labels)
    for retriever in retrievers:
        averages = average_by_class(retriever, samples, labels)
        for label, average in zip(labels, averages, strict=True):
            values = retriever.found.average_precision[samples.labels == label]
            assert average == pytest.approx(values.mean(), nan_ok=True)


def test_confused_pairs(case):
    samples, retrievers = case
    for retriever in retrievers:
        expected = Counter()
        for label, (nearest, *_) in zip(samples.labels, retriever.found.nearest, strict=True):
            if nearest >= 0 and samples.searched_labels[nearest] != label:
                other = samples.searched_labels[nearest]
                expected[min(label, other), max(label, other)] += 1
        assert count_confusions(retriever, samples) == expected


def test_the_tables_are_ordered_by_the_best_method(case):
    samples, retrievers = case
    section = class_section(retrievers, samples)
    hardest, confused = (block for block in section.blocks if block.kind == "table")
    assert list(hardest.columns) == ["class", "queries", "before", "plain", "ccp"]
    values = [float(row[-1]) for row in hardest.rows]
    assert values == sorted(values)
    means = average_by_class(retrievers[-1], samples, np.arange(12))
    assert hardest.rows[0][0] == f"class {np.nanargmin(means)}"
    counts = [int(row[-1]) for row in confused.rows]
    assert counts == sorted(counts, reverse=True)
    most = count_confusions(retrievers[-1], samples)
    assert counts[0] == max(most.values())
    assert most[tuple(int(cell.split()[1]) for cell in confused.rows[0][:2])] == counts[0]


def test_nothing_is_confused(generator):
    samples = make_samples(np.arange(40) % 4)
    section = class_section(make_retrievers(samples, generator, noise=[0.0]), samples)
    (hardest,) = (block for block in section.blocks if block.kind == "table")
    assert [row[-1] for row in hardest.rows] == ["1.000"] * 4
