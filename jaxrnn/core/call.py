"""What is known of a call before it runs: a backend is asked with it whether it can serve."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from jax import Array

from jaxrnn.core.cells import Cell
from jaxrnn.core.options import Options, names_inside
from jaxrnn.core.versions import Tracer, default_device, get_abstract_mesh

VARIANTS = ("w_p", "peephole", "norm")  # optional weights that change the equations


class Call(NamedTuple):
    """Shapes, dtype and options of a call, and where it will run; nothing of any array's values.

    Attributes:
      cell: The equations.
      platform: "cpu", "cuda", "rocm" or "tpu".
      dtype: Dtype of the weights, and so of the matrix products.
      time: T, steps.
      batch: B, rows.
      features: D, width of the first layer's input.
      hidden: H, hidden units of the first layer.
      num_layers: L, layers on top of each other.
      num_directions: Directions of each layer, 1 or 2.
      reverse: Whether a single direction runs from the end.
      has_lengths: Whether the rows may have fewer than T steps.
      options: Names of the options given that act inside the loop, and of optional weights, such as "params.w_p".
      divided: Whether the call is divided over several devices, or is inside `shard_map`.
      is_shard: Whether it is inside `shard_map`, and its arrays are those of one device.
      capability: Compute capability of an NVIDIA GPU, such as "9.0"; None elsewhere.
    """

    cell: Cell
    platform: str
    dtype: str
    time: int
    batch: int
    features: int
    hidden: int
    num_layers: int = 1
    num_directions: int = 1
    reverse: bool = False
    has_lengths: bool = False
    options: tuple[str, ...] = ()
    divided: bool = False
    is_shard: bool = False
    capability: str | None = None

    @classmethod
    def of(cls, cell: Cell, x: Any, params: Any, options: Sequence[Options]) -> "Call":
        """The call of `unroll`, or with weights by layer and direction that of `unroll_layers`, with these options.

        Args:
          cell: The equations.
          x: Inputs `[time, batch, features]`, or their shape and dtype.
          params: Weights of one direction, or of each direction of each layer.
          options: The options of every direction.
        """
        layers: Sequence[Sequence[Any]] = ((params,),) if hasattr(params, "w_h") else params
        weights = [direction for layer in layers for direction in layer]
        variants = [f"params.{name}" for name in VARIANTS if any(getattr(w, name, None) is not None for w in weights)]
        time, batch, features = x.shape
        return cls(
            cell,
            platform_of(x),
            str(weights[0].w_h.dtype),
            time,
            batch,
            features,
            weights[0].w_h.shape[-1],
            len(layers),
            len(layers[0]),
            options[0].reverse,
            any(one.lengths is not None for one in options),
            (*names_inside(options), *variants),
            _divided(x),
            _is_shard(),
            capability_of(x),
        )


def platform_of(x: Any) -> str:
    """The platform where x is; for what is traced or not yet an array, JAX's default."""
    return _platform(_device_of(x))


def capability_of(x: Any) -> str | None:
    """The compute capability of the NVIDIA GPU where x is or will be, such as "9.0"; None if it is no such GPU."""
    return _capability(_device_of(x))


def _device_of(x: Any) -> Any:
    if isinstance(x, Array) and not isinstance(x, Tracer):
        return next(iter(x.devices()))
    return default_device()


def _divided(x: Any) -> bool:
    mesh = get_abstract_mesh()
    if mesh.manual_axes or any(mesh.shape[axis] > 1 for axis in mesh.axis_names):
        return True
    return isinstance(x, Array) and not isinstance(x, Tracer) and len(x.devices()) > 1


def _is_shard() -> bool:
    mesh = get_abstract_mesh()
    return bool(mesh.manual_axes) and all(mesh.shape[axis] == 1 or axis in mesh.manual_axes for axis in mesh.axis_names)


def _platform(device: Any) -> str:
    if device.platform != "gpu":
        return device.platform
    return "rocm" if "rocm" in device.client.platform_version.lower() else "cuda"


def _capability(device: Any) -> str | None:
    return getattr(device, "compute_capability", None) if _platform(device) == "cuda" else None
