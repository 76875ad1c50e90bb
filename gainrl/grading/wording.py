"""What accompanies a number or replaces it: units, bases, times of day, words. Every function takes cleaned text."""

import re
from collections import Counter

_UNIT_NAMES = {
    "mm": "millimeter millimeters millimetre millimetres",
    "cm": "centimeter centimeters centimetre centimetres cms",
    "m": "meter meters metre metres",
    "km": "kilometer kilometers kilometre kilometres",
    "inch": "inches in",
    "foot": "feet ft",
    "yard": "yards yd",
    "mile": "miles mi",
    "acre": "acres",
    "liter": "liters litre litres",
    "gallon": "gallons gal",
    "g": "gram grams",
    "kg": "kilogram kilograms",
    "ounce": "ounces oz",
    "pound": "pounds lb lbs",
    "second": "seconds sec s",
    "minute": "minutes min mins",
    "hour": "hours hr hrs h",
    "day": "days",
    "week": "weeks",
    "month": "months",
    "year": "years yr yrs",
    "cent": "cents",
    "dollar": "dollars usd",
    "euro": "euros",
    "degree": "degrees deg",
    "radian": "radians rad",
    "mph": "",
    "kmh": "kph",
    "hz": "hertz",
    "j": "joule joules",
    "kj": "",
    "cal": "calorie calories",
    "kcal": "",
    "ev": "",
    "mol": "mole moles",
    "percent": "",
    "n": "newton newtons",
    "w": "watt watts",
    "v": "volt volts",
    "pascal": "pascals",
    "k": "kelvin kelvins",
    "celsius": "",
    "fahrenheit": "",
}
UNITS = {name: unit for unit, names in _UNIT_NAMES.items() for name in (unit, *names.split())}
_UNIT_TAIL = re.compile(
    r"(?P<value>.*?[\d)}\]a-z]) ?"
    r"(?P<unit>\^\{\\circ\} ?(?:\\(?:text|mathrm)\{ ?[CF] ?\}|[CF])?|(?:\\(?:text|mathrm)\{[^{}]*\}(?:\^\{?-?\d\}?)? ?/? ?)+)"
)
_BARE_UNIT = r"(?:[a-zA-Z]{2,}(?: [a-zA-Z]{2,})*|(?:[ckm]?m|mi|ft) ?/ ?(?:s|sec|min|h|hr))(?:\^\{?[23]\}?)?"
_BARE_TAIL = re.compile(rf"(?P<value>.*?[\d)}}]) ?(?P<unit>{_BARE_UNIT})")
_UNIT_WORD = re.compile(r"[a-z]+|\^\{?-?\d|/")
_DEGREES = re.compile(r"\^\{\\circ\} ?\{? ?([CF])?.*")
_SCALES = {"C": " celsius ", "F": " fahrenheit "}
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_COMPOUND = {"mph": (("mile", 1), ("hour", -1)), "kmh": (("km", 1), ("hour", -1))}


def split_unit(text: str) -> tuple[str, str | None]:
    """A quantity's value, and its unit in a standard spelling (None if it has no known unit)."""
    if text.startswith(("\\$", "-\\$")):
        return text.replace("\\$", "", 1).strip(), "dollar^1"
    tail = _UNIT_TAIL.fullmatch(text)
    if tail is not None:
        return tail["value"].strip(), known_unit(tail["unit"])
    bare = _BARE_TAIL.fullmatch(text)
    unit = known_unit(bare["unit"]) if bare is not None else None
    return (bare["value"].strip(), unit) if bare is not None and unit is not None else (text, None)


def known_unit(text: str) -> str | None:
    """Standard spelling of a unit: ``\\text{square centimeters}`` and ``\\mathrm{cm}^{2}`` are both ``cm^2``."""
    text = re.sub(r"\\(?:text|mathrm)|[$~]", " ", text)
    text = _DEGREES.sub(lambda match: _SCALES.get(match[1], " degree "), text).lower()
    powers: Counter[str] = Counter()
    last: tuple[str, ...] = ()
    sign = power = 1
    for word in _UNIT_WORD.findall(text):
        if word in _POWERS:
            power = _POWERS[word]
        elif word in ("/", "per"):
            sign = -1
        elif word.startswith("^"):
            powers.update({name: sign * (int(word.strip("^{")) - 1) for name in last})
        elif word in UNITS:
            parts = _COMPOUND.get(UNITS[word], ((UNITS[word], 1),))
            powers.update({name: sign * power * exponent for name, exponent in parts})
            last, power = tuple(name for name, _ in parts), 1
        else:
            return None
    return " ".join(f"{name}^{powers[name]}" for name in sorted(powers)) or None


_BASED = re.compile(r"(?:\\text\{)?(?P<digits>-?(?=[A-Z]*\d)[0-9A-Z]+)\}?_\{?(?P<base>\d{1,2})\}?")


def in_base(text: str) -> tuple[str, str] | None:
    """Digits and base of ``1A_{12}``; None for anything else."""
    match = _BASED.fullmatch(text)
    return None if match is None else (match["digits"], match["base"])


_CLOCK = re.compile(
    r"(?P<time>\d{1,2}(?: ?: ?\d{2}){1,2}) ?(?:\\text\{)? ?(?P<half>[aApP])?\.? ?(?:(?<=[aApP. ])[mM])?\.? ?\}?"
)


def clock(text: str) -> tuple[list[int], str] | None:
    """Hours, minutes (seconds) and "a" or "p" or "" of a time of day; None for anything else."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    return [int(part) for part in match["time"].split(":")], (match["half"] or "").lower()


_NUMERALS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def words(text: str) -> str | None:
    """Plain words in lower case, without article or brackets; numerals as digits. None for anything but words."""
    plain = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text).strip(" .()")
    plain = re.sub(r"^(?:an?|the) ", "", " ".join(plain.casefold().split()))
    if re.fullmatch(r"[a-z][a-z' -]*", plain) is None:
        return None
    return str(_NUMERALS.index(plain)) if plain in _NUMERALS else plain


def is_wording(text: str) -> bool:
    """Whether the letters are a name, not a product of variables: set as text, or three or more capitals."""
    return text.startswith(("\\text{", "(\\text{")) or re.fullmatch(r"[A-Z]{3,}", text) is not None
