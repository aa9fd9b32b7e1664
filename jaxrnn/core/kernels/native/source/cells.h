// The cells: what jaxrnn/core/cells.py says of each, in the terms of the loops.
//
// The pre-activations of a unit are numbered slots: one for each gate, and one for the recurrent part of a GRU's n
// where r multiplies it. The slots are in such an order that those which the product of x adds to are neighbours, and those
// which the product of h adds to are, too.
//
// A step has one stage, or two where a product's operand has to wait for a gate. A stage takes the products of some
// slots and then applies its function, to all units of a vector at once, while the sums are in registers:
//
//   forward<STAGE>(pre, state, kept, saved) -> h, or the operand of the next stage's product of h
//   backward<STAGE>(saved, seen, d_h, d_operand, d_state, d_direct, d_pre)
//
// state is the LSTM's c and other cells' h: on entry that before the step, on return that after it. kept goes from one
// stage to the next, and saved to the backward pass. That runs the stages in the opposite order. It is given the
// gradient d_h of the step's h (in the last stage), the gradient d_operand of what `forward` of this stage returned (in
// the others), and what the cell wants to have seen: the state before the step, or the h after it. It turns d_state,
// the gradient of the LSTM's c after the step, into that before it; d_direct gets the part of the gradient of the h
// before the step that goes through no product; and d_pre gets the gradients of the slots that Stage::pulled names.
#pragma once

#include "vectors.h"

namespace jaxrnn {

struct Slots {
  int first, count;
  constexpr int end() const { return first + count; }
  constexpr bool has(int slot) const { return first <= slot && slot < end(); }
};

struct Stage {
  Slots slots;   // of the pre-activations that it computes
  Slots x, h;    // those of them that the products of x and of h add to
  Slots saved;   // what it saves for the backward pass, numbered on their own
  Slots pulled;  // the slots whose gradients its backward function gives
};

constexpr int RECURRENT_BIAS = -1;  // in place of a gate: the slot's bias is b_hn

constexpr int MOST_SLOTS = 4;
constexpr int MOST_SAVED = 5;

// h = φ(W_h h + W_x x + b)
template <bool RELU>
struct Elman {
  static constexpr int GATES = 1, SLOTS = 1, STAGES = 1, SAVED = 0;
  static constexpr bool HAS_C = false, SEES_OUTPUT = true;
  static constexpr int GATE_OF_SLOT[] = {0}, BIAS_OF_SLOT[] = {0};
  static constexpr Stage STAGE[] = {{{0, 1}, {0, 1}, {0, 1}, {0, 0}, {0, 1}}};

  template <int>
  static INLINE Floats forward(const Floats* pre, Floats& state, Floats&, Floats*) {
    const Floats zero = {};
    state = RELU ? (pre[0] < zero ? zero : pre[0]) : tanh(pre[0]);
    return state;
  }

  template <int>
  static INLINE void backward(const Floats*, Floats h, Floats d_h, Floats, Floats&, Floats& d_direct, Floats* d_pre) {
    const Floats zero = {};
    d_pre[0] = RELU ? (h > zero ? d_h : zero) : d_h * (1.0f - h * h);
    d_direct = zero;
  }
};

// i, f, o = σ(·), g = tanh(·), c = f ⊙ c + i ⊙ g, h = o ⊙ tanh(c)
struct Lstm {
  static constexpr int GATES = 4, SLOTS = 4, STAGES = 1, SAVED = 5;
  static constexpr bool HAS_C = true, SEES_OUTPUT = false;
  static constexpr int GATE_OF_SLOT[] = {0, 1, 2, 3}, BIAS_OF_SLOT[] = {0, 1, 2, 3};
  static constexpr Stage STAGE[] = {{{0, 4}, {0, 4}, {0, 4}, {0, 5}, {0, 4}}};
  static constexpr int SAVED_C = 4;

  template <int>
  static INLINE Floats forward(const Floats* pre, Floats& c, Floats&, Floats* saved) {
    const Floats i = sigmoid(pre[0]), f = sigmoid(pre[1]), g = tanh(pre[2]), o = sigmoid(pre[3]);
    c = f * c + i * g;
    saved[0] = i, saved[1] = f, saved[2] = g, saved[3] = o, saved[SAVED_C] = c;
    return o * tanh(c);
  }

