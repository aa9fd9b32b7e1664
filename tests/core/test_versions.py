"""Names of JAX beyond its stable interface: all are there, and one that is missing is named."""

import pytest

from jaxrnn.core import versions


def test_this_release_of_jax_has_all_of_them():
    assert versions.missing_internals() == []


def test_a_missing_name_is_named():
    needed = {"jax.core": ("Tracer", "NoSuchClass"), "jax.no_such_module": ("anything",)}
    assert versions.missing_internals(needed) == ["jax.core.NoSuchClass", "jax.no_such_module"]
    with pytest.raises(ImportError, match=r"needs jax\.core\.NoSuchClass, jax\.no_such_module, which JAX .* does not"):
        versions.check_internals(needed)
