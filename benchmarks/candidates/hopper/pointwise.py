"""The cells' pointwise functions and their derivatives by hand, number by number.

`core.cells` has the equations over whole arrays; here they are once more for one row and unit, as a lane of the kernel
computes them. The functions are plain arithmetic: `f` brings tanh and sigmoid, so that they run on CUTLASS's numbers
while a kernel is traced and on NumPy's in the tests, which compare them with `core.cells` and its derivatives.

For each cell:

- `forward(f, pre, state)` is the new state, and what the backward pass needs to know of the step;
- `operand(f, pre, state)` what the second product multiplies (the first one multiplies h itself);
- `backward(f, saved, d_state)` the gradient of the pre-activations and, as far as no product is in between, of the old
  state;
- `operand_backward(saved, d_operand)` what the gradient of the second product's operand adds to those two.
"""

from typing import Any

from jaxrnn.core.cells import Cell

Number = Any
Numbers = list[Any]


class LSTM:
    """i, f, g, o; saved are the gates and the cell state that the step started from."""

    num_states, num_saved = 2, 5

    @staticmethod
    def forward(f: Any, pre: Numbers, state: Numbers) -> tuple[Numbers, Numbers]:
        """The new state: c' = f c + i g, h = o tanh(c')."""
        i, forget, g, o = f.sigmoid(pre[0]), f.sigmoid(pre[1]), f.tanh(pre[2]), f.sigmoid(pre[3])
        c = forget * state[1] + i * g
        return [o * f.tanh(c), c], [i, forget, g, o, state[1]]

    @staticmethod
    def backward(f: Any, saved: Numbers, d_state: Numbers) -> tuple[Numbers, Numbers]:
        """With s' = s (1 - s) for σ and t' = 1 - t² for tanh."""
        i, forget, g, o, c = saved
        t = f.tanh(forget * c + i * g)
        d_c = d_state[1] + d_state[0] * o * (1.0 - t * t)
        d_pre = [
            d_c * g * i * (1.0 - i),
            d_c * c * forget * (1.0 - forget),
            d_c * i * (1.0 - g * g),
            d_state[0] * t * o * (1.0 - o),
        ]
        return d_pre, [0.0, d_c * forget]


class GRUResetAfter:
    """r, z, n, where n = tanh(u + r v); v, the recurrent part with its bias, is the fourth pre-activation."""

    num_states, num_saved = 1, 5

    @staticmethod
    def forward(f: Any, pre: Numbers, state: Numbers) -> tuple[Numbers, Numbers]:
        """The new state: h' = (1 - z) n + z h."""
        r, z = f.sigmoid(pre[0]), f.sigmoid(pre[1])
        n = f.tanh(pre[2] + r * pre[3])
        return [n + z * (state[0] - n)], [r, z, n, pre[3], state[0]]

    @staticmethod
    def backward(f: Any, saved: Numbers, d_state: Numbers) -> tuple[Numbers, Numbers]:
        """The gradient of v is r times that of u."""
        r, z, n, v, h = saved
        d_u = d_state[0] * (1.0 - z) * (1.0 - n * n)
        d_pre = [d_u * v * r * (1.0 - r), d_state[0] * (h - n) * z * (1.0 - z), d_u, d_u * r]
        return d_pre, [d_state[0] * z]


class GRUResetBefore:
    """r, z, n, where the product for n waits for r: its operand is r h."""

    num_states, num_saved = 1, 4

    @staticmethod
    def operand(f: Any, pre: Numbers, state: Numbers) -> Number:
        """The operand of the product for n: r h. Leaves r in the place of its pre-activation."""
        pre[0] = f.sigmoid(pre[0])
        return pre[0] * state[0]

    @staticmethod
    def forward(f: Any, pre: Numbers, state: Numbers) -> tuple[Numbers, Numbers]:
        """The new state: h' = (1 - z) n + z h, after `operand`."""
        r, z, n = pre[0], f.sigmoid(pre[1]), f.tanh(pre[2])
        return [n + z * (state[0] - n)], [r, z, n, state[0]]

    @staticmethod
    def backward(f: Any, saved: Numbers, d_state: Numbers) -> tuple[Numbers, Numbers]:
        """That of r comes later, through the operand."""
        _, z, n, h = saved
        d_pre = [0.0, d_state[0] * (h - n) * z * (1.0 - z), d_state[0] * (1.0 - z) * (1.0 - n * n)]
        return d_pre, [d_state[0] * z]

    @staticmethod
    def operand_backward(saved: Numbers, d_operand: Number) -> tuple[Number, Number]:
        """What the gradient of r h gives r's pre-activation and h."""
        r, _, _, h = saved
        return d_operand * h * r * (1.0 - r), d_operand * r


def of_cell(cell: Cell) -> Any:
    """The pointwise functions of one of the three cells that there are kernels for."""
    return {"lstm": LSTM, "gru": GRUResetAfter, "gru_reset_before": GRUResetBefore}[cell.name]
