// The backward pass: from the gradients of outputs and last states to those of everything that went in.
//
// The steps are run in chunks, from the last to the first, and a chunk in two phases. In the first, blocks of rows run
// through the steps of the chunk: pointwise derivatives, which give the gradients d_pre of the pre-activations, and the
// products that take them to the h of the step before. In the second come the products that need no order: the
// gradients of the weights, whose tiles are divided among the threads, and that of x. The d_pre of a chunk stays in the
// cache. As each element of a result is summed by one thread in the order of the steps and rows, the results do not
// depend on how many threads there are.
//
// A pair is a row at a step. The pairs of a chunk are numbered, its last step first, and by place within a step.
#pragma once

#include <vector>

#include "forward.h"

namespace jaxrnn {

// Pairs of a chunk, over which the products of the second phase sum: as many as have a d_pre of so many words, which is
// half of what the second cache of a core holds.
constexpr long FEWEST_PAIRS = 256, MOST_PAIRS = 512, WORDS_OF_CHUNK = 1 << 18;
constexpr long LINE = 16;           // words of a cache line
constexpr long PAIRS_OF_ITEM = 64;  // whose operands one item of the first phase gathers

// Neighbouring steps, from `first` to `last` - 1.
struct Chunk {
  long first, last;
  std::vector<long> pair_of_step;  // the first pair of each
  long pairs = 0;
  bool is_last_of_all;  // the first that is run

  Chunk(const Rows& rows, long last_step, long most_pairs)
      : last(last_step), is_last_of_all(last_step == rows.steps()) {
    for (first = last; first > 0 && (first == last || pairs + rows.running(first - 1) <= most_pairs); --first)
      pairs += rows.running(first - 1);
    pair_of_step.resize(last - first);
    for (long step = last - 1, pair = 0; step >= first; --step) {
      pair_of_step[step - first] = pair;
      pair += rows.running(step);
    }
  }
  long pair(long step, long place) const { return pair_of_step[step - first] + place; }
};

template <class Format>
class Pull {
 public:
  Pull(const Layer& layer, const CellFunctions<Format>& cell, const Rows& rows, const Team& team)
      : layer_(layer), cell_(cell.data), functions_(cell), rows_(rows), team_(team) {
    for (long k = 0; k < layer.num_directions; ++k)
      runs_.push_back(Run{layer.directions[k],
                          Array<Word>(packed_words()),
                          Array<float>(layer.batch * units_),
                          Array<float>(cell_.has_c ? layer.batch * units_ : 0),
                          Array<float>(cell_.stages > 1 ? layer.batch * units_ : 0),
                          Array<Word>(most_pairs_ * d_pre_words_),
                          Array<Word>(most_words_ * operand_columns_)});
    for (long k = 0; k < team.threads; ++k)
      tiles_.emplace_back(most_words_ * PANEL);
  }

  void run() {
    const long directions = layer_.num_directions;
    const long panels = num_panels();
    team_.run(directions * panels, [&](long item, long) { pack(runs_[item / panels], item % panels); });
    const long blocks = at_most(layer_.batch, divide_up(team_.threads, directions));
    team_.run(directions * blocks, [&](long item, long) {
      start(runs_[item % directions], Block{rows_, item / directions, blocks}, item % directions == 0);
    });
    if (!rows_.steps()) clear_weights();
    for (long last = rows_.steps(); last > 0;) {
      const Chunk chunk(rows_, last, pairs_of_chunk_);
      last = chunk.first;
      run_chunk(chunk, blocks);
    }
    for (Run& run : runs_)
      for (long place = 0; place < layer_.batch; ++place) finish(run, place);
  }

 private:
  // A direction while it runs. Arrays of rows are in the order of their places.
  struct Run {
    const Direction& direction;
    Array<Word> packed;        // the weights turned round: of h, stage by stage, then of x
    Array<float> d_h, d_c;     // [B, units]
    Array<float> d_operand;    // [B, units], of the second stage's operand
    Array<Word> d_pre;         // [pairs, slots, units]
    Array<Word> operands;      // of the gradients of the weights
  };

