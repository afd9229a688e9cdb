"""What the guide to many classes says is true."""

import pathlib
import re

from ccp_dml.losses import LOSSES, WRAPPERS

GUIDE = (pathlib.Path(__file__).parents[2] / "docs" / "guides" / "scaling.md").read_text(
    encoding="utf-8"
)


def test_its_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    names = {}
    exec(code.replace("100_000", "10_000"), names)
    assert names["model"].has_sampled_classes


def test_it_says_of_every_loss_whether_it_is_biased():
    table = GUIDE.partition("| loss | with sampled classes |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) >= {*LOSSES, *WRAPPERS}
