"""Makes pages of what is documented beside docs/, and follows links from one to the other.

Pages link to each other by the paths they have in the repository, so that links lead somewhere
there too. On the site what lies in `docs` is at the top, and the rest has the path that it has in
the repository. Files that a page links to are copied.
"""

import pathlib
import posixpath
import re

from mkdocs.structure.files import File

PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "experiments/**/README.md")
# [text](target "title"), where the target is a path.
LINK = re.compile(r"\]\((?![a-z+]+:|#)([^)\s]+?)(#[^)\s]*)?(\s+\"[^\"]*\")?\)")


def on_files(files, config):
    """Adds the pages outside of docs/, and the files that pages link to."""
    root = pathlib.Path(config.config_file_path).parent
    for pattern in PAGES:
        for path in sorted(root.glob(pattern)):
            _add(files, config, root, path.relative_to(root).as_posix())
    for page in files.documentation_pages():
        for match in LINK.finditer(page.content_string):
            target = _find(root, page, match[1])
            if target and not target.startswith("docs/") and (root / target).is_file():
                _add(files, config, root, target)
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns links by paths of the repository into links by paths of the site."""
    root = pathlib.Path(config.config_file_path).parent

    def rewrite(match):
        target = _find(root, page.file, match[1])
        if target is None:
            return match[0]  # MkDocs warns that it is not there
        source = posixpath.dirname(page.file.src_uri)
        link = posixpath.relpath(target.removeprefix("docs/"), source or ".")
        return f"]({link}{match[2] or ''}{match[3] or ''})"

    return LINK.sub(rewrite, markdown)


def _find(root, page, link):
    """The path in the repository that a page links to, or `None` if nothing is there."""
    folder = posixpath.dirname(_repository_path(root, page))
    path = posixpath.normpath(posixpath.join(folder, link))
    if path == "README.md":
        return "docs/index.md"
    if (root / path).is_dir():
        path += "/README.md"
    return path if (root / path).is_file() else None


def _repository_path(root, page):
    return pathlib.Path(page.abs_src_path).relative_to(root).as_posix()


def _add(files, config, root, path):
    if files.get_file_from_path(path) is None:
        files.append(File(path, str(root), config.site_dir, config.use_directory_urls))
