"""A hook of mkdocs: what is published in results/ is part of the site, and pages link to it as they do in the repository."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

SHOWN = ("*.md", "*.png", "report.html")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the tables, figures and pages of results/."""
    root = Path(config.docs_dir).parent
    for pattern in SHOWN:
        for path in sorted((root / "results").rglob(pattern)):
            name = path.relative_to(root).as_posix()
            files.append(File(name, str(root), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """In the repository results/ lies beside docs/, in the site beside its pages."""
    return markdown.replace("](../results/", "](results/")
