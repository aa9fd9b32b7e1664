// The forward pass. Rows do not depend on each other, so blocks of rows run on threads of their own.
#pragma once

#include <utility>
#include <vector>

#include "memory.h"
#include "pointwise.h"
#include "products.h"
#include "rows.h"

namespace jaxrnn {

// Fewer rows than these: x is projected for several steps at a time, so that the products have enough rows.
constexpr long ENOUGH_ROWS = 4 * BLOCK_ROWS;

// What the cell saves of a step: [rows, steps, vectors of units, saved, LANES], row by row, so that nobody touches the
// pages of padding.
INLINE float* saved_at(const Layer& layer, const CellData& cell, const Direction& direction, long row, long step) {
  const long of_step = divide_up(layer.hidden, LANES) * cell.saved * LANES;
  return direction.saved + row * layer.saved_stride + step * of_step;
}

// A vector of units, or several, with all slots of a stage. The sums of a panel for BLOCK_ROWS rows fill the registers,
// and the weights of a panel lie together, in the order in which they are read: the bias [units, slots], its part of
// w_x [words, units, slots of x] and its part of w_h [words, units, slots of h], where all elements are vectors.
struct Panel {
  int stage;
  long first, units;     // in vectors of units
  long bias, w_x, w_h;   // where they start among the packed words
};

template <class Format>
class Forward {
 public:
  Forward(const Layer& layer, const CellFunctions<Format>& cell)
      : layer_(layer), cell_(cell.data), functions_(cell) {
    for (int stage = 0; stage < cell_.stages; ++stage) {
      const Stage& of = cell_.stage[stage];
      const long full = BLOCK_VECTORS / of.slots.count;
      for (long vector = 0, units; vector < vectors_; vector += units) {
        units = vector + full <= vectors_ ? full : 1;
        const long bias = packed_words_, w_x = bias + units * of.slots.count * LANES;
        const long w_h = w_x + units * of.x.count * x_words_ * LANES;
        packed_words_ = w_h + units * of.h.count * h_words_ * LANES;
        panels_.push_back({stage, vector, units, bias, w_x, w_h});
      }
    }
  }

  long packed_words() const { return packed_words_; }
  long num_panels() const { return (long)panels_.size(); }

  void pack(const Direction& direction, long number, Word* packed) const {
    const Panel& panel = panels_[number];
    const Stage& stage = cell_.stage[panel.stage];
    const long hidden = layer_.hidden;
    Word* to = packed + panel.bias;
    for (long u = 0; u < panel.units; ++u)
      for (int slot = stage.slots.first; slot < stage.slots.end(); ++slot, to += LANES) {
        const long unit = (panel.first + u) * LANES, bias = cell_.bias_of_slot[slot];
        const float* from = (bias == RECURRENT_BIAS ? direction.b_hn : direction.b + bias * hidden) + unit;
        store(reinterpret_cast<float*>(to), load_first(from, hidden - unit));
      }
    pack_rows(panel, stage.x, direction.w_x, layer_.features, x_words_, packed + panel.w_x);
    pack_rows(panel, stage.h, direction.w_h, hidden, h_words_, packed + panel.w_h);
  }

  void run(const Direction& direction, const Block& block, const Word* packed) const {
    Work(*this, direction, block, packed).run();
  }

 private:
  void pack_rows(const Panel& panel, Slots slots, const float* w, long count, long words, Word* to) const {
    const long hidden = layer_.hidden, row = cell_.gates * hidden, columns = panel.units * slots.count * LANES;
    if ((panel.first + panel.units) * LANES > hidden || words * Format::NUMBERS > count)
      memset(to, 0, words * columns * sizeof(Word));
    for (long k = 0; k < count; k += Format::NUMBERS, to += columns)
      for (long u = 0; u < panel.units; ++u)
        for (int s = 0; s < slots.count; ++s) {
          const long unit = (panel.first + u) * LANES;
          const float* from = w + k * row + cell_.gate_of_slot[slots.first + s] * hidden + unit;
          Format::interleave(to + (u * slots.count + s) * LANES, from, k + 1 < count ? from + row : nullptr,
                             at_most(LANES, hidden - unit));
        }
  }

