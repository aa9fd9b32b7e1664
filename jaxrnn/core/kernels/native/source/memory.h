// Memory for scratch, and advice to the system on large arrays.
#pragma once

#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "vectors.h"

namespace jaxrnn {

constexpr long HUGE_PAGE = 1 << 21;

// Asks for huge pages where nothing was written yet. Otherwise the first write to each 4 KiB is a fault of its own,
// which took a tenth of a training step's time.
inline void advise_huge_pages(void* start, long bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  const uintptr_t page = HUGE_PAGE, from = (reinterpret_cast<uintptr_t>(start) + page - 1) / page * page;
  const uintptr_t to = (reinterpret_cast<uintptr_t>(start) + bytes) / page * page;
  if (start && to > from) madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);
#else
  (void)start, (void)bytes;
#endif
}

// Large blocks of scratch that were given back, for the next call. The system would fill new ones with zeros, which
// takes a small layer longer than its products.
class Blocks {
 public:
  static Blocks& shared() {
    static Blocks* blocks = new Blocks;  // never destroyed: a thread may give a block back while the process ends
    return *blocks;
  }

  static constexpr long SMALLEST = 1 << 16;  // below it the system's allocator is as fast
#if defined(__SANITIZE_ADDRESS__)
  static constexpr long MOST_KEPT = 0;  // so that it sees who uses memory that was given back
#else
  static constexpr long MOST_KEPT = 1 << 26;
#endif

  // A block of at least `bytes`, which it changes to the block's size.
  void* take(long& bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (size_t k = 0; k < kept_.size(); ++k) {
      const Block block = kept_[k];
      if (block.bytes < bytes || block.bytes > 2 * bytes) continue;
      kept_[k] = kept_.back();
      kept_.pop_back();
      total_ -= block.bytes;
      bytes = block.bytes;
      return block.memory;
    }
    const long align = bytes >= HUGE_PAGE / 2 ? HUGE_PAGE : 64;
    bytes = round_up(bytes, align);
    void* memory = aligned_alloc(align, bytes);
    if (!memory) throw std::bad_alloc();
    advise_huge_pages(memory, bytes);
    return memory;
  }

  void give(void* memory, long bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (bytes < SMALLEST || total_ + bytes > MOST_KEPT) return free(memory);
    kept_.push_back({memory, bytes});
    total_ += bytes;
  }

 private:
  struct Block {
    void* memory;
    long bytes;
  };
  std::mutex mutex_;
  std::vector<Block> kept_;
  long total_ = 0;
};

struct GiveBack {
  long bytes = 0;
  void operator()(void* memory) const { Blocks::shared().give(memory, bytes); }
};

// An array that is not initialised.
template <class Type>
class Array {
 public:
  Array() = default;
  explicit Array(long count) {
    if (!count) return;
    long bytes = count * (long)sizeof(Type);
    void* memory = Blocks::shared().take(bytes);
    memory_ = {static_cast<Type*>(memory), GiveBack{bytes}};
  }
  Type* data() const { return memory_.get(); }

 private:
  std::unique_ptr<Type, GiveBack> memory_;
};

// An array of zeros.
template <class Type>
Array<Type> zeros(long count) {
  Array<Type> array(count);
  if (count) memset(static_cast<void*>(array.data()), 0, count * sizeof(Type));
  return array;
}

}  // namespace jaxrnn
