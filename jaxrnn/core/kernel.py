"""A kernel in the place of JAX's own operations: the value and the first gradient are the kernel's, all else theirs.

A kernel computes a function and the pull-back of a cotangent, and JAX can look into neither. Beside it stands the same
function made of plain operations, and from it comes everything that the kernel has not: forward mode, derivatives of
higher order, `vmap`, and running on another platform than the kernel's. So a kernel serves every transformation, and
nobody who asks for a gradient need say beforehand which one.

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
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Flat = Sequence[Any]


class Kernel(NamedTuple):
    """A function of a tree of floats, and of lengths, which have no derivative: its platform, and how it is computed.

    All four take first what is known before any array, `static`, which is hashable.

    Attributes:
      platform: that the kernel is for, as JAX names it when it lowers: "cpu", "cuda" or "tpu".
      plain: `(static, args, lengths) -> results`, in JAX's operations.
      forward: the same by the kernel.
      save: `(static, args, lengths) -> (results, saved)`.
      pull: `(static, args, lengths, results, saved, cotangents) -> cotangents of args`.
    """

    platform: str
    plain: Callable[[Any, Any, Array], Any]
    forward: Callable[[Any, Any, Array], Any]
    save: Callable[[Any, Any, Array], tuple[Any, Any]]
    pull: Callable[[Any, Any, Array, Any, Any, Any], Any]

    def __call__(self, static: Any, args: Any, lengths: Array) -> Any:
        """The function of args, a tree of floats, and lengths, integers `[batch]`."""
        flat, tree = jax.tree.flatten(args)
        shapes, saved = jax.eval_shape(lambda args, lengths: self.save(static, args, lengths), args, lengths)
        results, results_tree = jax.tree.flatten(shapes)
        saved, saved_tree = jax.tree.flatten(saved)
        bound = _Bound(self, static, tree, results_tree, saved_tree, tuple(results), tuple(saved))
        return jax.tree.unflatten(results_tree, _forward_p.bind(lengths, *flat, bound=bound))


@dataclass(frozen=True)  # no tuple: JAX would look into it, and hash what is inside by its own rules
class _Bound:
    """A kernel with the structure of its arguments and results: what a primitive is given beside flat arrays."""

    kernel: Kernel
    static: Any
    tree: Any
    results_tree: Any
    saved_tree: Any
    results: tuple[jax.ShapeDtypeStruct, ...]
    saved: tuple[jax.ShapeDtypeStruct, ...]

    def split(self, operands: Flat) -> tuple[Flat, Flat, Flat, Flat]:
        """Arguments, results, saved and the rest, of operands in this order."""
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
    # Nobody reads these zeros: where the plain operations run, the pull-back is theirs, too.
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


def _primitive(name: str, by_kernel: Callable, plain: Callable, shapes: Callable[[_Bound, Flat], Flat]) -> Primitive:
    primitive = Primitive(f"kernel_{name}")
    primitive.multiple_results = True
    primitive.def_impl(
        jax.jit(lambda *operands, bound: primitive.bind(*operands, bound=bound), static_argnames="bound")
    )
    primitive.def_abstract_eval(
        lambda *operands, bound: [ShapedArray(s.shape, s.dtype) for s in shapes(bound, operands)]
    )

    def batch(operands: Flat, axes: Flat, *, bound: _Bound) -> tuple[list[Array], list[int]]:
        arrays = map(jax.numpy.asarray, operands)  # a tracer may hold one of NumPy's
        results = jax.vmap(lambda *operands: plain(bound, *operands), in_axes=tuple(axes))(*arrays)
        return results, [0] * len(results)

    def lower(ctx: Any, *operands: Any, bound: _Bound) -> Any:
        served = set(ctx.module_context.platforms) == {bound.kernel.platform}
        function = by_kernel if served else plain
        return mlir.lower_fun(lambda *operands: function(bound, *operands), multiple_results=True)(ctx, *operands)

    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, lower)
    return primitive


_forward_p = _primitive("forward", _forward, _plain, lambda bound, _: bound.results)
_save_p = _primitive("save", _save, _plain_save, lambda bound, _: [*bound.results, *bound.saved])
_tangent_p = _primitive("tangent", _tangent, _tangent, lambda bound, _: bound.results)
_pull_p = _primitive("pull", _pull, _plain_pull, lambda bound, operands: bound.split(operands[1:])[0])


def _jvp_of_forward(primals: Flat, tangents: Flat, *, bound: _Bound) -> tuple[Flat, Flat]:
    both = _save_p.bind(*primals, bound=bound)
    d_results = _tangent_p.bind(*primals, *both, *map(ad.instantiate_zeros, tangents[1:]), bound=bound)
    return both[: len(bound.results)], d_results


def _jvp_of_save(primals: Flat, tangents: Flat, *, bound: _Bound) -> tuple[Flat, Flat]:
    both = _save_p.bind(*primals, bound=bound)
    d_results = _tangent_p.bind(*primals, *both, *map(ad.instantiate_zeros, tangents[1:]), bound=bound)
    # Only the two rules below would read the tangent of what is saved, and they differentiate the plain operations.
    d_saved = [ad.Zero(jax.typeof(part).to_tangent_aval()) for part in both[len(bound.results) :]]
    return both, [*d_results, *d_saved]


def _jvp_of_plain(primitive: Primitive, plain: Callable) -> Callable:
    def rule(primals: Flat, tangents: Flat, *, bound: _Bound) -> tuple[Flat, Flat]:
        lengths, *operands = primals
        flat, results, saved, rest = bound.split(operands)
        d_flat, _, _, d_rest = (map(ad.instantiate_zeros, part) for part in bound.split(tangents[1:]))

        def function(flat: Flat, rest: Flat) -> Flat:
            return plain(bound, lengths, *flat, *results, *saved, *rest)

        _, d_out = jax.jvp(function, (list(flat), list(rest)), (list(d_flat), list(d_rest)))
        return primitive.bind(*primals, bound=bound), d_out

    return rule


def _transpose_of_tangent(cotangents: Flat, lengths: Array, *operands: Any, bound: _Bound) -> Flat:
    known = operands[: len(operands) - bound.tree.num_leaves]
    pulled = _pull_p.bind(lengths, *known, *map(ad.instantiate_zeros, cotangents), bound=bound)
    tangents = operands[len(known) :]
    linear = [d if ad.is_undefined_primal(t) else None for d, t in zip(pulled, tangents, strict=True)]
    return [None] * (1 + len(known)) + linear


ad.primitive_jvps[_forward_p] = _jvp_of_forward
ad.primitive_jvps[_save_p] = _jvp_of_save
ad.primitive_jvps[_tangent_p] = _jvp_of_plain(_tangent_p, _tangent)
ad.primitive_jvps[_pull_p] = _jvp_of_plain(_pull_p, _plain_pull)
ad.primitive_transposes[_tangent_p] = _transpose_of_tangent
