"""What people look at: pages of HTML that need nothing else, and charts. They know no application."""

from jaxrnn.views.charts import Curve as Curve
from jaxrnn.views.charts import draw_chart as draw_chart
from jaxrnn.views.charts import draw_learning as draw_learning
from jaxrnn.views.page import Report as Report
from jaxrnn.views.page import Section as Section
from jaxrnn.views.page import render as render
from jaxrnn.views.page import report_page as report_page
