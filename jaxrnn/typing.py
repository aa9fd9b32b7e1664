"""Names of axes and array types, used in the core's signatures (checked at run time by the tests).

Axes, with the letter that stands for each in einsum strings and comments:

    batch B · time T · features D · hidden H · gates G · layers L · vocabulary V

`core` is time-major, [time, batch, ...]; `nn` and everything above it are batch-major unless told otherwise.
"""

import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

AnyArray = Array | np.ndarray

Inputs = Float[AnyArray, "time batch features"]
Outputs = Float[Array, "time batch hidden"]
Hidden = Float[AnyArray, "*batch hidden"]
Lengths = Int[AnyArray, " batch"]
Mask = Bool[Array, "time batch"]