  template <int>
  static INLINE void backward(const Floats* saved, Floats c_before, Floats d_h, Floats, Floats& d_c, Floats& d_direct,
                              Floats* d_pre) {
    const Floats i = saved[0], f = saved[1], g = saved[2], o = saved[3], tanh_c = tanh(saved[SAVED_C]);
    const Floats d = d_c + d_h * o * (1.0f - tanh_c * tanh_c);
    d_pre[0] = d * g * i * (1.0f - i);
    d_pre[1] = d * c_before * f * (1.0f - f);
    d_pre[2] = d * i * (1.0f - g * g);
    d_pre[3] = d_h * tanh_c * o * (1.0f - o);
    d_c = d * f;
    d_direct = Floats{};
  }
};

// r, z = σ(·), n = tanh(u_n + r ⊙ (v_n + b_hn)), h = (1 - z) ⊙ n + z ⊙ h, with u_n of x and v_n of h.
// The slots are u_n, r, z, v_n: x adds to the first three, h to the last three.
struct GruResetAfter {
  static constexpr int GATES = 3, SLOTS = 4, STAGES = 1, SAVED = 4;
  static constexpr bool HAS_C = false, SEES_OUTPUT = false;
  static constexpr int GATE_OF_SLOT[] = {2, 0, 1, 2}, BIAS_OF_SLOT[] = {2, 0, 1, RECURRENT_BIAS};
  static constexpr Stage STAGE[] = {{{0, 4}, {0, 3}, {1, 3}, {0, 4}, {0, 4}}};

  template <int>
  static INLINE Floats forward(const Floats* pre, Floats& h, Floats&, Floats* saved) {
    const Floats r = sigmoid(pre[1]), z = sigmoid(pre[2]), v = pre[3];
    const Floats n = tanh(pre[0] + r * v);
    saved[0] = r, saved[1] = z, saved[2] = n, saved[3] = v;
    h = n + z * (h - n);
    return h;
  }

  template <int>
  static INLINE void backward(const Floats* saved, Floats h_before, Floats d_h, Floats, Floats&, Floats& d_direct,
                              Floats* d_pre) {
    const Floats r = saved[0], z = saved[1], n = saved[2], v = saved[3];
    const Floats d_u = d_h * (1.0f - z) * (1.0f - n * n);
    d_pre[0] = d_u;
    d_pre[1] = d_u * v * r * (1.0f - r);
    d_pre[2] = d_h * (h_before - n) * z * (1.0f - z);
    d_pre[3] = d_u * r;
    d_direct = d_h * z;
  }
};

// r, z = σ(·), n = tanh(W_n [r ⊙ h, x] + b_n), h = (1 - z) ⊙ n + z ⊙ h
struct GruResetBefore {
  static constexpr int GATES = 3, SLOTS = 3, STAGES = 2, SAVED = 3;
  static constexpr bool HAS_C = false, SEES_OUTPUT = false;
  static constexpr int GATE_OF_SLOT[] = {0, 1, 2}, BIAS_OF_SLOT[] = {0, 1, 2};
  static constexpr Stage STAGE[] = {{{0, 2}, {0, 2}, {0, 2}, {0, 2}, {0, 1}},
                                    {{2, 1}, {2, 1}, {2, 1}, {2, 1}, {1, 2}}};

  template <int NUMBER>
  static INLINE Floats forward(const Floats* pre, Floats& h, Floats& kept_z, Floats* saved) {
    if (NUMBER == 0) {
      const Floats r = sigmoid(pre[0]);
      kept_z = sigmoid(pre[1]);
      saved[0] = r, saved[1] = kept_z;
      return r * h;
    }
    const Floats n = tanh(pre[0]);
    saved[2] = n;
    h = n + kept_z * (h - n);
    return h;
  }

  template <int NUMBER>
  static INLINE void backward(const Floats* saved, Floats h_before, Floats d_h, Floats d_operand, Floats&,
                              Floats& d_direct, Floats* d_pre) {
    const Floats r = saved[0], z = saved[1], n = saved[2];
    if (NUMBER == 1) {
      d_pre[1] = d_h * (h_before - n) * z * (1.0f - z);
      d_pre[2] = d_h * (1.0f - z) * (1.0f - n * n);
      d_direct = d_h * z;
    } else {
      d_pre[0] = d_operand * h_before * r * (1.0f - r);
      d_direct += d_operand * r;
    }
  }
};

// A cell as data: what the passes know of it.
struct CellData {
  int gates, slots, stages, saved;
  bool has_c, sees_output;
  const int *gate_of_slot, *bias_of_slot;
  const Stage* stage;

  bool has_b_hn() const { return bias_of_slot[slots - 1] == RECURRENT_BIAS; }
  const Stage& last_stage() const { return stage[stages - 1]; }
};

template <class Cell>
constexpr CellData DATA = {Cell::GATES,  Cell::SLOTS,        Cell::STAGES,       Cell::SAVED, Cell::HAS_C,
                           Cell::SEES_OUTPUT, Cell::GATE_OF_SLOT, Cell::BIAS_OF_SLOT, Cell::STAGE};

}  // namespace jaxrnn
