"""Answers that hold several values: lists, sets, ±."""

import re
from collections.abc import Iterator

from gainrl.grading.notation import clean

_LIST_TOKEN = re.compile(
    r"(?P<open>\\begin(?![a-zA-Z])|\\lbrace(?![a-zA-Z])|\\\{|[(\[{])"
    r"|(?P<close>\\end(?![a-zA-Z])|\\rbrace(?![a-zA-Z])|\\\}|[)\]}])"
    r"|(?P<thousands>(?<=\d),(?=\d{3}(?!\d)))"
    r"|(?P<separator>[,;]|(?<![a-zA-Z])(?:and|or)(?![a-zA-Z]))"
    r"|\\(?:[a-zA-Z]+|.)",
    re.DOTALL,
)
_LISTING_TEXT = re.compile(r"\\text\{((?:\s*(?:and|or)\b|[^{}]*,)[^{}]*)\}")
_SET_OF = re.compile(r"^[a-zA-Z] ?(?:\\in|=) ?(?=\\\{)")


def items(text: str, *, thousands: bool) -> list[str]:
    """The answers that a text lists: split at commas, semicolons, "and", "or" outside brackets, ± written out as two.

    Args:
        text: cleaned; the braces of a set around all of it are removed.
        thousands: read the comma of ``1,000`` as part of the number.
    """
    text = _SET_OF.sub("", _LISTING_TEXT.sub(r" \1 ", text).strip())
    text = unwrapped(text, "\\{", "\\}") or text
    parts, depth, begin = [], 0, 0
    for token in _LIST_TOKEN.finditer(text):
        depth += (token["open"] is not None) - (token["close"] is not None)
        if depth == 0 and (token["separator"] or (token["thousands"] and not thousands)):
            parts.append(text[begin : token.start()])
            begin = token.end()
    parts.append(text[begin:])
    return [sign for part in parts if part.strip() for sign in _both_signs(clean(part))]


def _both_signs(text: str) -> Iterator[str]:
    if re.search(r"\\pm(?![a-zA-Z])", text) is None:
        yield text
        return
    for plus, minus in (("+", "-"), ("-", "+")):
        signed = re.sub(r"\\pm(?![a-zA-Z])", plus, re.sub(r"\\mp(?![a-zA-Z])", minus, text))
        yield signed.removeprefix("+").strip()


def unwrapped(text: str, opening: str, closing: str) -> str | None:
    """The text between an opening bracket and its closing one if the two enclose the whole text, else None."""
    if not (text.startswith(opening) and text.endswith(closing)):
        return None
    depth = 0
    for token in _LIST_TOKEN.finditer(text):
        depth += (token["open"] is not None) - (token["close"] is not None)
        if depth == 0 and token["close"] is not None:
            return text[len(opening) : token.start()].strip() if token.end() == len(text) else None
    return None
