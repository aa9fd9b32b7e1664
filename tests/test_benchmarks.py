"""The benchmarks: nothing is timed that is wrong, and the report is made from the JSON alone."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import agreement, growth, layer, report, run, targets, timing
from benchmarks.application import OurProgram, make_epoch, measure
from benchmarks.cases import Case
from benchmarks.cudnn_tables import cudnn_section, step_floor
from benchmarks.peers import PEERS, ours
from benchmarks.peers.runner import Peer
from benchmarks.presets import PRESETS, TINY, Job, Preset
from benchmarks.trial import why_it_fails

HAS_TORCH = importlib.util.find_spec("torch") is not None


@pytest.mark.parametrize(
    ("cell", "layers", "directions"), [("lstm", 1, 2), pytest.param("gru", 2, 1, marks=pytest.mark.slow)]
)
def test_the_peers_agree(cell, layers, directions):
    case = TINY._replace(cell=cell, layers=layers, directions=directions, lengths="uniform")
    row = layer.measure(case, passes=["train"], seconds=0)
    assert {*row["differences"], *row["absent"], *(["PyTorch padded"] if directions == 2 else [])} == set(PEERS)
    assert all(reason.endswith("is not installed") for reason in row["absent"].values())
    assert all(found.keys() == {"forward", "train"} for found in row["differences"].values())
    seconds = row["passes"]["train"]["seconds"]
    assert seconds.keys() == PEERS.keys() - row["absent"].keys()
    assert row["passes"]["train"]["ratios"].keys() == seconds.keys() - {"jaxrnn"}


def test_an_absent_peer_is_skipped_by_name(monkeypatch):
    monkeypatch.setitem(PEERS, "Keras 3 on JAX", Peer(PEERS["Keras 3 on JAX"].make, needs="no_such_package"))
    runners, absent = layer.make_runners(TINY, ["jaxrnn", "Keras 3 on JAX"])
    assert list(runners) == ["jaxrnn"]
    assert absent == {"Keras 3 on JAX": "no_such_package is not installed"}


def test_a_peer_that_only_claims_to_compute_in_bfloat16_is_left_out(monkeypatch):
    monkeypatch.setitem(PEERS, "plain lax.scan", Peer(lambda case: ours.make(case._replace(dtype="float32"))))
    row = layer.measure(
        TINY._replace(dtype="bfloat16"), peers=["jaxrnn", "plain lax.scan"], passes=["forward"], seconds=0
    )
    assert row["absent"] == {"plain lax.scan": "computes in float32 when asked for bfloat16"}
    assert list(row["passes"]["forward"]["seconds"]) == ["jaxrnn"]


def test_a_wrong_output_ends_the_run_with_one_line(monkeypatch, tmp_path, capsys):
    def wrong(case):
        runner = ours.make(case)
        return runner._replace(outputs=lambda y: 1.001 * runner.outputs(y))

    monkeypatch.setitem(PEERS, "plain lax.scan", Peer(wrong))
    job = Job("layer", "tiny", lambda: layer.measure(TINY, peers=["jaxrnn", "plain lax.scan"], seconds=0))
    monkeypatch.setitem(PRESETS, "smoke", lambda data: Preset([job], budget=60, matrix_size=8))
    assert run.main(["smoke", "--out", str(tmp_path)]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message == (
        f"benchmarks: {TINY.name}: plain lax.scan: outputs differ from ours by 0.001 of the largest magnitude, "
        "expected at most 1e-04 in float32; nothing was timed"
    )


def test_a_wrong_gradient_is_found(monkeypatch):
    def wrong(case):
        runner = ours.make(case)
        return runner._replace(gradients=lambda result: {k: v + 1 for k, v in runner.gradients(result).items()})

    monkeypatch.setitem(PEERS, "plain lax.scan", Peer(wrong))
    with pytest.raises(agreement.WrongOutputError, match=r"plain lax.scan: cell \d, w_"):
        layer.measure(TINY, peers=["jaxrnn", "plain lax.scan"], seconds=0)


def test_nan_is_wrong():
    one = np.ones(3)
    with pytest.raises(agreement.WrongOutputError, match="b differ from ours by nan"):
        agreement.check("a case", {"a": one, "b": one * np.nan}, {"a": one, "b": one}, precision="bfloat16")


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
def test_the_application_is_compared_before_it_is_timed(monkeypatch):
    narrow = ("model.hidden=4", "model.embedding=4", "data.max_tokens=12", "train.batch_size=8")
    epoch = make_epoch(data=None, sample=1, num_reviews=16, overrides=narrow)
    program = OurProgram(epoch)
    monkeypatch.setitem(program.weights, "fc.bias", program.weights["fc.bias"] + 1)
    monkeypatch.setattr("benchmarks.application.OurProgram", lambda epoch: program)
    with pytest.raises(agreement.WrongOutputError, match="application: PyTorch padded"):
        measure(epoch, seconds=0)


def test_the_smoke_run_and_its_report(tmp_path):
    assert run.main(["smoke", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["parts"].keys() == {"layer", "padding", "application", "growth"}
    assert result["failed"] == {}
    assert result["left_out"] == []
    assert result["environment"]["versions"].keys() >= {"jax", "flax", "numpy"}
    assert report.main([str(tmp_path)]) == 0
    text = (tmp_path / "REPORT.md").read_text()
    headings = ["Targets", "The layer", "Padding", "The reference application's training", "Growth of forward"]
    for shown in (TINY.name, "The input pipeline takes", "growth.png", *(f"\n## {heading}" for heading in headings)):
        assert shown in text
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("layer.png", "growth.png"))


def test_a_run_out_of_time_says_what_it_left_out_and_a_failure_costs_only_itself(tmp_path):
    def fail():
        raise RuntimeError("no memory left")

    jobs = [Job("layer", "first", fail), Job("start", "second", lambda: {"seconds": 1})]
    path = tmp_path / "result.json"
    run.measure(Preset(jobs, budget=60, matrix_size=8), "smoke", path)
    result = json.loads(path.read_text())
    assert result["failed"] == {"layer: first": "RuntimeError: no memory left"}
    assert result["parts"] == {"start": [{"job": "second", "seconds": 1}]}
    run.measure(Preset(jobs, budget=0, matrix_size=8), "smoke", path)
    assert json.loads(path.read_text())["left_out"] == ["layer: first", "start: second"]


def test_targets_are_met_missed_or_not_measured():
    row = {
        "case": Case()._asdict(),
        "forward_flops": 80.0,
        "valid_share": 1.0,
        "product_seconds": {"forward": 0.5, "train": 1.5},
        "passes": {
            "forward": {
                "seconds": {"jaxrnn": {"median": 1.0}},
                "ratios": {"PyTorch padded": {"median": 1.1}, "flax.nnx.RNN": {"median": 1.2}},
            }
        },
    }
    uniform = {"case": Case(lengths="uniform")._asdict(), "valid_share": 0.5}
    uniform["passes"] = {"forward": {"seconds": {"jaxrnn": {"median": 0.6}}, "ratios": {}}}
    result = {"parts": {"layer": [row, uniform]}, "matrix_rates": {"float32": 100.0}, "matrix_size": 4096}
    found = {target.name: (target.measured, target.verdict) for target in targets.targets(result)}
    assert found["PyTorch padded, full, float32, forward: its time over ours"] == (1.1, "met")
    assert found["flax.nnx.RNN, full, float32, forward: its time over ours"] == (1.2, "missed")
    assert found["share of the matrix rate at 4096³, full, float32, forward"] == (80.0, "missed")
    assert found["Keras 3 on JAX, full, float32, forward: its time over ours"] == (None, "not measured")
    padding = "uniform lengths, forward: time ÷ (full batch's time × share of valid steps)"
    assert found[padding] == (1.2, "met")
    assert targets.Target("a ceiling", 3, 2.5, at_least=False).verdict == "met"
    assert targets.Target("a ceiling", 3, 3.5, at_least=False).verdict == "missed"


def test_turns_and_their_ratios():
    calls = []
    taken = timing.in_turns({name: lambda name=name: calls.append(name) for name in "ab"}, seconds=0, min_turns=4)
    assert [len(turns) for turns in taken.values()] == [2, 2]  # slower than no time at all
    assert calls[:6] == list("aaabbb")
    calls.clear()
    timing.in_turns({"a": lambda: calls.append("a")}, seconds=0, first={"a": 100.0})
    assert calls == ["a", "a"]  # known to be slow: two turns, and no warming up
    found = timing.compared({"ours": [1, 2, 4], "theirs": [2, 2], "others": [3, 6, 4]})
    assert found["ratios"]["theirs"] | {"low": 0, "high": 0} == {"median": 1.5, "low": 0, "high": 0, "turns": [2, 1]}
    assert found["ratios"]["others"]["median"] == 3


def test_exponents_are_fitted():
    assert growth.fit([1, 2, 4], [3, 12, 48]) == pytest.approx(2)
    points = [{"x": x, "seconds": {"median": 2.0 * x}, "mib": None} for x in (1, 2)]
    assert growth.exponents(points) == {"seconds": pytest.approx(1), "mib": None}


def test_cases():
    for lengths, share in (("full", 1), ("bucketed", 0.965), ("uniform", 0.5), ("imdb", 0.3), ("0.25", 0.25)):
        case = Case(batch=512, lengths=lengths)
        drawn = case.draw_lengths()
        assert drawn.min() >= 1
        assert drawn.max() == case.time
        assert case.valid_share == pytest.approx(share, abs=0.1)
    # An LSTM's step: 8 products of D × H or H × H, two operations each.
    assert Case(batch=1, time=1, features=3, hidden=5, layers=1, directions=1).forward_flops == 2 * 4 * 5 * (3 + 5)


def test_ways_to_run_the_scan_and_backends_agree():
    case = TINY._replace(lengths="uniform")
    ways = ["one scan, CUDA graph", "one scan, unroll 2", "jaxrnn cudnn"]
    row = layer.measure(case, peers=["jaxrnn", *ways], passes=["train"], seconds=0, with_products=False)
    assert row["differences"].keys() == {"jaxrnn", *ways[:2]}
    assert row["absent"] == {"jaxrnn cudnn": "needs an NVIDIA GPU, and JAX runs on cpu"}
    assert row["backend"] == "fused_scan"


def test_a_variant_of_ours_that_computes_other_numbers_is_left_out(monkeypatch):
    def wrong(case):
        runner = layer.PEERS["jaxrnn"].make(case)
        return runner._replace(outputs=lambda y: 2 * runner.outputs(y))

    monkeypatch.setitem(layer.VARIANTS, "jaxrnn fused_scan", Peer(wrong))
    row = layer.measure(TINY, peers=["jaxrnn", "jaxrnn fused_scan"], passes=["forward"], seconds=0, with_products=False)
    assert "differ from ours by 1 of the largest magnitude" in row["absent"]["jaxrnn fused_scan"]
    assert row["passes"]["forward"]["seconds"].keys() == {"jaxrnn"}


@pytest.mark.slow
def test_a_kernel_is_tried_in_a_process_of_its_own():
    assert why_it_fails("fused_scan") is None
    reason = why_it_fails("hopper")
    assert reason.startswith("a small layer failed: ValueError: backend: expected None or one of")
    assert reason.endswith("got 'hopper', which needs an NVIDIA GPU, and this call runs on cpu")
    assert why_it_fails("reference", seconds=0.01) == "a small layer did not end within 0 s"


def test_the_gpu_run_needs_nothing_of_the_trainer():
    """On its machine there are neither the trainer's own packages nor the extra `hopper`; it names what is absent."""
    absent = ("cutlass", "spacy", "datasets", "huggingface_hub", "matplotlib", "jinja2", "keras")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(sys.argv[1:])); from benchmarks import layer, presets, run;"
        "presets.gpu(None); case = presets.TINY; peers = presets._gpu_peers(case);"
        "row = layer.measure(case, peers=peers, passes=['forward'], seconds=0, with_products=False);"
        "print(row['absent']['jaxrnn hopper'])"
    )
    done = subprocess.run([sys.executable, "-c", code, *absent], capture_output=True, text=True, check=True)
    assert done.stdout == "needs an NVIDIA GPU, and JAX runs on cpu\n"


