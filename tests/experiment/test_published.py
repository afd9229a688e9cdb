"""What the paper reports, beside the runs that can be compared with it."""

import dataclasses
import importlib.resources
import json

import pytest

from ccp_dml.experiment import Settings, paper_cells
from ccp_dml.experiment.published import cell_name, find_published

CELLS = [(dataset, name) for dataset in paper_cells.DATASETS for name in paper_cells.cells(dataset)]


def settings_of(dataset, name):
    return Settings(**paper_cells.cells(dataset)[name].settings)


def find_of_cell(dataset, name):
    settings = settings_of(dataset, name)
    return find_published(settings, *settings.method)


def published():
    text = importlib.resources.files("ccp_dml.experiment").joinpath("published_results.json")
    return json.loads(text.read_text(encoding="utf-8"))


def test_every_published_result_but_those_of_hpl_is_of_one_cell():
    expected = {}
    for row in published()["retrieval"]:
        if row["method"] != "HPL-PA":
            metrics = [row[name] for name in ("precision_at_1", "r_precision", "map_at_r")]
            key = (row["dataset"], row["method"], row["embedding_size"])
            assert key not in expected
            expected[key] = pytest.approx([value / 100 for value in metrics])
    found = {}
    for dataset, name in CELLS:
        cell = find_of_cell(dataset, name)
        assert (cell is None) == (paper_cells.cells(dataset)[name].published_as is None)
        for size, values in (cell.metrics if cell else {}).items():
            assert list(values) == ["precision_at_1", "r_precision", "map_at_r"]
            assert (dataset, cell.title, size) not in found
            found[dataset, cell.title, size] = list(values.values())
    assert found == expected
    assert len(found) == 110 - 2 * 3


@pytest.mark.parametrize(
    ("dataset", "name", "published_as"),
    [
        ("cub200_2011", "c2", "C2"),
        ("cub200_2011", "c2_ccp", "C2-CCP-L"),
        ("sop", "c2_xbm", "C2-XBM-L"),
        ("sop", "c1_ccp", "C1-CCP-L"),
        ("inshop", "c1_xbm", "C1-XBM-L"),
        ("cars196", "multi_similarity", "MS"),
        ("cars196", "triplet_ccp", "Triplet-CCP-L"),
        ("inshop", "proxy_anchor", "ProxyAnchor"),
        ("sop", "proxy_nca", "ProxyNCA++"),
        ("cars196", "soft_triple", "SoftTriple-L"),
        ("inshop", "soft_triple", "SoftTriple-S"),
    ],
)
def test_names_in_the_tables(dataset, name, published_as):
    cell = find_of_cell(dataset, name)
    assert cell.title == published_as
    assert {size: values["map_at_r"] for size, values in cell.metrics.items()} == {
        row["embedding_size"]: pytest.approx(row["map_at_r"] / 100)
        for row in published()["retrieval"]
        if (row["dataset"], row["method"]) == (dataset, published_as)
    }


def test_published_steps():
    cells = {key: find_of_cell(*key) for key in CELLS}
    steps = {key: cell.steps for key, cell in cells.items() if cell is not None}
    assert steps["sop", "c2"] == 62_000
    assert steps["sop", "c2_ccp"] == 69_000
    assert steps["sop", "c2_xbm"] == 81_000
    assert steps["inshop", "multi_similarity_ccp"] == 131_000
    assert steps["inshop", "soft_triple"] == 82_000
    assert sorted(value for value in steps.values() if value) == sorted(
        1000 * thousands
        for by_name in published()["thousand_steps_to_converge"].values()
        for thousands in by_name.values()
    )


def test_a_run_with_settings_of_its_own_is_of_the_same_cell():
    settings = settings_of("cub200_2011", "c2")
    changed = dataclasses.replace(
        settings,
        method=("plain", "ccp", "xbm", "ccp+xbm"),
        learning_rate=1e-4,
        patience=5,
        fold=3,
        seed=7,
        max_steps=10,
        proxies_per_class=4,
        loss_params={},  # The defaults are the paper's for CUB.
    )
    methods = ("plain", "ccp", "xbm", "ccp+xbm", "dvml")
    assert [cell_name(changed, method) for method in methods] == [
        "c2",
        "c2_ccp",
        "c2_xbm",
        None,
        None,
    ]
    small = dataclasses.replace(changed, memory_batches=3)
    assert cell_name(small, "xbm") == "c2_xbm_small"
    assert find_published(small, "xbm") is None
    assert cell_name(small, "ccp") == "c2_ccp"
    dvml = settings_of("sop", "dvml_triplet")
    assert cell_name(dvml, "dvml") == "dvml_triplet"
    assert cell_name(dataclasses.replace(dvml, miner_params={}), "dvml") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "cars196"},
        {"dataset": "digits"},
        {"loss": "margin", "loss_params": {}},
        {"loss_params": {"negative_margin": 0.5}},
        {"loss_wrapper": "multi_level_distance"},
        {"miner": "hardest_pairs"},
        {"backbone": "resnet50"},
        {"weights": "none"},
        {"embedding_size": 512},
        {"pooling": "sum"},
        {"validation": "test"},
        {"num_folds": 3},
        {"memory_batches": 24},
        {"label_noise": 0.2},
    ],
)
def test_other_runs_are_of_no_cell(changes):
    settings = settings_of("cub200_2011", "c2_xbm")
    assert find_published(settings, "xbm") is not None
    settings = dataclasses.replace(settings, **changes)
    assert cell_name(settings, "xbm") is None
    assert find_published(settings, "xbm") is None


def test_the_file_of_the_weights_may_be_named():
    settings = settings_of("cub200_2011", "c2")
    by_path = dataclasses.replace(settings, weights="/weights/bn_inception-52deb4733.pth")
    assert find_published(by_path, "plain").title == "C2"
    other = dataclasses.replace(settings, weights="/weights/mine.weights.h5")
    assert find_published(other, "plain") is None
