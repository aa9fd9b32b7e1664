// A layer's arrays and sizes: what the handlers get from JAX and the loops work on. Plain data.
#pragma once

#include <cstdint>
#include <functional>

namespace jaxrnn {

// The numbers are those of CELLS in backend.py.
enum class CellName : int64_t { ELMAN_TANH, ELMAN_RELU, LSTM, GRU_RESET_AFTER, GRU_RESET_BEFORE, COUNT };

struct CellSizes {
  long gates, saved;  // gates of the weights; floats that are saved for each unit and step
  bool has_c, has_b_hn;
};

// One direction, with weights and states of its own. Null are what the cell or the pass does not have.
struct Direction {
  bool backwards;                              // from each row's last step to its first
  const float *w_x, *w_h, *b, *b_hn;           // [D, G, H], [H, G, H], [G, H], [H]
  const float *first_h, *first_c;              // [B, H]
  float* y;                                    // [T, B, directions * H], from this direction's first column
  float *last_h, *last_c;                      // [B, H]
  float* saved;                                // [B, saved_stride]
  const float *d_y, *d_last_h, *d_last_c;      // as y and the last states
  float *d_w_x, *d_w_h, *d_b, *d_b_hn;         // as the weights
  float *d_first_h, *d_first_c;                // as the first states
};

constexpr int MOST_DIRECTIONS = 2;

struct Layer {
  CellName cell;
  bool narrow;  // whether the operands of products are rounded to bfloat16
  long time, batch, features, hidden, saved_stride;
  int num_directions;
  const int32_t* lengths;  // [B]
  const float* x;          // [T, B, D]
  float* d_x;              // the same
  Direction directions[MOST_DIRECTIONS];
};

// Calls function(item, worker) for each item from 0 to count - 1, on several threads, and returns when all have
// returned. The workers are numbered below `threads`, and none runs two items at once.
using Function = std::function<void(long item, long worker)>;
struct Team {
  long threads;
  std::function<void(long count, const Function&)> run;
};

CellSizes sizes_of(CellName);
void forward(const Layer&, const Team&);  // writes y and the last states, and saved where it is not null
void pull(const Layer&, const Team&);     // reads y and saved, and writes the gradients

}  // namespace jaxrnn
