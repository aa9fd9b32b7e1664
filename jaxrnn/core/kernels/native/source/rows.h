// The rows of a batch by length, and their division into blocks.
#pragma once

#include <algorithm>
#include <vector>

#include "layer.h"

namespace jaxrnn {

// The rows, longest first: those that have a step are always the first ones. A row is known by its place in this order.
class Rows {
 public:
  explicit Rows(const Layer& layer) : layer_(layer), rows_(layer.batch), lengths_(layer.batch) {
    for (long row = 0; row < layer.batch; ++row) rows_[row] = (int32_t)row;
    std::stable_sort(rows_.begin(), rows_.end(), [&](int32_t a, int32_t b) { return bounded(a) > bounded(b); });
    for (long place = 0; place < layer.batch; ++place) lengths_[place] = bounded(rows_[place]);
    running_.assign(layer.batch ? lengths_[0] : 0, 0);
    for (long place = layer.batch - 1, step = 0; place >= 0; --place)
      for (; step < lengths_[place]; ++step) running_[step] = place + 1;
  }

  long steps() const { return (long)running_.size(); }
  long running(long step) const { return running_[step]; }  // rows that have this step
  long row(long place) const { return rows_[place]; }
  long length(long place) const { return lengths_[place]; }
  long time(bool backwards, long place, long step) const { return backwards ? lengths_[place] - 1 - step : step; }

 private:
  // Under jit the values of the lengths are the caller's promise; memory is not to depend on it.
  long bounded(long row) const { return std::clamp<long>(layer_.lengths[row], 0, layer_.time); }

  const Layer& layer_;
  std::vector<int32_t> rows_;
  std::vector<long> lengths_, running_;
};

// Every `stride`-th row from the place `first` on, so that all blocks have rows of alike lengths.
struct Block {
  const Rows& rows;
  long first, stride;
  long place(long k) const { return first + k * stride; }
  long among(long count) const { return count > first ? (count - first + stride - 1) / stride : 0; }  // the first rows
};

}  // namespace jaxrnn
