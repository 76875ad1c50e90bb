"""Numbers in prose are excerpts of what is published: ``python -m analysis.excerpts`` renews those of README, NOTES and docs.

An excerpt stands between two comments, of which the first says what it is from, as a path under results/ and a heading in
that file (all of the file, where there is none)::

    <!-- from quickstart/table.md: Does it hold? -->
    ...
    <!-- end -->

Whatever stands between them is replaced by what stands under the heading, up to the next heading.
"""

import re
from pathlib import Path

from gainrl.errors import InputError
from gainrl.files import read_text, write_text

DOCUMENTS = ("README.md", "results/NOTES.md", *sorted(path.as_posix() for path in Path("docs").glob("*.md")))
EXCERPT = re.compile(r"(<!-- from (\S+?)(?:: (.+?))? -->\n)(.*?)(^<!-- end -->)", re.DOTALL | re.MULTILINE)


def renewed(text: str, results: Path) -> str:
    """The document with all of its excerpts as they are published under ``results``.

    Raises InputError: a file or a heading is not there.
    """

    def excerpt(found: re.Match[str]) -> str:
        begin, path, heading, _, end = found.groups()
        return f"{begin}\n{section(read_text(results / path), heading, path)}\n\n{end}"

    return EXCERPT.sub(excerpt, text)


def section(text: str, heading: str | None, path: str) -> str:
    """What stands under a heading of a Markdown text, without it; all of the text but its title for None.

    Raises InputError: there is no such heading.
    """
    if heading is None:
        return re.sub(r"\A# .*\n", "", text).strip()
    parts = re.split(r"^#+ (.+)\n", text, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    if heading not in sections:
        raise InputError(f"{path} has no heading {heading!r}; valid: {', '.join(sections)}")
    return sections[heading].strip()


def claims(text: str) -> list[str]:
    """Lines outside of excerpts and code that say what runs gave: a speed-up, an interval, a p-value or a comparison.

    A claim is known by its form; what the paper claims, and the level of a test, are none of ours.
    """
    prose = re.sub(r"^```.*?^```$|`[^`\n]+`", "", EXCERPT.sub("", text), flags=re.DOTALL | re.MULTILINE)
    return [line for line in prose.splitlines() if CLAIM.search(NOT_OURS.sub("", line))]


CLAIM = re.compile(
    r"\d\.\d+x\b|\d\S* \[[-+]?\d|\bp [=<] ?\.?\d|"
    r"\bindistinguishable\b|\bsignificant(ly)?\b|\b(faster|slower|sooner|lower|higher) than\b"
)
NOT_OURS = re.compile(r"\b2\.5x|p < 0\.05")

if __name__ == "__main__":
    for name in DOCUMENTS:
        document = Path(name)
        if (new := renewed(before := read_text(document), Path("results"))) != before:
            write_text(document, new)
            print(f"{document}: renewed")
