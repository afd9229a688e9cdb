import pytest

from ccp_dml import miners


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: miners.get("easiest"), "unknown miner 'easiest'; .*distance_weighted"),
        (lambda: miners.get("hard", margin=1), "hard has no parameter 'margin'"),
        (lambda: miners.get("semi_hard", margin=0), "margin must be above 0; got 0"),
        (lambda: miners.get("distance_weighted", cutoff=3.0), "got cutoff 3.0"),
    ],
)
def test_errors_say_what_is_allowed(make, message):
    with pytest.raises(ValueError, match=message):
        make()
