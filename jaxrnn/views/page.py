"""Pages of HTML that stand alone: no script, and nothing is fetched; whatever comes from data is escaped."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from jaxrnn.views.charts import Curve, draw_learning


class Section(NamedTuple):
    """A part of a report.

    Attributes:
      title: Its heading.
      html: What stands below it, as `render` makes it.
    """

    title: str
    html: Markup


class Report(NamedTuple):
    """What a report shows of a run.

    Attributes:
      name: Of the run.
      model: The model in a few words.
      notes: What the reader should know before the numbers.
      figures: The numbers at the top, and what each of them is.
      facts: What was run, on what, for how long: terms and values.
      records: The lines of metrics.jsonl.
      curves: What is drawn of them.
      best_step: The step whose weights are kept; None while there is none.
      sections: The application's own.
      config: The text of config.toml.
    """

    name: str
    model: str
    notes: Sequence[str]
    figures: Sequence[tuple[str, str]]
    facts: Sequence[tuple[str, str]]
    records: Sequence[Mapping[str, Any]]
    curves: Sequence[Curve]
    best_step: int | None
    sections: Sequence[Section]
    config: str


def render(template: str, *, package: str = "jaxrnn.views", **values: Any) -> Markup:
    """Fills a template.

    Args:
      template: The name of its file in the folder `templates` of the package.
      package: Where it is. The templates of `jaxrnn.views` can be extended and imported from everywhere.
      **values: What it shows; everything that is not `Markup` is escaped.
    """
    loaders = [jinja2.PackageLoader(name) for name in dict.fromkeys((package, "jaxrnn.views"))]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.1f}"
    return Markup(environment.get_template(template).render(**values))


def report_page(report: Report) -> str:
    """The report of a run as one HTML file."""
    drawn = [curve for curve in report.curves if any(curve.name in record for record in report.records)]
    learning = [(each.name, draw_learning(report.records, each, best_step=report.best_step)) for each in drawn]
    return render("report.html", report=report, learning=learning)