def test_against_cudnn():
    def row(lengths, **seconds):
        passes = {"forward": {"seconds": {name: {"median": value} for name, value in seconds.items()}}}
        case = Case(lengths=lengths, time=100, layers=1)
        return {"name": lengths, "case": case._asdict(), "backend": "fused_scan", "passes": passes}

    times = {"PyTorch padded": 1e-3, "PyTorch packed": 4e-3}
    rows = [row("full", jaxrnn=2e-3, **times), row("imdb", **{"jaxrnn": 2e-3, "jaxrnn cudnn": 1e-3}, **times)]
    text = "\n".join(cudnn_section(rows, {"precision": "tensorfloat32", "matrix_rates": {"float32": 1e15}}))
    assert "| full | fused_scan | 20.00 | 0.50 | 0.50 | fused_scan | 20.00 | 0.50 |" in text
    assert "| imdb | fused_scan | 20.00 | 2.00 | 0.50 | cudnn | 10.00 | 4.00 |" in text
    assert "Slower than cuDNN in 1 of 2: full." in text
    assert "Not within 5 % of our fastest backend in 1: imdb: jaxrnn cudnn." in text
    # Where the operations take longer than the exchange, they are the floor.
    case = Case(time=100, layers=1)
    assert step_floor(case, "train", 1e12) == pytest.approx(3 * case.forward_flops / 1e12 / 100)


def test_a_run_goes_on_where_it_stopped(tmp_path):
    ran = []
    jobs = [Job("layer", name, lambda name=name: ran.append(name) or {"of": name}) for name in "ab"]
    path = tmp_path / "result.json"
    run.measure(Preset(jobs[:1], budget=60, matrix_size=8), "smoke", path)
    run.measure(Preset(jobs, budget=60, matrix_size=8), "smoke", path, resume=True)
    assert ran == ["a", "b"]
    assert json.loads(path.read_text())["parts"] == {"layer": [{"job": "a", "of": "a"}, {"job": "b", "of": "b"}]}
