"""Pages that anyone may open: whatever comes from data is escaped, and nothing is fetched."""

from html.parser import HTMLParser

import jinja2
import pytest
from markupsafe import Markup

from jaxrnn.views import Curve, Report, Section, draw_learning, render, report_page

EVIL = '</p><script>alert("x")</script><img src=http://evil.example/a.png onerror=alert(1)> {{ 7 * 7 }} & <b>'
RECORDS = [
    {"step": step, "split": split, "loss": 3.0 / step, "f1": step / 100}
    for step in (10, 20, 30)
    for split in ("train", "validation")
]


class Elements(HTMLParser):
    """Names and attributes of all elements."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def assert_harmless(page):
    elements = Elements()
    elements.feed(page)
    for tag, attributes in elements.found:
        assert tag not in ("script", "img", "iframe", "link", "object", "embed")
        assert not {"src", "onerror", "onload"} & attributes.keys()
        assert "http" not in attributes.get("href", "")
    assert "url(http" not in page


def make(**changes):
    values = {
        "name": "run", "model": "LSTM: 1 layer", "notes": [], "figures": [("91.25 %", "validation accuracy")],
        "facts": [("Task", "tagging")], "records": RECORDS, "curves": [Curve("loss", "nats"), Curve("f1", "%")],
        "best_step": 20, "sections": [], "config": "seed = 1\n",
    }  # fmt: skip
    return report_page(Report(**values | changes))


def test_everything_is_shown_and_escaped():
    page = make(
        name=EVIL, model=EVIL, notes=[EVIL], figures=[(EVIL, EVIL)], facts=[(EVIL, EVIL)], config=EVIL,
        sections=[Section(EVIL, Markup("<p>safe</p>"))],
    )  # fmt: skip
    assert_harmless(page)
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(") >= 8
    assert "{{ 7 * 7 }}" in page
    assert "<p>safe</p>" in page


def test_a_report_has_a_chart_for_each_metric_that_was_recorded():
    page = make(curves=[Curve("loss", "nats"), Curve("f1", "%"), Curve("perplexity", log_scale=True)])
    assert page.count("<svg") == 2
    assert "91.25 %" in page
    assert "seed = 1" in page
    assert make(records=[], best_step=None).count("<svg") == 0


def test_sections_of_an_application_come_in_their_order():
    page = make(sections=[Section("Confusions", Markup("<p>one</p>")), Section("Words", Markup("<p>two</p>"))])
    assert 0 < page.index("Confusions") < page.index("<p>one</p>") < page.index("Words") < page.index("<p>two</p>")


def test_a_chart_takes_its_colours_from_the_page():
    chart = draw_learning(RECORDS, Curve("f1", "%"), best_step=20)
    assert chart.startswith("<svg viewBox=")
    assert 'aria-label="F1 against steps' in chart
    assert "var(--first)" in chart
    assert "var(--second)" in chart
    assert "#0102" not in chart
    assert "font-family" not in chart
    assert "kept" in chart
    assert "kept" not in draw_learning(RECORDS, Curve("loss"), best_step=None)
    assert draw_learning(RECORDS, Curve("loss"), best_step=20) == draw_learning(RECORDS, Curve("loss"), best_step=20)


def test_a_template_that_names_something_missing_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        render("report.html", learning=[])
