import io

from jaxrnn.training import progress
from jaxrnn.training.progress import ProgressDisplay, format_duration


def test_plain_lines_when_the_output_is_no_terminal(monkeypatch):
    clock, stream = [100.0], io.StringIO()
    monkeypatch.setattr(progress.sys, "stderr", stream)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with ProgressDisplay(total=40, completed=10) as display:
        clock[0] += 5
        display.update(13, "early")  # not yet: a line every 10 seconds
        clock[0] += 7
        display.update(16, "epoch 1 loss [0.5]")
        display.print("done [bold]")
    # 6 of the 30 units that were left took 12 s, so the other 24 take 48 s.
    assert stream.getvalue() == "epoch 1 loss [0.5] · 40 % · 0:48 left\ndone [bold]\n"


def test_durations():
    assert [format_duration(seconds) for seconds in (0, 59.6, 3599, 3600, 36_061)] == [
        "0:00", "1:00", "59:59", "1:00:00", "10:01:01",
    ]  # fmt: skip
