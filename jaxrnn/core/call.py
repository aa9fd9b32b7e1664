"""What is known of a call before it runs: what a backend is asked whether it can serve."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax import Array
from jax.core import Tracer

from jaxrnn.core.cells import Cell

# Arguments of `unroll` that act inside the loop.
INSIDE = ("mask", "resets", "recurrent_dropout", "zoneout", "max_gradient", "all_states", "hidden_axis")
VARIANTS = ("w_p", "peephole", "norm")  # optional weights that change the equations


class Call(NamedTuple):
    """Shapes, dtype, options and where it will run; nothing of any array's values.

    Attributes:
      cell: the equations.
      platform: "cpu", "cuda", "rocm" or "tpu".
      dtype: of the weights, and so of the matrix products.
      time, batch, features, hidden: T, B, D (of the first layer), H.
      num_layers, num_directions: run in one call.
      reverse: a single direction, from the end.
      has_lengths: the rows may have fewer steps.
      options: the arguments given that act inside the loop, of `INSIDE`, and optional weights, such as "params.w_p".
      divided: over several devices, or inside `shard_map`.
      capability: of an NVIDIA GPU, its compute capability, such as "9.0"; None elsewhere.
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
    capability: str | None = None

    @classmethod
    def of(cls, cell: Cell, x: Any, params: Any, options: Mapping[str, Any]) -> "Call":
        """The call of `unroll` (or, with weights by layer and direction, of `unroll_layers`) with these arguments."""
        layers: Sequence[Sequence[Any]] = ((params,),) if hasattr(params, "w_h") else params
        every = [direction for layer in layers for direction in layer]
        given = [name for name in INSIDE if options.get(name) is not None and options[name] is not False]
        given += [f"params.{name}" for name in VARIANTS if any(getattr(p, name, None) is not None for p in every)]
        time, batch, features = x.shape
        return cls(
            cell,
            platform_of(x),
            str(every[0].w_h.dtype),
            time,
            batch,
            features,
            every[0].w_h.shape[-1],
            len(layers),
            len(layers[0]),
            bool(options.get("reverse", False)),
            options.get("lengths") is not None,
            tuple(given),
            _divided(x),
            capability_of(x),
        )


def platform_of(x: Any) -> str:
    """Where x is; of what is traced or not yet an array, where it will be unless told otherwise."""
    return _platform(_device_of(x))


def capability_of(x: Any) -> str | None:
    """The compute capability of the NVIDIA GPU where x is or will be, such as "9.0"; None if it is no such GPU."""
    return _capability(_device_of(x))


def _device_of(x: Any) -> Any:
    if isinstance(x, Array) and not isinstance(x, Tracer):
        return next(iter(x.devices()))
    device: Any = getattr(jax.config, "jax_default_device")  # noqa: B009 (not in its type)
    if device is None:
        device = jax.devices()[0]
    return jax.devices(device)[0] if isinstance(device, str) else device


def _divided(x: Any) -> bool:
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.manual_axes or any(mesh.shape[axis] > 1 for axis in mesh.axis_names):
        return True
    return isinstance(x, Array) and not isinstance(x, Tracer) and len(x.devices()) > 1


def _platform(device: Any) -> str:
    if device.platform != "gpu":
        return device.platform
    return "rocm" if "rocm" in device.client.platform_version.lower() else "cuda"


def _capability(device: Any) -> str | None:
    return getattr(device, "compute_capability", None) if _platform(device) == "cuda" else None
