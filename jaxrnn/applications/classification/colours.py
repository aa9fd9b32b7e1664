"""Explanations as coloured text for a terminal."""

from rich.color import Color
from rich.style import Style
from rich.text import Text

from jaxrnn.applications.classification.explain import Explanation, Word

FOR, AGAINST = (66, 133, 244), (245, 124, 0)  # blue and orange, which nearly everyone can tell apart
NUM_STRONGEST = 6


def coloured_words(explanation: Explanation) -> Text:
    """The text with words that speak for the answer in blue and against it in orange; below, the strongest words."""
    coloured = Text()
    for word in explanation.words:
        style = None if word.attribution is None else _style(word.attribution / explanation.largest)
        coloured.append(_printable(word.text), "dim" if word.attribution is None else style)
        coloured.append(_printable(word.space))
    for name, sign in (("for", 1), ("against", -1)):
        strongest = explanation.strongest(sign=sign, count=NUM_STRONGEST)
        if strongest:
            coloured.append(f"\n{name + ':':9}", "bold")
            coloured.append(", ".join(map(_with_number, strongest)))
    return coloured


def _style(strength: float) -> Style | None:
    """Black on a shade between white and the full colour; None for what is too weak to see."""
    if abs(strength) < 0.05:
        return None
    full = FOR if strength > 0 else AGAINST
    shade = (round(255 + (part - 255) * abs(strength)) for part in full)
    return Style(color="black", bgcolor=Color.from_rgb(*shade))


def _with_number(word: Word) -> str:
    return f"{_printable(word.text)} {word.attribution:+.2f}"


def _printable(text: str) -> str:
    """The text without control characters, which a terminal would obey."""
    return "".join(each if each.isprintable() or each == "\n" else "�" for each in text)
