"""A Markdown report with its figures as one HTML file that opens offline."""

from collections.abc import Mapping
from html import escape

from markdown_it import MarkdownIt
from markdown_it.token import Token

from analysis.report.page import FOLDER, Picture


def document(title: str, markdown: str, pictures: Mapping[str, bytes]) -> str:
    """The HTML. An image whose file is called <name>.png is shown as ``pictures[name]``, an SVG; nothing is fetched."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for image in (child for token in tokens for child in token.children or () if child.type == "image"):
        _put_inside(image, pictures)
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}\nmain table {{ display: block; overflow-x: auto; }}\n"
        "main img { max-width: 100%; }\n</style>\n"
        f"<main>\n{parser.renderer.render(tokens, parser.options, {})}</main>\n</html>\n"
    )


def _put_inside(image: Token, pictures: Mapping[str, bytes]) -> None:
    name = str(image.attrs["src"]).removesuffix(".png")
    image.attrs["src"] = Picture(name, image.content, pictures[name]).source
