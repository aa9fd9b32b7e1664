// Runs every pass on arrays of exactly the sizes that are promised, by one thread and by several, and compares the bits.
// test_native_sanitizers.py compiles it with the sanitizers, which look for reads and writes that are out of bounds and
// for threads that meet.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "layer.h"
#include "team.h"

namespace {

using namespace jaxrnn;

struct Sizes {
  long time, batch, features, hidden, directions;
};

const Sizes SIZES[] = {{9, 7, 3, 17, 2}, {4, 3, 5, 100, 1}, {1, 1, 1, 1, 2}, {0, 2, 3, 4, 2},
                       {3, 0, 2, 3, 1},  {5, 40, 2, 3, 2},  {40, 30, 70, 64, 2}};

// A thread for each task, as a pool has them at hand.
class Threads {
 public:
  ~Threads() {
    for (std::thread& thread : threads_) thread.join();
  }
  Team team(long count) {
    return make_team(count, [this](auto task) { threads_.emplace_back(std::move(task)); });
  }

 private:
  std::vector<std::thread> threads_;
};

class Problem {
 public:
  Problem(CellName cell, bool narrow, const Sizes& sizes) : random_(1) {
    const CellSizes of_cell = sizes_of(cell);
    const auto& [time, batch, features, hidden, directions] = sizes;
    const long columns = of_cell.gates * hidden, states = batch * hidden, steps = time * batch;
    const long lanes = 16, of_step = of_cell.saved * ((hidden + lanes - 1) / lanes * lanes);
    layer_.cell = cell, layer_.narrow = narrow;
    layer_.time = time, layer_.batch = batch, layer_.features = features, layer_.hidden = hidden;
    layer_.saved_stride = time * of_step;
    layer_.num_directions = (int)directions;
    for (long row = 0; row < batch; ++row) lengths_.push_back((int32_t)(random_() % (time + 1)));
    layer_.lengths = lengths_.data();
    layer_.x = input(steps * features);
    layer_.d_x = result(steps * features);
    float *y = result(steps * hidden * directions), *d_y = input(steps * hidden * directions);
    for (long k = 0; k < directions; ++k) {
      Direction& of = layer_.directions[k];
      of.backwards = k == 1;
      of.w_x = input(features * columns), of.w_h = input(hidden * columns), of.b = input(columns);
      of.d_w_x = result(features * columns), of.d_w_h = result(hidden * columns), of.d_b = result(columns);
      of.first_h = input(states), of.d_last_h = input(states);
      of.last_h = result(states), of.d_first_h = result(states);
      of.y = y + k * hidden, of.d_y = d_y + k * hidden;
      of.saved = scratch(batch * layer_.saved_stride);
      if (of_cell.has_b_hn) of.b_hn = input(hidden), of.d_b_hn = result(hidden);
      if (!of_cell.has_c) continue;
      of.first_c = input(states), of.d_last_c = input(states);
      of.last_c = result(states), of.d_first_c = result(states);
    }
  }

  // All results of both passes, which are not zero at first.
  std::vector<float> run(long threads) {
    for (std::vector<float>& array : results_) array.assign(array.size(), NAN);
    Threads pool;
    const Team team = pool.team(threads);
    forward(layer_, team);
    pull(layer_, team);
    std::vector<float> all;
    for (const std::vector<float>& array : results_) all.insert(all.end(), array.begin(), array.end());
    return all;
  }

 private:
  float* input(long count) {
    inputs_.emplace_back(count);
    for (float& number : inputs_.back()) number = (float)((int)(random_() % 2001) - 1000) * 3e-4f;
    return inputs_.back().data();
  }
  float* result(long count) {
    results_.emplace_back(count);
    return results_.back().data();
  }
  float* scratch(long count) {
    inputs_.emplace_back(count);
    return inputs_.back().data();
  }

  std::mt19937 random_;
  Layer layer_ = {};
  std::vector<int32_t> lengths_;
  std::vector<std::vector<float>> inputs_, results_;  // moved when they grow, which leaves their memory in place
};

}  // namespace

int main() {
  for (long cell = 0; cell < (long)CellName::COUNT; ++cell)
    for (bool narrow : {false, true})
      for (const Sizes& sizes : SIZES) {
        Problem problem((CellName)cell, narrow, sizes);
        const std::vector<float> expected = problem.run(1);
        for (float number : expected)
          if (!std::isfinite(number)) return std::puts("not all results were written"), 1;
        for (long threads : {2, 5})
          if (const auto found = problem.run(threads);
              memcmp(found.data(), expected.data(), expected.size() * sizeof(float)))
            return std::puts("the number of threads makes a difference"), 1;
      }
  return 0;
}
