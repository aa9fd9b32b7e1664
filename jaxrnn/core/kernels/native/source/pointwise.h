// The cells' functions over arrays: several rows and vectors of units at a time.
#pragma once

#include "cells.h"
#include "formats.h"

namespace jaxrnn {

// What a stage's function reads and writes for some vectors of units of some rows. The arrays of states have a row for
// each row, `stride` apart; the others are for these rows and vectors alone.
struct ForwardArrays {
  long rows, units;     // units: vectors of them
  const Floats* pre;    // [rows, units, slots of the stage]
  float *state, *kept;  // kept: null where there is one stage
  long stride;
  float* const* saved;  // of each row; null where nothing is saved
  Floats* results;      // [rows, units]: h, or the operand of the next stage
};

template <class Cell, int STAGE>
void apply_forward(const ForwardArrays& arrays) {
  constexpr Stage stage = Cell::STAGE[STAGE];
  constexpr int FIRST = stage.saved.first, END = stage.saved.end();
  const Floats* pre = arrays.pre;
  Floats* results = arrays.results;
  for (long r = 0; r < arrays.rows; ++r)
    for (long u = 0; u < arrays.units; ++u, pre += stage.slots.count) {
      const long at = r * arrays.stride + u * LANES;
      Floats state = load(arrays.state + at), kept = {}, saved[MOST_SAVED];
      if (STAGE > 0) kept = load(arrays.kept + at);
      *results++ = Cell::template forward<STAGE>(pre, state, kept, saved);
      if (STAGE == Cell::STAGES - 1)
        store(arrays.state + at, state);
      else
        store(arrays.kept + at, kept);
      if (!arrays.saved) continue;
#pragma GCC unroll 8
      for (int s = FIRST; s < END; ++s)
        store(arrays.saved[r] + (u * Cell::SAVED + s) * LANES, saved[s]);
    }
}

// What a stage's derivative reads and writes for one row.
struct PullArrays {
  long hidden;             // units, of which the last vector may be cut in the arrays that are not of whole vectors
  const float *saved, *saved_before;  // of this step and of the one before; saved_before is null at the first
  const float *seen, *d_y;            // [hidden]
  float *d_h, *d_c, *d_operand;       // whole vectors
  Word* d_pre;                        // [slots, units], whole vectors
};

template <class Cell, int STAGE, class Format>
void apply_pull(const PullArrays& arrays) {
  constexpr int FIRST = Cell::STAGE[STAGE].pulled.first, END = Cell::STAGE[STAGE].pulled.end();
  const long vectors = divide_up(arrays.hidden, LANES);
  for (long vector = 0; vector < vectors; ++vector) {
    const long unit = vector * LANES, width = arrays.hidden - unit, from = vector * Cell::SAVED * LANES;
    Floats saved[MOST_SAVED], d_pre[MOST_SLOTS], seen, d_c = {}, d_operand = {};
    Floats d_direct = load(arrays.d_h + unit), d_h = d_direct;
#pragma GCC unroll 8
    for (int s = 0; s < Cell::SAVED; ++s) saved[s] = load(arrays.saved + from + s * LANES);
    if (Cell::HAS_C && arrays.saved_before)
      seen = load(arrays.saved_before + from + (Cell::SAVED - 1) * LANES);
    else
      seen = load_first(arrays.seen + unit, width);
    if (Cell::HAS_C) d_c = load(arrays.d_c + unit);
    if (STAGE == Cell::STAGES - 1)
      d_h += load_first(arrays.d_y + unit, width);
    else
      d_operand = load(arrays.d_operand + unit);
    Cell::template backward<STAGE>(saved, seen, d_h, d_operand, d_c, d_direct, d_pre);
    if (Cell::HAS_C) store(arrays.d_c + unit, d_c);
    store(arrays.d_h + unit, d_direct);
#pragma GCC unroll 8
    for (int slot = FIRST; slot < END; ++slot)
      Format::put(arrays.d_pre, slot * vectors * LANES + unit, d_pre[slot]);
  }
}

template <class Format>
struct CellFunctions {
  CellData data;
  void (*forward[2])(const ForwardArrays&);  // of each stage
  void (*pull[2])(const PullArrays&);
};

template <class Format, class Cell>
constexpr CellFunctions<Format> functions() {
  constexpr int LAST = Cell::STAGES - 1;
  return {DATA<Cell>,
          {apply_forward<Cell, 0>, apply_forward<Cell, LAST>},
          {apply_pull<Cell, 0, Format>, apply_pull<Cell, LAST, Format>}};
}

}  // namespace jaxrnn
