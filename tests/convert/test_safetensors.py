"""State dicts in files: everything comes back, and nothing in a file ever runs."""

import pickle

import jax
import numpy as np
import pytest
from flax import nnx

from jaxrnn import convert, nn


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


def assert_same(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, strict=True, err_msg=name)


@pytest.mark.parametrize("as_path", [str, lambda path: path])
def test_there_and_back(path, as_path, rng):
    state_dict = {
        "weight_ih_l0": rng.normal(size=(4, 3)).astype(np.float32),
        "name with spaces / and ü": rng.normal(size=5),
        "half": rng.normal(size=(2, 1, 2)).astype(np.float16),
        "tokens": rng.integers(-9, 9, 7),
        "mask": np.array([True, False]),
        "scalar": np.array(2.5),
        "nothing": np.zeros((0, 3), np.float32),
        "transposed": rng.normal(size=(4, 3)).astype(np.float32).T,
        "strided": rng.normal(size=10)[::3],
    }
    assert convert.save_safetensors(as_path(path), state_dict) is None
    loaded = convert.load_safetensors(as_path(path))
    assert_same(loaded, state_dict)

    # The arrays are the caller's own: neither the file nor another load changes with them, nor they with the file.
    loaded["strided"] += 1
    assert_same(convert.load_safetensors(path), state_dict)
    convert.save_safetensors(path, {"other": np.zeros(3)})
    assert_same(convert.load_safetensors(path), {"other": np.zeros(3)})
    np.testing.assert_array_equal(loaded["strided"], state_dict["strided"] + 1)


def test_jax_arrays(path):
    arrays = {str(dtype): jax.numpy.arange(6.0, dtype=dtype).reshape(2, 3) for dtype in ("float32", "bfloat16")}
    convert.save_safetensors(path, arrays)
    assert_same(convert.load_safetensors(path), {name: np.asarray(value) for name, value in arrays.items()})


def test_a_layer(path):
    layer, other = (nn.GRU(3, 4, 2, init="torch", double_bias=True, rngs=nnx.Rngs(seed)) for seed in (0, 1))
    convert.save_safetensors(path, convert.to_torch(layer))
    convert.from_torch(other, convert.load_safetensors(path))
    jax.tree.map(np.testing.assert_array_equal, nnx.state(other, nnx.Param), nnx.state(layer, nnx.Param))


def test_with_pytorch(path):
    """Files written by the other side, both ways."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    state_dict = torch.nn.LSTM(3, 4, 2, bidirectional=True).state_dict()
    save_file(state_dict, path)
    loaded = convert.load_safetensors(path)
    assert_same(loaded, {name: value.numpy() for name, value in state_dict.items()})
    convert.save_safetensors(path, {name: value + 1 for name, value in loaded.items()})
    for name, value in load_file(path).items():
        assert torch.equal(value, state_dict[name] + 1), name


class Trap:
    """Whoever unpickles it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def torch_save(trap, path):
    pytest.importorskip("torch").save({"weight_ih_l0": trap}, path)


def torch_load(path):
    return pytest.importorskip("torch").load(path, weights_only=False)["weight_ih_l0"]


@pytest.mark.parametrize(
    ("save", "load"),
    [
        (lambda trap, path: path.write_bytes(pickle.dumps(trap)), lambda path: pickle.loads(path.read_bytes())),
        (torch_save, torch_load),
    ],
    ids=["pickle", "torch"],
)
def test_a_pickle_is_refused_unread(save, load, tmp_path):
    path, sprung = tmp_path / "weights.pt", tmp_path / "sprung"
    save(Trap(sprung), path)
    with pytest.raises(ValueError, match=r"weights\.pt: expected a safetensors file, .*torch\.load\(path"):
        convert.load_safetensors(path)
    assert not sprung.exists()
    load(path).close()
    assert sprung.exists()  # so the trap does work


@pytest.mark.parametrize("kept", [0, 4, 8, 40, -1])
def test_a_cut_file_is_refused(kept, path):
    convert.save_safetensors(path, {"a": np.ones(3), "b": np.ones(2)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="expected a safetensors file"):
        convert.load_safetensors(path)


def test_no_file(path):
    with pytest.raises(FileNotFoundError):
        convert.load_safetensors(path)
