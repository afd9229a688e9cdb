"""Prepares docstrings for Markdown."""

import griffe


class Doctests(griffe.Extension):
    """Puts examples with `>>>` into blocks of code; Markdown would quote them."""

    def on_object(self, *, obj, **kwargs):
        """Rewrites the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = fence_doctests(obj.docstring.value)


def fence_doctests(text: str) -> str:
    """Returns a docstring with its doctests fenced, each up to the next empty line."""
    lines, fenced = [], False
    for line in text.splitlines():
        if not fenced and line.lstrip().startswith(">>> "):
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(f"{indent}```pycon")
            fenced = True
        elif fenced and not line.strip():
            lines.append(f"{indent}```")
            fenced = False
        lines.append(line)
    if fenced:
        lines.append(f"{indent}```")
    return "\n".join(lines)
