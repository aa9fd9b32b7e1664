"""A kernel that replaces JAX's operations for the value and the first gradient of a function.

A kernel computes a function and the pull-back of a cotangent, and JAX can look into neither. The same function in
plain operations is given beside it, and serves everything that the kernel does not: forward mode, derivatives of
higher order, `vmap` over weights, and other platforms than the kernel's. So a call with a kernel supports every
transformation, and nobody has to say beforehand which derivatives will be taken.

Four primitives, of which JAX sees these rules:

    forward(args)                    its derivative: save, and the tangent
    save(args)                       the results, and what the kernel keeps for the pull-back
    tangent(args, saved, d_args)     plain operations; linear in d_args, and its transpose is
    pull(args, saved, cotangents)    by the kernel
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jax import Array

from jaxrnn.core.varying import varying_with
from jaxrnn.core.versions import (
    Primitive,
    Zero,
    abstract_like,
    bdim_at_front,
    instantiate_zeros,
    is_undefined_primal,
    register_rules,
)

Flat = Sequence[Any]


class Kernel(NamedTuple):
    """A function of a tree of floats, and of lengths, which have no derivative.

    The first argument of all four, `static`, is hashable and known before any array.

    Attributes:
      platform: Platform of the kernel, as JAX names it when it lowers: "cpu", "cuda" or "tpu".
      plain: `(static, args, lengths) -> results`, in JAX's operations.
      forward: The same by the kernel.
      save: `(static, args, lengths) -> (results, saved)`, by the kernel.
      pull: `(static, args, lengths, results, saved, cotangents) -> cotangents of args`, by the kernel.
      row_axes: Of each element of args, and of the results, the axis of the rows, or None for weights, which have none.
        With it, `vmap` over anything but weights makes more rows, and stays on the kernel.
    """

    platform: str
    plain: Callable[[Any, Any, Array], Any]
    forward: Callable[[Any, Any, Array], Any]
    save: Callable[[Any, Any, Array], tuple[Any, Any]]
    pull: Callable[[Any, Any, Array, Any, Any, Any], Any]
    row_axes: tuple[Sequence[int | None], Sequence[int]] | None = None

    def __call__(self, static: Any, args: Any, lengths: Array) -> Any:
        """The function of args, a tree of floats, and lengths, integers `[batch]`."""
        args, lengths = varying_with((args, lengths), ())  # inside `shard_map`, all over the same mesh axes
        flat, tree = jax.tree.flatten(args)
        shapes, saved = jax.eval_shape(lambda args, lengths: self.save(static, args, lengths), args, lengths)
        results, results_tree = jax.tree.flatten(shapes)
        saved, saved_tree = jax.tree.flatten(saved)
        bound = _Bound(self, static, tree, results_tree, saved_tree, tuple(results), tuple(saved))
        return jax.tree.unflatten(results_tree, _forward_p.bind(lengths, *flat, bound=bound))


@dataclass(frozen=True)  # not a tuple, which JAX would look into and hash by its own rules
class _Bound:
    """A kernel with the structure of its arguments and results: the one parameter of a primitive."""

    kernel: Kernel
    static: Any
    tree: Any
    results_tree: Any
    saved_tree: Any
    results: tuple[jax.ShapeDtypeStruct, ...]
    saved: tuple[jax.ShapeDtypeStruct, ...]

    def split(self, operands: Flat) -> tuple[Flat, Flat, Flat, Flat]:
        """Arguments, results, saved arrays and the rest, of operands in this order."""
        ends = [0, self.tree.num_leaves, len(self.results), len(self.saved)]
        places = [sum(ends[: k + 1]) for k in range(4)]
        parts = [operands[a:b] for a, b in zip(places, [*places[1:], None], strict=True)]
        return parts[0], parts[1], parts[2], parts[3]


def _plain(bound: _Bound, lengths: Array, *flat: Array) -> list[Array]:
    args = jax.tree.unflatten(bound.tree, flat)
    return jax.tree.leaves(bound.kernel.plain(bound.static, args, lengths))


def _forward(bound: _Bound, lengths: Array, *flat: Array) -> list[Array]:
    args = jax.tree.unflatten(bound.tree, flat)
    return jax.tree.leaves(bound.kernel.forward(bound.static, args, lengths))


def _save(bound: _Bound, lengths: Array, *flat: Array) -> list[Array]:
    args = jax.tree.unflatten(bound.tree, flat)
    return jax.tree.leaves(bound.kernel.save(bound.static, args, lengths))


def _plain_save(bound: _Bound, lengths: Array, *flat: Array) -> list[Array]:
    # Nobody reads these zeros: where the plain operations run, the pull-back is made of them, too.
    return [*_plain(bound, lengths, *flat), *(jax.numpy.zeros(s.shape, s.dtype) for s in bound.saved)]


def _tangent(bound: _Bound, lengths: Array, *operands: Array) -> list[Array]:
    flat, _, _, tangents = bound.split(operands)
    return jax.jvp(lambda *flat: _plain(bound, lengths, *flat), flat, tangents)[1]


def _pull(bound: _Bound, lengths: Array, *operands: Array) -> list[Array]:
    flat, results, saved, cotangents = bound.split(operands)
    args, results, saved, cotangents = (
        jax.tree.unflatten(tree, part)
        for tree, part in (
            (bound.tree, flat),
            (bound.results_tree, results),
            (bound.saved_tree, saved),
            (bound.results_tree, cotangents),
        )
    )
    return jax.tree.leaves(bound.kernel.pull(bound.static, args, lengths, results, saved, cotangents))


def _plain_pull(bound: _Bound, lengths: Array, *operands: Array) -> list[Array]:
    flat, _, _, cotangents = bound.split(operands)
    return list(jax.vjp(lambda *flat: _plain(bound, lengths, *flat), *flat)[1](list(cotangents)))


def _batch_forward(operands: Flat, axes: Flat, *, bound: _Bound) -> tuple[list[Array], list[int]]:
    kernel = bound.kernel
    if kernel.row_axes is None:
        return _batch_plain(_plain, operands, axes, bound)
    args = jax.tree.unflatten(bound.tree, operands[1:])
    results = jax.tree.unflatten(bound.results_tree, bound.results)
    of_args, of_results = map(_of_leaves, (args, results), kernel.row_axes)
    of_operands = [0, *of_args]  # the lengths come first
    if any(row is None and axis is not None for row, axis in zip(of_operands, axes, strict=True)):
        return _batch_plain(_plain, operands, axes, bound)
    size = next(a.shape[axis] for a, axis in zip(operands, axes, strict=True) if axis is not None)

    def more_rows(a: Array, axis: int | None, row: int | None) -> Array:
        if row is None:
            return a
        a = jax.numpy.moveaxis(bdim_at_front(a, axis, size), 0, row)
        return a.reshape(*a.shape[:row], size * a.shape[row + 1], *a.shape[row + 2 :])

    lengths, *flat = map(more_rows, map(jax.numpy.asarray, operands), axes, of_operands)
    found = jax.tree.leaves(kernel(bound.static, jax.tree.unflatten(bound.tree, flat), lengths))
    rows = found[0].shape[of_results[0]] // size
    apart = [
        a.reshape(*a.shape[:row], size, rows, *a.shape[row + 1 :]) for a, row in zip(found, of_results, strict=True)
    ]
    return apart, of_results


def _of_leaves(tree: Sequence[Any], axes: Sequence[Any]) -> list[Any]:
    """The axis of each leaf, from one for each element of a tuple."""
    return [axis for part, axis in zip(tree, axes, strict=True) for _ in jax.tree.leaves(part)]


def _batch_plain(plain: Callable, operands: Flat, axes: Flat, bound: _Bound) -> tuple[list[Array], list[int]]:
    arrays = map(jax.numpy.asarray, operands)  # a tracer may hold one of NumPy's
    results = jax.vmap(lambda *operands: plain(bound, *operands), in_axes=tuple(axes))(*arrays)
    return results, [0] * len(results)


def _primitive(name: str) -> Primitive:
    primitive = Primitive(f"kernel_{name}")
    primitive.multiple_results = True
    return primitive


_forward_p, _save_p, _tangent_p, _pull_p = map(_primitive, ("forward", "save", "tangent", "pull"))


def _jvp_of_forward(primals: Flat, tangents: Flat, *, bound: _Bound) -> tuple[Flat, Flat]:
    both = _save_p.bind(*primals, bound=bound)
    d_results = _tangent_p.bind(*primals, *both, *map(instantiate_zeros, tangents[1:]), bound=bound)
    return both[: len(bound.results)], d_results


def _jvp_of_save(primals: Flat, tangents: Flat, *, bound: _Bound) -> tuple[Flat, Flat]:
    both = _save_p.bind(*primals, bound=bound)
    d_results = _tangent_p.bind(*primals, *both, *map(instantiate_zeros, tangents[1:]), bound=bound)
    # The tangent of the saved arrays is read by the two rules below alone, which differentiate the plain operations.
    d_saved = [Zero(jax.typeof(part).to_tangent_aval()) for part in both[len(bound.results) :]]
    return both, [*d_results, *d_saved]


def _jvp_of_plain(primitive: Primitive, plain: Callable) -> Callable:
    def rule(primals: Flat, tangents: Flat, *, bound: _Bound) -> tuple[Flat, Flat]:
        lengths, *operands = primals
        flat, results, saved, rest = bound.split(operands)
        d_flat, _, _, d_rest = (map(instantiate_zeros, part) for part in bound.split(tangents[1:]))

        def function(flat: Flat, rest: Flat) -> Flat:
            return plain(bound, lengths, *flat, *results, *saved, *rest)

        _, d_out = jax.jvp(function, (list(flat), list(rest)), (list(d_flat), list(d_rest)))
        return primitive.bind(*primals, bound=bound), d_out

    return rule


def _transpose_of_tangent(cotangents: Flat, lengths: Array, *operands: Any, bound: _Bound) -> Flat:
    known = operands[: len(operands) - bound.tree.num_leaves]
    pulled = _pull_p.bind(lengths, *known, *map(instantiate_zeros, cotangents), bound=bound)
    tangents = operands[len(known) :]
    linear = [d if is_undefined_primal(t) else None for d, t in zip(pulled, tangents, strict=True)]
    return [None] * (1 + len(known)) + linear


def _register(
    primitive: Primitive, by_kernel: Callable, plain: Callable, shapes: Callable[[_Bound, Flat], Flat], **rules: Any
) -> None:
    def batch(operands: Flat, axes: Flat, *, bound: _Bound) -> tuple[list[Array], list[int]]:
        return _batch_plain(plain, operands, axes, bound)

    def choose_lowering(platforms: set[str], *, bound: _Bound) -> Callable:
        function = by_kernel if platforms == {bound.kernel.platform} else plain
        return lambda *operands: function(bound, *operands)

    register_rules(
        primitive,
        impl=jax.jit(lambda *operands, bound: primitive.bind(*operands, bound=bound), static_argnames="bound"),
        shapes=lambda *operands, bound: [abstract_like(operands[0], s.shape, s.dtype) for s in shapes(bound, operands)],
        choose_lowering=choose_lowering,
        **{"batch": batch, **rules},
    )


_register(_forward_p, _forward, _plain, lambda bound, _: bound.results, jvp=_jvp_of_forward, batch=_batch_forward)
_register(_save_p, _save, _plain_save, lambda bound, _: [*bound.results, *bound.saved], jvp=_jvp_of_save)
_register(
    _tangent_p,
    _tangent,
    _tangent,
    lambda bound, _: bound.results,
    jvp=_jvp_of_plain(_tangent_p, _tangent),
    transpose=_transpose_of_tangent,
)
_register(
    _pull_p,
    _pull,
    _plain_pull,
    lambda bound, operands: bound.split(operands[1:])[0],
    jvp=_jvp_of_plain(_pull_p, _plain_pull),
)
