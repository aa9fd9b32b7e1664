"""Takes HTML out of texts."""

import html
import re

# A tag begins with a letter or a slash, so that "a < b", "<3" and ">:(" stay what they are. Neither kind looks beyond
# where another one begins: a long text of nothing but beginnings takes linear time.
_TAG = re.compile(r"</?[a-z][^<>]*>|<!--(?:(?!<!--|-->).)*-->", re.IGNORECASE | re.DOTALL)


def strip_html(text: str) -> str:
    """The text without tags and comments, and with entities such as `&amp;` as the characters they stand for.

    Tags in a row, with the white space around them, become one space: words that `<br />` keeps apart stay apart.

    >>> strip_html("A gem.<br /><br />Watch <i>it</i> &amp; weep: 3 < 4 <3")
    'A gem. Watch it & weep: 3 < 4 <3'
    """
    parts = [part.strip() for part in _TAG.split(text)]
    return html.unescape(" ".join(part for part in parts if part))
