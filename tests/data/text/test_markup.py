import pytest

from jaxrnn.data.text import strip_html


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain  text\n", "plain  text"),
        ("one<br /><br />two", "one two"),
        ("one.\n<br>\n<BR/> two", "one. two"),
        ("<p>An <b class='x'>odd</b> <!-- no\n > tag --> one</p>", "An odd one"),
        ("<br />", ""),
        ("", ""),
        ("a < b > c, 3<4, I <3 it, <- -> >:(", "a < b > c, 3<4, I <3 it, <- -> >:("),
        ("an open <b tag", "an open <b tag"),
        ("<<b>>", "< >"),
        ("Tom &amp; Jerry&#39;s &lt;b&gt; &eacute; &nosuch;", "Tom & Jerry's <b> é &nosuch;"),
    ],
)
def test_what_is_taken_out(text, expected):
    assert strip_html(text) == expected


def test_long_texts_take_linear_time():
    for part in ("<", "<b", " ", "<!--", "<b> ", "&"):  # quadratic would take minutes
        assert strip_html(100_000 * part + "end").endswith("end")
