import signal

import pytest

from jaxrnn.training.interrupt import Interrupted, InterruptGuard


@pytest.fixture(autouse=True)
def _usual_handler():
    """What a program starts with; a test runner may have set another."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_signal_is_remembered_and_the_second_acts():
    before = signal.getsignal(signal.SIGINT)
    with InterruptGuard() as guard:
        assert guard.signal_number is None
        signal.raise_signal(signal.SIGINT)
        assert guard.signal_number == signal.SIGINT
        # The kernel's own action: it ends the process also while Python waits for something.
        assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is before


def test_sigterm_too():
    with InterruptGuard() as guard:
        signal.raise_signal(signal.SIGTERM)
    assert guard.signal_number == signal.SIGTERM


def test_the_exit_status_names_the_signal():
    assert (str(Interrupted(signal.SIGTERM)), Interrupted(signal.SIGTERM).exit_status) == ("SIGTERM", 143)
