"""The report and the explanations of a run, as users ask for them, on texts that try to break the page."""

import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from small_data import SMALL, write_data

from jaxrnn import applications, predict, report, train
from jaxrnn.applications.classification.explain import explain
from jaxrnn.errors import InputError

EVIL = (
    'dull </p><script>alert("x")</script><img src=http://evil.example/a.png onerror=alert(1)> {{ 7 * 7 }} '
    "\x1b[31m & cold"
)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    data = write_data(tmp_path_factory.mktemp("data"))
    with (data / "validation.jsonl").open("a") as file:
        file.write("\n" + json.dumps({"text": EVIL, "label": "good"}))
    path = tmp_path_factory.mktemp("runs") / "run <b>"
    cache = tmp_path_factory.mktemp("cache")
    assert train.main([f"data.source={data}", f"data.cache_dir={cache}", f"run_dir={path}", *SMALL]) == 0
    return path


@pytest.fixture
def copy(run_dir, tmp_path):
    return shutil.copytree(run_dir, tmp_path / "run")


class Elements(HTMLParser):
    """Names and attributes of all elements."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def assert_harmless(page):
    for tag, attributes in Elements(page).found:
        assert tag not in ("script", "img", "link", "iframe", "object", "embed")
        assert not {"src", "onerror", "onload"} & attributes.keys()
        assert "http" not in attributes.get("href", "")
    assert "url(http" not in page


def test_the_report_holds_what_was_measured_and_no_more(run_dir, capsys):
    assert report.main([str(run_dir)]) == 0
    page = (run_dir / "report.html").read_text()
    assert_harmless(page)
    assert "<script>alert" not in page
    assert "run &lt;b&gt;" in page
    result = json.loads((run_dir / "result.json").read_text())
    assert f"{result['validation_loss']:.4f}" in page
    assert f"accuracy {100 * result['test_accuracy']:.2f} %, at the end of the run" in page
    assert "validation, 41 examples" in page
    assert "not complete" not in page
    assert "these are not the data" not in page
    assert page.count("<svg") == 5
    # The one mistake is the text whose label is wrong, and all of it is shown.
    shown = re.search(r'<p class="words">(.*?)</p>', page, flags=re.S)[1]
    text = re.sub(r"</?span[^>]*>", "", shown)
    assert "&lt;script&gt;alert(" in text
    assert "{{ 7 * 7 }}" in text
    assert report.main([str(run_dir), "--split", "test", "--out", str(run_dir.parent / "test.html")]) == 0
    assert f"{result['test_loss']:.4f}" in (run_dir.parent / "test.html").read_text()


def test_a_run_that_is_not_complete(copy):
    (copy / "result.json").unlink()
    with pytest.raises(InputError, match="is not complete, and the test split is not looked at before"):
        report.main([str(copy), "--split", "test"])
    assert report.main([str(copy)]) == 0
    assert "not complete: it has reached step 24" in (copy / "report.html").read_text()
    victim = copy.parent / "victim"
    victim.write_text("mine")
    (copy / ".report.html.tmp").symlink_to(victim)  # a folder from anyone
    assert report.main([str(copy)]) == 0
    assert victim.read_text() == "mine"
    (copy / "metrics.jsonl").unlink()
    shutil.rmtree(copy / "checkpoints" / "best")
    assert report.main([str(copy)]) == 0
    assert "There is no checkpoint yet" in (copy / "report.html").read_text()


def test_data_elsewhere_or_others(copy, tmp_path):
    other = write_data(tmp_path)
    (tmp_path / "validation.jsonl").write_text((tmp_path / "train.jsonl").read_text())
    assert report.main([str(copy), "--data", str(other)]) == 0
    assert "these are not the data" in (copy / "report.html").read_text()
    with pytest.raises(InputError, match="no such file or folder"):
        report.main([str(copy), "--data", "/nowhere/at/all"])
    config = (copy / "config.toml").read_text()
    (copy / "config.toml").write_text(re.sub(r"(?m)^source = .*$", 'source = "/nowhere/at/all"', config))
    with pytest.raises(InputError, match="if the data are elsewhere now, give --data"):
        report.main([str(copy)])


def test_attributions_sum_to_the_difference_of_log_odds(run_dir):
    trained = applications.load(run_dir)
    texts = ["a lovely bright clever film", EVIL, "", "the dull dull zzz"]
    probabilities = [answer.probabilities["good"] for answer in trained.predict(texts)]
    for text, good, explanation in zip(texts, probabilities, explain(trained, texts), strict=True):
        assert "".join(word.text + word.space for word in explanation.words) == text
        total = sum(word.attribution for word in explanation.words)
        difference = explanation.log_odds - explanation.baseline_log_odds
        assert total == pytest.approx(difference, abs=0.0101 * abs(difference))
        assert explanation.label == ("good" if good > 0.5 else "bad")
        assert explanation.probability == pytest.approx(max(good, 1 - good), rel=1e-5)
        p = explanation.probability
        assert np.log(p / (1 - p)) == pytest.approx(explanation.log_odds, abs=1e-3)
    assert {word.text for word in explanation.strongest(sign=1, count=2)} == {"dull"}
    assert [word.is_known for word in explanation.words] == [True, True, True, False]


def test_predict_explains(run_dir, tmp_path, capsys):
    assert predict.main([str(run_dir), "--explain", "a dull film", EVIL]) == 0
    output = capsys.readouterr().out
    assert re.search(r"bad +[\d.]+\na dull film\nfor: +dull \+", output)
    assert "\x1b[31m" not in output
    assert predict.main([str(run_dir), "--html", str(tmp_path / "page.html"), EVIL]) == 0
    page = (tmp_path / "page.html").read_text()
    assert_harmless(page)
    assert "run &lt;b&gt;: explained" in page
    capsys.readouterr()
    assert predict.main([str(run_dir), "--explain", "--json", "a dull film"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [word for word, _ in answer["words"]] == ["a", "dull", "film"]
    assert max(answer["words"], key=lambda pair: pair[1])[0] == "dull"


def test_predict_answers_in_a_line(run_dir, capsys):
    assert predict.main([str(run_dir), "a lovely\tbright \n film " + 30 * "clever "]) == 0
    label, probability, text = capsys.readouterr().out.removesuffix("\n").split("\t")
    assert label == "good"
    assert 0.5 < float(probability) <= 1
    assert text.startswith("a lovely bright film clever")
    assert len(text) == 80
