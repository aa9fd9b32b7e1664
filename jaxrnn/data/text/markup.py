"""Removes HTML markup from texts."""

import html
import re

# A tag begins with a letter or a slash, so "a < b", "<3" and ">:(" are left as they are. No match extends past the
# beginning of another tag or comment: even a long text that consists of unfinished tags takes linear time.
_TAG = re.compile(r"</?[a-z][^<>]*>|<!--(?:(?!<!--|-->).)*-->", re.IGNORECASE | re.DOTALL)


def strip_html(text: str) -> str:
    """Removes tags and comments, and replaces entities such as `&amp;` by the characters they stand for.

    Adjacent tags, with the white space around them, become one space: words separated by `<br />` stay separate.

    Example:
      >>> strip_html("A gem.<br /><br />Watch <i>it</i> &amp; weep: 3 < 4 <3")
      'A gem. Watch it & weep: 3 < 4 <3'
    """
    parts = [part.strip() for part in _TAG.split(text)]
    return html.unescape(" ".join(part for part in parts if part))
