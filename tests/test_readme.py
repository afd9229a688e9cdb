"""What the README shows is so."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    # Two rounds of validation are enough to see that every line works.
    shorter = code.replace("epochs=40", "epochs=6")
    assert shorter != code
    names = {}
    exec(shorter, names)
    assert names["rounds"].round == 0
    assert "map_at_r" in capsys.readouterr().out


def test_the_tree_names_what_there_is():
    tree = re.search(r"## The code\n\n```\n(.*?)```", README, flags=re.DOTALL).group(1)
    for line in tree.splitlines():
        for name in re.findall(r"[\w/]+\.(?:py|flags)", line.split("  ")[0] or line):
            assert list(ROOT.rglob(name)), name
    named = set(re.findall(r"\w+\.py", tree))
    for path in (ROOT / "ccp_dml").rglob("*.py"):
        if path.name != "__init__.py":
            assert path.name in named, path