  long packed_words() const {
    return (units_ * h_slots(cell_.stages) + round_up(layer_.features, LANES) * x_slots_.count) * unit_words_;
  }
  long h_slots(int before) const {  // of the stages before this one
    long count = 0;
    for (int stage = 0; stage < before; ++stage) count += cell_.stage[stage].h.count;
    return count;
  }

  // --- The weights, turned round: [panels of columns, slots, words of units, columns of the panel]. ---

  static constexpr long PANEL = BLOCK_VECTORS * LANES;
  long num_h_panels() const { return divide_up(units_, PANEL); }  // of each stage
  long num_x_panels() const { return divide_up(layer_.features, PANEL); }
  long num_panels() const { return cell_.stages * num_h_panels() + num_x_panels(); }

  Word* packed_h(const Run& run, int stage) const { return run.packed.data() + units_ * h_slots(stage) * unit_words_; }
  Word* packed_x(const Run& run) const { return packed_h(run, cell_.stages); }

  void pack(const Run& run, long number) const {
    const int stage = (int)(number / num_h_panels());
    if (stage < cell_.stages)
      return pack_panel(run.direction.w_h, layer_.hidden, cell_.stage[stage].h, number % num_h_panels(),
                        packed_h(run, stage));
    pack_panel(run.direction.w_x, layer_.features, x_slots_, number - cell_.stages * num_h_panels(), packed_x(run));
  }

  void pack_panel(const float* w, long count, Slots slots, long panel, Word* packed) const {
    const long first = panel * PANEL, width = at_most(PANEL, round_up(count, LANES) - first), hidden = layer_.hidden;
    Word* to = packed + first * slots.count * unit_words_;
    memset(to, 0, width * slots.count * unit_words_ * sizeof(Word));
    // A few columns and a cache line of units at a time: neighbouring columns lie a large power of two apart, and more
    // of them would not stay in the cache.
    constexpr long COLUMNS = 8, UNITS = 16;
    for (int slot = slots.first; slot < slots.end(); ++slot, to += width * unit_words_)
      for (long column = 0; column < at_most(width, count - first); column += COLUMNS)
        for (long unit = 0; unit < hidden; unit += UNITS) {
          const long columns = at_most(COLUMNS, count - first - column), units = at_most(UNITS, hidden - unit);
          float tile[UNITS][COLUMNS] = {};
          for (long c = 0; c < columns; ++c) {
            const float* from = w + ((first + column + c) * cell_.gates + cell_.gate_of_slot[slot]) * hidden + unit;
            for (long u = 0; u < units; ++u) tile[u][c] = from[u];
          }
          for (long u = 0; u < units; u += Format::NUMBERS)
            Format::interleave(to + (unit + u) / Format::NUMBERS * width + column, tile[u],
                               Format::NUMBERS == 2 ? tile[u + 1] : nullptr, at_most(COLUMNS, width - column));
        }
  }

  // --- Before the first chunk, and after the last. ---

  void start(const Run& run, const Block& block, bool clears_x) const {
    const long hidden = layer_.hidden, features = layer_.features;
    for (long k = 0; k < block.among(layer_.batch); ++k) {
      const long place = block.place(k), row = rows_.row(place);
      copy_row(run.d_h.data() + place * units_, run.direction.d_last_h + row * hidden);
      if (cell_.has_c) copy_row(run.d_c.data() + place * units_, run.direction.d_last_c + row * hidden);
      if (!clears_x) continue;
      for (long time = rows_.length(place); time < layer_.time; ++time)
        memset(layer_.d_x + (time * layer_.batch + row) * features, 0, features * sizeof(float));
    }
  }

  void copy_row(float* to, const float* from) const {
    memcpy(to, from, layer_.hidden * sizeof(float));
    memset(to + layer_.hidden, 0, (units_ - layer_.hidden) * sizeof(float));
  }

  void finish(const Run& run, long place) const {
    const long hidden = layer_.hidden, row = rows_.row(place);
    memcpy(run.direction.d_first_h + row * hidden, run.d_h.data() + place * units_, hidden * sizeof(float));
    if (cell_.has_c)
      memcpy(run.direction.d_first_c + row * hidden, run.d_c.data() + place * units_, hidden * sizeof(float));
  }

