"""Arguments that all modules share: random streams, and keyword arguments that are known by another name elsewhere."""

import inspect
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from flax import nnx

# What others call an argument of ours, and what to write here.
ELSEWHERE = {
    "batch_first": "leave it out: inputs are batch-major unless time_major=True",
    "bias": "did you mean use_bias?",
    "dropout": "did you mean dropout_rate?",
    "hidden_size": "did you mean hidden_features?",
    "input_size": "did you mean in_features?",
    "nonlinearity": "did you mean activation, of nn.Elman?",
    "proj_size": "did you mean projection_features, of nn.LSTM?",
    "recurrent_dropout": "did you mean recurrent_dropout_rate?",
    "units": "did you mean hidden_features?",
}


def as_rngs(rngs: nnx.Rngs | int) -> nnx.Rngs:
    """Flax random streams; a number is the seed of all of them."""
    return nnx.Rngs(rngs) if isinstance(rngs, int) else rngs


def refuse_unknown(module_type: type, unknown: Iterable[str]) -> None:
    """TypeError that names the module's type, the first unknown keyword argument, and one that may have been meant."""
    for name in unknown:
        known = [known for known in inspect.signature(module_type).parameters if known != name]
        close = get_close_matches(name, known, 1)
        hint = ELSEWHERE.get(name) or (f"did you mean {close[0]}?" if close else f"expected one of {', '.join(known)}")
        raise TypeError(f"{module_type.__name__}: unexpected keyword argument {name!r}; {hint}")


def full_signature(*types: type) -> inspect.Signature:
    """The signature of a constructor whose `**options` are those of the constructors of other classes.

    Args:
      *types: The class, and then those that take the options, each what the one before leaves.
    """
    parameters: dict[str, inspect.Parameter] = {}
    for k, each in enumerate(types):
        own: Any = each.__init__
        for name, parameter in list(inspect.signature(own).parameters.items())[1:]:
            is_own = k == 0 and parameter.kind is not inspect.Parameter.VAR_KEYWORD
            if is_own or parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                parameters.setdefault(name, parameter)
    ordered = sorted(parameters.values(), key=lambda p: (p.kind, p.name == "rngs"))
    return inspect.Signature(ordered)
