// The formats of the operands of matrix products.
//
// An operand is an array of 32-bit words: one float, or a pair of bfloat16 that are neighbours along the axis over
// which the product sums. So the loops over words, and the layouts of all operands, are the same for every format.
// Sums are float32 in all of them.
#pragma once

#include "vectors.h"

namespace jaxrnn {

typedef uint32_t Word;

INLINE Word bits(float value) {
  Word word;
  memcpy(&word, &value, 4);
  return word;
}

INLINE float value(Word word) {
  float number;
  memcpy(&number, &word, 4);
  return number;
}

// To the nearest bfloat16, ties to even, in the upper half of a word. NaN stays NaN.
INLINE Word rounded(Word word) {
  const Word up = word + 0x7fff + ((word >> 16) & 1);
  return (word & 0x7fffffff) > 0x7f800000 ? word | 0x400000 : up;
}
INLINE Words rounded(Words words) {
  const Words up = words + 0x7fff + ((words >> 16) & 1);
  return (words & 0x7fffffff) > 0x7f800000 ? words | 0x400000 : up;
}

struct Float32 {
  static constexpr long NUMBERS = 1;  // in a word

  static INLINE Floats multiply_add(Floats sum, Word a, Words b) { return sum + value(a) * (Floats)b; }

  static INLINE Word word(float first, float) { return bits(first); }

  // Numbers of a row, at `column`, a multiple of LANES.
  static INLINE void put(Word* row, long column, Floats numbers) {
    *reinterpret_cast<UnalignedWords*>(row + column) = (Words)numbers;
  }

  // One row of words from `count` columns of two rows of numbers, of which the second is null where there is none.
  static INLINE void interleave(Word* to, const float* first, const float*, long count) {
    memcpy(to, first, 4 * count);
  }

  // The same from two rows that were `put`, for whole vectors.
  static INLINE void interleave_rows(Word* to, const Word* first, const Word*, long column, long count) {
    memcpy(to, first + column, 4 * count);
  }
};

#if defined(__AVX512BF16__)

struct BFloat16 {
  static constexpr long NUMBERS = 2;

  static INLINE Floats multiply_add(Floats sum, Word a, Words b) {
    return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)a), (__m512bh)b);
  }

  static INLINE Word word(float first, float second) {
    return rounded(bits(first)) >> 16 | (rounded(bits(second)) & 0xffff0000u);
  }

  static INLINE void put(Word* row, long column, Floats numbers) {
    const __m256bh narrow = _mm512_cvtneps_pbh((__m512)numbers);
    memcpy(reinterpret_cast<uint16_t*>(row) + column, &narrow, sizeof narrow);
  }

  static INLINE void interleave(Word* to, const float* first, const float* second, long count) {
    long column = 0;
    for (; column + LANES <= count; column += LANES) {
      const Words low = rounded((Words)load(first + column)) >> 16;
      const Words high = second ? rounded((Words)load(second + column)) & 0xffff0000u : Words{};
      *reinterpret_cast<UnalignedWords*>(to + column) = low | high;
    }
    for (; column < count; ++column) to[column] = word(first[column], second ? second[column] : 0.0f);
  }

  static INLINE void interleave_rows(Word* to, const Word* first, const Word* second, long column, long count) {
    for (long k = 0; k < count; k += LANES) {
      const Words low = widened(first, column + k);
      *reinterpret_cast<UnalignedWords*>(to + k) = second ? low | widened(second, column + k) << 16 : low;
    }
  }

 private:
  static INLINE Words widened(const Word* row, long column) {
    const uint16_t* halves = reinterpret_cast<const uint16_t*>(row) + column;
    return __builtin_convertvector(*reinterpret_cast<const UnalignedHalves*>(halves), Words);
  }
};

#else

// Without an instruction for bfloat16: the operands are rounded to it and multiplied as floats. A product of two such
// numbers is exact, so the sums are the same up to their order.
struct BFloat16 : Float32 {
  static INLINE Word word(float first, float) { return rounded(bits(first)) & 0xffff0000u; }

  static INLINE void put(Word* row, long column, Floats numbers) {
    *reinterpret_cast<UnalignedWords*>(row + column) = rounded((Words)numbers) & 0xffff0000u;
  }

  static INLINE void interleave(Word* to, const float* first, const float*, long count) {
    for (long column = 0; column < count; ++column) to[column] = word(first[column], 0.0f);
  }
};

#endif

// Words of a row of `count` numbers.
template <class Format>
INLINE long words(long count) {
  return divide_up(count, Format::NUMBERS);
}

// A row of numbers as an operand.
template <class Format>
INLINE void put_row(Word* to, const float* from, long count) {
  long column = 0;
  for (; column + LANES <= count; column += LANES) Format::put(to, column, load(from + column));
  for (; column < count; column += Format::NUMBERS)
    to[column / Format::NUMBERS] = Format::word(from[column], column + 1 < count ? from[column + 1] : 0.0f);
}

}  // namespace jaxrnn