  // Where no row has a step, no chunk writes the gradients of the weights.
  void clear_weights() const {
    const long columns = cell_.gates * layer_.hidden;
    for (const Run& run : runs_) {
      memset(run.direction.d_w_x, 0, layer_.features * columns * sizeof(float));
      memset(run.direction.d_w_h, 0, layer_.hidden * columns * sizeof(float));
      memset(run.direction.d_b, 0, columns * sizeof(float));
      if (run.direction.d_b_hn) memset(run.direction.d_b_hn, 0, layer_.hidden * sizeof(float));
    }
  }

  void run_chunk(const Chunk& chunk, long blocks) {
    const long directions = layer_.num_directions;
    const long gathers = divide_up(chunk.pairs, PAIRS_OF_ITEM);
    team_.run(directions * (blocks + gathers), [&](long item, long) {
      const Run& run = runs_[item % directions];
      const long number = item / directions;
      if (number < blocks)
        through_steps(run, chunk, Block{rows_, number, blocks});
      else
        gather(run, chunk, (number - blocks) * PAIRS_OF_ITEM);
    });
    const long running = rows_.running(chunk.first), for_x = at_most(running, 2 * team_.threads);
    const long tiles = cell_.slots * tiles_of_slot();
    team_.run(for_x + directions * tiles, [&](long item, long worker) {
      if (item < for_x) return input_gradients(chunk, Block{rows_, item, for_x});
      const long number = item - for_x;
      weight_gradients(runs_[number % directions], chunk, number / directions, tiles_[worker].data());
    });
  }

  // --- First phase. ---

  void through_steps(const Run& run, const Chunk& chunk, const Block& block) const {
    std::vector<const Word*> operands(block.among(rows_.running(chunk.first)));
    std::vector<float*> results(operands.size());
    for (long step = chunk.last - 1; step >= chunk.first; --step) {
      const long running = block.among(rows_.running(step));
      for (int stage = cell_.stages - 1; stage >= 0; --stage)
        back(run, stage, chunk, block, step, running, operands.data(), results.data());
    }
  }

  // The derivative of a stage's function, and the product that takes it to the stage's operand.
  void back(const Run& run, int stage, const Chunk& chunk, const Block& block, long step, long running,
            const Word** operands, float** results) const {
    const Slots h = cell_.stage[stage].h;
    const Array<float>& result = stage ? run.d_operand : run.d_h;
    for (long k = 0; k < running; ++k) {
      const long place = block.place(k);
      Word* d_pre = run.d_pre.data() + chunk.pair(step, place) * d_pre_words_;
      functions_.pull[stage](arrays_of(run, place, step, d_pre));
      operands[k] = d_pre + h.first * unit_words_;
      results[k] = result.data() + place * units_;
    }
    const Word* w = packed_h(run, stage);
    for (long column = 0; column < units_; column += PANEL) {
      product<Format>(running, operands, 1, w + column * h.count * unit_words_, h.count * unit_words_,
                      at_most(PANEL, units_ - column), results, stage == 0);
      for (long k = 0; k < running; ++k) results[k] += PANEL;
    }
  }

  PullArrays arrays_of(const Run& run, long place, long step, Word* d_pre) const {
    const Direction& direction = run.direction;
    const long row = rows_.row(place), output = output_at(direction, place, step);
    PullArrays arrays = {};
    arrays.hidden = layer_.hidden;
    arrays.saved = saved_at(layer_, cell_, direction, row, step);
    arrays.saved_before = step ? saved_at(layer_, cell_, direction, row, step - 1) : nullptr;
    arrays.seen = cell_.sees_output ? direction.y + output
                  : cell_.has_c     ? direction.first_c + row * layer_.hidden
                                    : h_before(direction, place, step);
    arrays.d_y = direction.d_y + output;
    arrays.d_h = run.d_h.data() + place * units_;
    arrays.d_c = run.d_c.data() + place * units_;
    arrays.d_operand = run.d_operand.data() + place * units_;
    arrays.d_pre = d_pre;
    return arrays;
  }