  // One block of rows, and what it needs while it runs.
  class Work {
   public:
    Work(const Forward& pass, const Direction& direction, const Block& block, const Word* packed)
        : pass_(pass),
          layer_(pass.layer_),
          cell_(pass.cell_),
          direction_(direction),
          block_(block),
          packed_(packed),
          count_(block.among(pass.layer_.batch)),
          at_once_(count_ >= ENOUGH_ROWS ? 1 : divide_up(2 * ENOUGH_ROWS, count_)),
          x_(count_ * at_once_ * pass.x_words_),
          projected_(at_once_ > 1 ? count_ * at_once_ * cell_.slots * pass.units_ : 0),
          h_(zeros<Word>(count_ * pass.h_words_)),
          next_h_(zeros<Word>(count_ * pass.h_words_)),
          operand_(zeros<Word>(cell_.stages > 1 ? count_ * pass.h_words_ : 0)),
          kept_(cell_.stages > 1 ? count_ * pass.units_ : 0),
          states_(zeros<float>(count_ * pass.units_)) {}

    void run() {
      start();
      const Rows& rows = block_.rows;
      for (long from = 0; from < rows.steps(); from += at_once_) {
        const long to = at_most(from + at_once_, rows.steps());
        const long pairs = read_x(from, to);
        if (at_once_ > 1) project(pairs);
        for (long step = from, pair = 0; step < to; ++step) {
          const long running = block_.among(rows.running(step));
          for (const Panel& panel : pass_.panels_) advance(panel, step, pair, running);
          std::swap(h_, next_h_);
          pair += running;
        }
      }
      finish();
    }

   private:
    // A row at a step in arrays [T, B, ...].
    long at(long k, long step) const {
      const long place = block_.place(k);
      return block_.rows.time(direction_.backwards, place, step) * layer_.batch + block_.rows.row(place);
    }
    float* output(long k, long step) const {
      return direction_.y + at(k, step) * layer_.num_directions * layer_.hidden;
    }

    void start() {
      const long hidden = layer_.hidden;
      for (long k = 0; k < count_; ++k) {
        const long place = block_.place(k), row = block_.rows.row(place);
        const float* state = cell_.has_c ? direction_.first_c : direction_.first_h;
        put_row<Format>(h_.data() + k * pass_.h_words_, direction_.first_h + row * hidden, hidden);
        memcpy(states_.data() + k * pass_.units_, state + row * hidden, hidden * sizeof(float));
        for (long time = block_.rows.length(place); time < layer_.time; ++time)
          memset(direction_.y + (time * layer_.batch + row) * layer_.num_directions * hidden, 0,
                 hidden * sizeof(float));
      }
    }

    void finish() {
      const long hidden = layer_.hidden;
      for (long k = 0; k < count_; ++k) {
        const long place = block_.place(k), row = block_.rows.row(place), length = block_.rows.length(place);
        const float* h = length ? output(k, length - 1) : direction_.first_h + row * hidden;
        memcpy(direction_.last_h + row * hidden, h, hidden * sizeof(float));
        if (cell_.has_c)
          memcpy(direction_.last_c + row * hidden, states_.data() + k * pass_.units_, hidden * sizeof(float));
      }
    }

    // The inputs of some steps as operands, one pair of step and row after the other; their number.
    long read_x(long from, long to) {
      long pairs = 0;
      for (long step = from; step < to; ++step)
        for (long k = 0, running = block_.among(block_.rows.running(step)); k < running; ++k, ++pairs)
          put_row<Format>(x_.data() + pairs * pass_.x_words_, layer_.x + at(k, step) * layer_.features,
                          layer_.features);
      return pairs;
    }

    // Bias and product of x, for several steps: [pairs, slots, units], where a panel's part is laid out as its bias is.
    float* projection(const Panel& panel, long pair) const {
      const Slots slots = cell_.stage[panel.stage].slots;
      return projected_.data() + (pair * cell_.slots + slots.first) * pass_.units_ + panel.first * slots.count * LANES;
    }

    void project(long pairs) {
      std::vector<const Word*> operands(pairs);
      std::vector<float*> sums(pairs);
      for (const Panel& panel : pass_.panels_) {
        const Stage& stage = cell_.stage[panel.stage];
        for (long pair = 0; pair < pairs; ++pair) {
          float* start = projection(panel, pair);
          memcpy(start, packed_ + panel.bias, panel.units * stage.slots.count * LANES * sizeof(float));
          operands[pair] = x_.data() + pair * pass_.x_words_;
          sums[pair] = start + (stage.x.first - stage.slots.first) * LANES;
        }
        product<Format>(pairs, operands.data(), 1, packed_ + panel.w_x, pass_.x_words_,
                        panel.units * stage.x.count * LANES, sums.data(), true);
      }
    }

