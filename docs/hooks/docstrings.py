"""Prepares docstrings for Markdown, and the order in which names are shown."""

import griffe


class Doctests(griffe.Extension):
    """Puts examples with `>>>` into blocks of code; Markdown would quote them."""

    def on_object(self, *, obj, **kwargs):
        """Rewrites the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = fence_doctests(obj.docstring.value)


class ConstantsLast(griffe.Extension):
    """Puts constants behind the classes and functions of a package; `__all__` begins with them."""

    def on_package(self, *, pkg, **kwargs):
        """Sorts what the package and its parts export."""
        modules = [pkg]
        while modules:
            module = modules.pop()
            modules += (each for each in module.modules.values() if not each.is_alias)
            if module.exports:
                module.exports = sorted(module.exports, key=lambda name: str(name).isupper())


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