  const float* h_before(const Direction& direction, long place, long step) const {
    return step ? direction.y + output_at(direction, place, step - 1)
                : direction.first_h + rows_.row(place) * layer_.hidden;
  }

  long input_at(const Direction& direction, long place, long step) const {
    return (rows_.time(direction.backwards, place, step) * layer_.batch + rows_.row(place)) * layer_.features;
  }
  long output_at(const Direction& direction, long place, long step) const {
    return (rows_.time(direction.backwards, place, step) * layer_.batch + rows_.row(place)) * layer_.num_directions *
           layer_.hidden;
  }

  // The left operands of the gradients of the weights, of PAIRS_OF_ITEM pairs: x, 1, h, and r ⊙ h of two stages. They
  // are stored cache line by cache line, [lines of columns, words of pairs, LINE], as the products read a few columns
  // of all pairs at a time.
  void gather(const Run& run, const Chunk& chunk, long from) const {
    const long to = at_most(from + PAIRS_OF_ITEM, chunk.pairs), features = layer_.features, hidden = layer_.hidden;
    const float *x[2] = {}, *h[2] = {};
    const Array<float> scaled(cell_.stages > 1 ? 2 * units_ : 0);
    const Array<Word> operands(operand_columns_);
    Word* const row = operands.data();
    long step = chunk.last - 1;
    for (long pair = from; pair < to;) {
      const long word = pair / Format::NUMBERS;
      long count = 0;
      for (; count < Format::NUMBERS && pair < to; ++count, ++pair) {
        while (pair >= chunk.pair(step, rows_.running(step))) --step;
        const long place = pair - chunk.pair(step, 0);
        x[count] = layer_.x + input_at(run.direction, place, step);
        h[count] = h_before(run.direction, place, step);
        if (cell_.stages > 1) reset(run, place, step, h[count], scaled.data() + count * units_);
      }
      const bool two = count == 2;
      Format::interleave(row, x[0], two ? x[1] : nullptr, features);
      row[features] = Format::word(1.0f, two ? 1.0f : 0.0f);
      Format::interleave(row + features + 1, h[0], two ? h[1] : nullptr, hidden);
      if (cell_.stages > 1)
        Format::interleave(row + features + 1 + hidden, scaled.data(), two ? scaled.data() + units_ : nullptr, hidden);
      for (long column = 0; column < operand_columns_; column += LINE)
        memcpy(operand(run, column) + word * LINE, row + column, LINE * sizeof(Word));
    }
  }

  Word* operand(const Run& run, long column) const {
    return run.operands.data() + column / LINE * most_words_ * LINE + column % LINE;
  }

  // r ⊙ h, the operand of the second stage of a GRU whose r comes before the product.
  void reset(const Run& run, long place, long step, const float* h, float* to) const {
    for (long vector = 0; vector < vectors_; ++vector) {
      const float* r = saved_at(layer_, cell_, run.direction, rows_.row(place), step) + vector * cell_.saved * LANES;
      store(to + vector * LANES, load(r) * load_first(h + vector * LANES, layer_.hidden - vector * LANES));
    }
  }

  // --- Second phase. ---

  // The gradient of x, of all pairs of some rows. Two directions meet a pair in different chunks: the one that comes
  // first writes, the other adds.
  void input_gradients(const Chunk& chunk, const Block& block) const {
    const long features = layer_.features;
    std::vector<const Word*> operands[2];
    std::vector<float*> results[2];
    for (const Run& run : runs_) {
      for (bool adds : {false, true}) operands[adds].clear(), results[adds].clear();
      for (long step = chunk.last - 1; step >= chunk.first; --step)
        for (long k = 0; k < block.among(rows_.running(step)); ++k) {
          const long place = block.place(k), others_step = rows_.length(place) - 1 - step;
          const bool is_second = &run != &runs_[0];
          const bool adds = layer_.num_directions == 2 &&
                            (others_step >= chunk.last || (is_second && others_step >= chunk.first));
          const Word* d_pre = run.d_pre.data() + chunk.pair(step, place) * d_pre_words_;
          operands[adds].push_back(d_pre + x_slots_.first * unit_words_);
          results[adds].push_back(layer_.d_x + input_at(run.direction, place, step));
        }
      const Word* w = packed_x(run);
      for (long column = 0; column < features; column += PANEL)
        for (bool adds : {false, true}) {
          product<Format>(operands[adds].size(), operands[adds].data(), 1, w + column * x_slots_.count * unit_words_,
                          x_slots_.count * unit_words_, at_most(PANEL, features - column), results[adds].data(), adds);
          for (float*& result : results[adds]) result += PANEL;
        }
    }
  }

