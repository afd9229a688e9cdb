"""The tree of the code is as the page on the architecture shows it."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_tree_names_what_there_is():
    tree = re.search(r"## The tree\n\n```\n(.*?)```", PAGE, flags=re.DOTALL).group(1)
    for line in tree.splitlines():
        for name in re.findall(r"[\w/]+\.(?:py|flags)", line.split("  ")[0] or line):
            assert list(ROOT.rglob(name)), name
    named = set(re.findall(r"\w+\.py", tree))
    for path in (ROOT / "ccp_dml").rglob("*.py"):
        if path.name != "__init__.py":
            assert path.name in named, path
