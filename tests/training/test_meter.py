import time

import jax
import numpy as np
import pytest

from jaxrnn.training import Meter, describe


def test_compilations_are_counted_until_it_is_closed():
    meter = Meter()
    jax.jit(lambda x: x * 3 + 1)(np.float32(1))
    assert meter.summary()["compilations"] == 1
    jax.jit(lambda x: x * 3 + 1)(np.float32(1))
    meter.close()
    jax.jit(lambda x: x * 3 + 2)(np.float32(1))
    assert meter.summary()["compilations"] == 2
    assert meter.summary()["seconds_compiling"] >= 0


def test_each_activity_has_its_own_seconds(monkeypatch):
    clock = iter([0.0, 2.0, 10.0, 10.5, 20.0, 21.0])
    meter = Meter()
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with meter.timing("step"):
        pass
    with meter.timing("saving"):
        pass
    with pytest.raises(ValueError, match="no"), meter.timing("step"):
        raise ValueError("no")
    monkeypatch.undo()
    meter.close()
    summary = meter.summary()
    seconds = {name: summary[f"seconds_{name}"] for name in ("input", "step", "evaluation", "saving")}
    assert seconds == {"input": 0, "step": 3, "evaluation": 0, "saving": 0.5}
    assert "step 3.0 s" in describe(summary)


def test_a_summary_in_words_names_a_device_s_memory_where_it_is_known():
    summary = {f"seconds_{name}": 1.0 for name in ("input", "step", "evaluation", "saving", "compiling")}
    summary |= {"compilations": 3, "peak_host_bytes": 2**31, "peak_device_bytes": None}
    assert describe(summary).endswith("3 compilations in 1.0 s; peak memory 2.00 GiB")
    assert describe(summary | {"peak_device_bytes": 2**30}).endswith("2.00 GiB and 1.00 GiB on a device")
