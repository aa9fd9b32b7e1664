// Vectors of floats, by the compiler's own extension, so that one source serves every instruction set.
//
// The width is that of the machine's registers: 16, 8 or 4 floats. The whole library is compiled once for each
// instruction set, and the Python module loads one of the results.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define INLINE inline __attribute__((always_inline))

namespace jaxrnn {

// LANES: floats in a vector. BLOCK_ROWS: rows that a product handles together, so that with BLOCK_VECTORS vectors of
// each their sums fill the registers.
#if defined(__AVX512F__)
constexpr long LANES = 16;
#elif defined(__AVX__)
constexpr long LANES = 8;
#else
constexpr long LANES = 4;
#endif
#if defined(__AVX512F__) || defined(__aarch64__)  // 32 registers
#define BLOCK_ROWS_ABOVE_3 1
constexpr int BLOCK_ROWS = 6;
#else  // 16 registers
constexpr int BLOCK_ROWS = 3;
#endif
constexpr int BLOCK_VECTORS = 4;

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));

// The same for arrays, which are only aligned to their elements.
typedef float UnalignedFloats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t UnalignedWords __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t UnalignedHalves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

INLINE Floats load(const float* from) { return *reinterpret_cast<const UnalignedFloats*>(from); }
INLINE void store(float* to, Floats vector) { *reinterpret_cast<UnalignedFloats*>(to) = vector; }

// The first `count` elements; a whole vector if there are more. What is not loaded is zero.
INLINE Floats load_first(const float* from, long count) {
  if (count >= LANES) return load(from);
#if defined(__AVX512F__)
  return (Floats)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), from);
#else
  Floats vector = {};
  for (long k = 0; k < count; ++k) vector[k] = from[k];
  return vector;
#endif
}

INLINE void store_first(float* to, Floats vector, long count) {
  if (count >= LANES) return store(to, vector);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1), (__m512)vector);
#else
  for (long k = 0; k < count; ++k) to[k] = vector[k];
#endif
}

INLINE Floats repeat(float value) { return Floats{} + value; }

INLINE long at_most(long number, long bound) { return number < bound ? number : bound; }
INLINE long divide_up(long number, long by) { return (number + by - 1) / by; }
INLINE long round_up(long number, long multiple) { return divide_up(number, multiple) * multiple; }

INLINE Floats quotient(Floats a, Floats b) {
#if defined(__AVX512F__)
  // 1/b has 14 bits from the instruction, and 28 after a step of Newton's method. Another step corrects the quotient by
  // what is left of a. All of it is faster than the processor's own division.
  Floats inverse = (Floats)_mm512_maskz_rcp14_ps(0xffff, (__m512)b);
  inverse = inverse * (2.0f - b * inverse);
  const Floats estimate = a * inverse;
  return estimate + inverse * (a - b * estimate);
#else
  return a / b;
#endif
}

// tanh x = x P(x²) / Q(x²), with a relative error below 3e-7. The coefficients are a fit of our own on [-8, 8], where
// 1 - |tanh x| is as small as a float can say; beyond it the value at the edge is taken. NaN stays NaN.
INLINE Floats tanh(Floats x) {
  const Floats edge = repeat(8.0f);
  x = x > edge ? edge : x;
  x = x < -edge ? -edge : x;
  const Floats z = x * x;
  Floats p = repeat(2.350890987836358e-11f);
  p = p * z - 1.470438001784668e-08f;
  p = p * z + 9.878724659720137e-06f;
  p = p * z + 2.9858698602449616e-03f;
  p = p * z + 1.2979231119495527e-01f;
  p = p * z + 9.999999812156928e-01f;
  Floats q = repeat(2.3720427929124858e-04f);
  q = q * z + 2.4027958031374412e-02f;
  q = q * z + 4.6312547197589016e-01f;
  q = q * z + 1.0f;
  return quotient(x * p, q);
}

INLINE Floats sigmoid(Floats x) { return 0.5f * tanh(0.5f * x) + 0.5f; }

}  // namespace jaxrnn
