// Matrix products over blocks of rows and vectors that fill the registers.
#pragma once

#include "formats.h"

namespace jaxrnn {

// sums[row][FIRST + vector] += Σ_k a[row][k] b[k][vector], for `count` words k. The rows of a have words `step` apart,
// and b has COUNT vectors for each k.
template <class Format, int FIRST, int COUNT, int ROWS, int VECTORS>
INLINE void multiply_add(Floats (&sums)[ROWS][VECTORS], const Word* const (&a)[ROWS], long step, const Word* b,
                         long count) {
  for (long k = 0, at = 0; k < count; ++k, at += step, b += COUNT * LANES) {
    Words vectors[COUNT];
#pragma GCC unroll 8
    for (int v = 0; v < COUNT; ++v) vectors[v] = *reinterpret_cast<const UnalignedWords*>(b + v * LANES);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      const Word number = a[r][at];
#pragma GCC unroll 8
      for (int v = 0; v < COUNT; ++v)
        sums[r][FIRST + v] = Format::multiply_add(sums[r][FIRST + v], number, vectors[v]);
    }
  }
}

template <int NUMBER>
struct Constant {
  static constexpr int value = NUMBER;
};

// How many of `left` rows the next block has: as many as fill the registers, or a number that leaves no small rest.
INLINE long rows_of_block(long left) {
  return left >= 2 * BLOCK_ROWS ? BLOCK_ROWS : left > BLOCK_ROWS ? (left + 1) / 2 : left;
}

// Calls function(Constant of rows) for that many rows, at most BLOCK_ROWS.
template <class Function>
INLINE void for_rows(long rows, Function&& function) {
  switch (rows) {
    case 1: return function(Constant<1>{});
    case 2: return function(Constant<2>{});
    case 3: return function(Constant<3>{});
#if BLOCK_ROWS_ABOVE_3
    case 4: return function(Constant<4>{});
    case 5: return function(Constant<5>{});
    default: return function(Constant<6>{});
#endif
  }
}

// to[row] (+)= Σ_k a[row][k] b[k], for columns of `width` floats in VECTORS vectors, of which the last may be cut in
// `to`; b has whole vectors. The rows of a have words `step` apart. The sum is taken in the order of k.
template <class Format, int VECTORS>
void product_of(long rows, const Word* const* a, long step, const Word* b, long count, long width, float* const* to,
                bool add) {
  for (long first = 0; first < rows; first += rows_of_block(rows - first))
    for_rows(rows_of_block(rows - first), [&](auto block) {
      constexpr int ROWS = decltype(block)::value;
      Floats sums[ROWS][VECTORS];
      const Word* operands[ROWS];
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r) {
        operands[r] = a[first + r];
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; ++v)
          sums[r][v] = add ? load_first(to[first + r] + v * LANES, width - v * LANES) : Floats{};
      }
      multiply_add<Format, 0, VECTORS>(sums, operands, step, b, count);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; ++v) store_first(to[first + r] + v * LANES, sums[r][v], width - v * LANES);
    });
}

// The same for up to BLOCK_VECTORS vectors.
template <class Format>
void product(long rows, const Word* const* a, long step, const Word* b, long count, long width, float* const* to,
             bool add) {
  switch (divide_up(width, LANES)) {
    case 1: return product_of<Format, 1>(rows, a, step, b, count, width, to, add);
    case 2: return product_of<Format, 2>(rows, a, step, b, count, width, to, add);
    case 3: return product_of<Format, 3>(rows, a, step, b, count, width, to, add);
    default: return product_of<Format, 4>(rows, a, step, b, count, width, to, add);
  }
}

// The operands of pre-activations: what the sums start from, x and h with their weights. Rows are `stride` apart; x is
// null where its product is in the start already.
struct Operands {
  const float* start;
  long start_stride;
  const Word *x, *w_x;
  long x_words;
  const Word *h, *w_h;
  long h_words;
};

// pre[rows][VECTORS] = start + x w_x + h w_h, of at most BLOCK_ROWS rows. The product of x has X_COUNT vectors, which
// add to those from X_FIRST on, and that of h likewise.
template <class Format, int VECTORS, int X_FIRST, int X_COUNT, int H_FIRST, int H_COUNT>
void preactivations(long rows, const Operands& from, Floats* pre) {
  for_rows(rows, [&](auto block) {
    constexpr int ROWS = decltype(block)::value;
    Floats sums[ROWS][VECTORS];
    const Word *x[ROWS], *h[ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      x[r] = from.x + r * from.x_words;
      h[r] = from.h + r * from.h_words;
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; ++v) sums[r][v] = load(from.start + r * from.start_stride + v * LANES);
    }
    if (from.x) multiply_add<Format, X_FIRST, X_COUNT>(sums, x, 1, from.w_x, from.x_words);
    multiply_add<Format, H_FIRST, H_COUNT>(sums, h, 1, from.w_h, from.h_words);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; ++v) pre[r * VECTORS + v] = sums[r][v];
  });
}

}  // namespace jaxrnn
