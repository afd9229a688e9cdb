import re

from ccp_dml.report.recall import recall_section


def test_recall_of_methods_and_baselines():
    metrics = {
        "raw_pixels": {"recall_at_10": 0.9, "recall_at_2": 0.5, "recall_at_1": 0.4},
        "ccp": {"recall_at_1": 0.7, "recall_at_2": 0.8, "recall_at_10": 0.9, "map_at_r": 0.3},
        "other": {"map_at_r": 0.3},
    }
    (picture,) = recall_section(metrics).blocks
    texts = re.findall(r">([^<>]+)</text>", picture.svg)
    assert {"raw_pixels", "ccp", "1", "2", "10"} <= set(texts)
    assert "other" not in texts
    assert picture.description == "Recall at k of raw_pixels, ccp."


def test_without_recall_there_is_no_section():
    assert not recall_section({"ccp": {"map_at_r": 0.3}}).blocks
