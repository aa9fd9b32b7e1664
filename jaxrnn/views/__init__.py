"""What people look at: HTML pages that need nothing else, and coloured text for terminals."""

from jaxrnn.views.html import Answers as Answers
from jaxrnn.views.html import Mistake as Mistake
from jaxrnn.views.html import Report as Report
from jaxrnn.views.html import explanations_page as explanations_page
from jaxrnn.views.html import report_page as report_page
from jaxrnn.views.terminal import explanation_text as explanation_text