  // The gradients of the weights of one slot, for up to BLOCK_VECTORS vectors of units.
  long tiles_of_slot() const { return divide_up(vectors_, BLOCK_VECTORS); }

  void weight_gradients(const Run& run, const Chunk& chunk, long tile, Word* d_pre) const {
    const int slot = (int)(tile / tiles_of_slot());
    const long unit = tile % tiles_of_slot() * PANEL, width = at_most(PANEL, units_ - unit);
    const long features = layer_.features, hidden = layer_.hidden, gate = cell_.gate_of_slot[slot];
    const long count = words<Format>(chunk.pairs), columns = cell_.gates * hidden;
    for (long k = 0; k < count; ++k) {
      const Word* row = run.d_pre.data() + k * Format::NUMBERS * d_pre_words_;
      const bool two = Format::NUMBERS == 2 && 2 * k + 1 < chunk.pairs;
      Format::interleave_rows(d_pre + k * width, row, two ? row + d_pre_words_ : nullptr, slot * units_ + unit, width);
    }
    const Direction& direction = run.direction;
    const long bias = cell_.bias_of_slot[slot];
    std::vector<const Word*> operands;
    std::vector<float*> results;
    if (x_slots_.has(slot))
      for (long k = 0; k < features; ++k) {
        operands.push_back(operand(run, k));
        results.push_back(direction.d_w_x + k * columns + gate * hidden + unit);
      }
    operands.push_back(operand(run, features));
    results.push_back((bias == RECURRENT_BIAS ? direction.d_b_hn : direction.d_b + bias * hidden) + unit);
    for (int stage = 0; stage < cell_.stages; ++stage)
      if (cell_.stage[stage].h.has(slot))
        for (long k = 0; k < hidden; ++k) {
          operands.push_back(operand(run, features + 1 + stage * hidden + k));
          results.push_back(direction.d_w_h + k * columns + gate * hidden + unit);
        }
    product<Format>(operands.size(), operands.data(), LINE, d_pre, count, at_most(width, hidden - unit),
                    results.data(), !chunk.is_last_of_all);
  }

  const Layer& layer_;
  const CellData& cell_;
  const CellFunctions<Format>& functions_;
  const Rows& rows_;
  const Team& team_;
  const Slots x_slots_ = {cell_.stage[0].x.first, cell_.last_stage().x.end() - cell_.stage[0].x.first};
  const long vectors_ = divide_up(layer_.hidden, LANES), units_ = vectors_ * LANES;
  const long unit_words_ = units_ / Format::NUMBERS;  // words of a slot
  const long d_pre_words_ = cell_.slots * unit_words_;
  const long pairs_of_chunk_ = std::clamp(WORDS_OF_CHUNK / d_pre_words_, FEWEST_PAIRS, MOST_PAIRS);
  const long most_pairs_ = std::max(pairs_of_chunk_, layer_.batch), most_words_ = words<Format>(most_pairs_);
  const long operand_columns_ = round_up(layer_.features + 1 + cell_.stages * layer_.hidden, LINE);
  std::vector<Run> runs_;
  std::vector<Array<Word>> tiles_;  // of each worker: the d_pre of one tile
};

template <class Format>
void run_pull(const Layer& layer, const CellFunctions<Format>& cell, const Team& team) {
  const Rows rows(layer);
  Pull<Format>(layer, cell, rows, team).run();
}

}  // namespace jaxrnn