    // One panel of one step, of the first `running` rows.
    void advance(const Panel& panel, long step, long pair, long running) {
      const Stage& stage = cell_.stage[panel.stage];
      const auto preactivations = pass_.preactivations_of(stage, panel.units);
      const bool is_last = panel.stage == cell_.stages - 1, saves = stage.saved.count && direction_.saved;
      const long unit = panel.first * LANES, x_words = pass_.x_words_, h_words = pass_.h_words_;
      for (long first = 0, rows; first < running; first += rows) {
        rows = rows_of_block(running - first);
        Operands from = {};
        from.start = at_once_ > 1 ? projection(panel, pair + first) : (const float*)(packed_ + panel.bias);
        from.start_stride = at_once_ > 1 ? cell_.slots * pass_.units_ : 0;
        from.x = at_once_ > 1 ? nullptr : x_.data() + (pair + first) * x_words;
        from.x_words = x_words;
        from.w_x = packed_ + panel.w_x;
        from.h = (panel.stage ? operand_ : h_).data() + first * h_words;
        from.h_words = h_words;
        from.w_h = packed_ + panel.w_h;
        Floats pre[BLOCK_ROWS * BLOCK_VECTORS], results[BLOCK_ROWS * BLOCK_VECTORS];
        preactivations(rows, from, pre);

        float* saved[BLOCK_ROWS];
        for (long r = 0; saves && r < rows; ++r)
          saved[r] = saved_at(layer_, cell_, direction_, block_.rows.row(block_.place(first + r)), step) +
                     unit * cell_.saved;
        const long state = first * pass_.units_ + unit;
        pass_.functions_.forward[panel.stage]({rows, panel.units, pre, states_.data() + state, kept_.data() + state,
                                               pass_.units_, saves ? saved : nullptr, results});

        Word* operands = (is_last ? next_h_ : operand_).data() + first * h_words;
        for (long r = 0; r < rows; ++r)
          for (long u = 0; u < panel.units; ++u) {
            const Floats result = results[r * panel.units + u];
            const long column = unit + u * LANES;
            Format::put(operands + r * h_words, column, result);
            if (is_last) store_first(output(first + r, step) + column, result, layer_.hidden - column);
          }
      }
    }

    const Forward& pass_;
    const Layer& layer_;
    const CellData& cell_;
    const Direction& direction_;
    const Block& block_;
    const Word* packed_;
    const long count_, at_once_;  // rows; steps of which x is projected together
    Array<Word> x_;
    Array<float> projected_;
    Array<Word> h_, next_h_, operand_;  // operands of the products of h: of this step, of the next, of the second stage
    Array<float> kept_, states_;
  };

  // The products for the shape of a panel.
  static auto preactivations_of(const Stage& stage, long units) {
    if (stage.x.count < stage.slots.count) return preactivations<Format, 4, 0, 3, 1, 3>;  // a GRU with its own b_hn
    switch (units * stage.slots.count) {
      case 1: return preactivations<Format, 1, 0, 1, 0, 1>;
      case 2: return preactivations<Format, 2, 0, 2, 0, 2>;
      default: return preactivations<Format, 4, 0, 4, 0, 4>;
    }
  }

  const Layer& layer_;
  const CellData& cell_;
  const CellFunctions<Format>& functions_;
  const long vectors_ = divide_up(layer_.hidden, LANES), units_ = vectors_ * LANES;  // units with the padding
  const long x_words_ = words<Format>(layer_.features), h_words_ = words<Format>(units_);
  std::vector<Panel> panels_;
  long packed_words_ = 0;
};

template <class Format>
void run_forward(const Layer& layer, const CellFunctions<Format>& cell, const Team& team) {
  const Rows rows(layer);
  const Forward<Format> pass(layer, cell);
  const long directions = layer.num_directions, panels = pass.num_panels();
  const Array<Word> packed(directions * pass.packed_words());
  const auto packed_of = [&](long number) { return packed.data() + number * pass.packed_words(); };
  for (long k = 0; k < directions; ++k)
    advise_huge_pages(layer.directions[k].saved, layer.batch * layer.saved_stride * (long)sizeof(float));
  team.run(directions * panels, [&](long item, long) {
    pass.pack(layer.directions[item / panels], item % panels, packed_of(item / panels));
  });
  const long blocks = at_most(layer.batch, divide_up(team.threads, directions));
  team.run(directions * blocks, [&](long item, long) {
    const long direction = item % directions;
    pass.run(layer.directions[direction], Block{rows, item / directions, blocks}, packed_of(direction));
  });
}

}  // namespace jaxrnn
