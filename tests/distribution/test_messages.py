"""Messages in one process; for several workers, see `tests/experiment/test_devices.py`."""

import pytest

from ccp_dml.distribution import broadcast_from_chief, messages


def test_a_worker_alone_is_the_chief():
    found = object()
    assert broadcast_from_chief(lambda: found) is found


@pytest.mark.parametrize(
    "found", [None, {"map_at_r": 0.1, "nan": float("inf"), "é": [1, None, ""]}, "", "…" * 1000]
)
def test_others_get_what_the_chief_found(found, monkeypatch):
    """The others read the arrays that the chief adds to a sum."""
    sent = []
    monkeypatch.setattr(messages, "num_workers", lambda strategy: 2)
    monkeypatch.setattr(messages, "is_chief", lambda strategy: True)
    monkeypatch.setattr(
        messages, "sum_over_workers", lambda array, strategy: sent.append(array) or array
    )
    assert broadcast_from_chief(lambda: found) is found

    def add(array, strategy):
        assert not array.any()
        theirs = sent.pop(0)
        assert (array.shape, array.dtype) == (theirs.shape, theirs.dtype)
        return array + theirs

    monkeypatch.setattr(messages, "is_chief", lambda strategy: False)
    monkeypatch.setattr(messages, "sum_over_workers", add)
    assert broadcast_from_chief(lambda: pytest.fail("only the chief looks")) == found
    assert not sent
