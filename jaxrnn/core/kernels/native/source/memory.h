// Memory for scratch, and advice to the system on large arrays.
#pragma once

#include <cstdlib>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "vectors.h"

namespace jaxrnn {

// Asks for huge pages where nothing was written yet. Otherwise the first write to each 4 KiB is a fault of its own,
// which took a tenth of a training step's time.
inline void advise_huge_pages(void* start, long bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  const uintptr_t page = 1 << 21, from = (reinterpret_cast<uintptr_t>(start) + page - 1) / page * page;
  const uintptr_t to = (reinterpret_cast<uintptr_t>(start) + bytes) / page * page;
  if (start && to > from) madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);
#else
  (void)start, (void)bytes;
#endif
}

struct Free {
  void operator()(void* memory) const { free(memory); }
};

// An array that is not initialised. Large ones start on a huge page.
template <class Type>
class Array {
 public:
  Array() = default;
  explicit Array(long count) {
    if (!count) return;
    const long bytes = count * (long)sizeof(Type), align = bytes >= 1 << 20 ? 1 << 21 : 64;
    memory_.reset(static_cast<Type*>(aligned_alloc(align, round_up(bytes, align))));
    if (!memory_) throw std::bad_alloc();
    advise_huge_pages(memory_.get(), bytes);
  }
  Type* data() const { return memory_.get(); }

 private:
  std::unique_ptr<Type, Free> memory_;
};

// An array of zeros.
template <class Type>
Array<Type> zeros(long count) {
  Array<Type> array(count);
  if (count) memset(static_cast<void*>(array.data()), 0, count * sizeof(Type));
  return array;
}

}  // namespace jaxrnn
