// Work items divided over a pool of threads that belongs to somebody else.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>

#include "layer.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace jaxrnn {

// Denormal numbers are zero while this lives, as they are in XLA's own loops, whichever thread it is.
class NoDenormals {
#if defined(__SSE__)
 public:
  NoDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }  // flush to zero, denormals are zero
  ~NoDenormals() { _mm_setcsr(before_); }

 private:
  const unsigned before_;
#else
 public:
  NoDenormals() {}
#endif
};

// A number of items, each of which is done once by the worker who takes it.
class Job {
 public:
  Job(long count, const Function& function) : function_(function), count_(count) {}

  // Takes items until none is left. A worker who comes late finds none, and touches nothing but this object.
  void work() {
    long done = 0, worker = -1;
    for (long item; (item = next_++) < count_; ++done) {
      const NoDenormals mode;
      if (worker < 0) worker = workers_++;
      try {
        function_(item, worker);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!failure_) failure_ = std::current_exception();
      }
    }
    if (!done) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    done_ += done;
    if (done_ == count_) finished_.notify_all();
  }

  // Waits for the items that others have taken, and raises what one of them has raised.
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    finished_.wait(lock, [&] { return done_ == count_; });
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  const Function& function_;  // only touched by those who have an item, so while the caller waits
  const long count_;
  std::atomic<long> next_{0}, workers_{0};
  std::mutex mutex_;
  std::condition_variable finished_;
  long done_ = 0;
  std::exception_ptr failure_;
};

// A team of the calling thread and of those of a pool that come in time; schedule(task) hands the pool a task. The
// caller waits for no task to start, only for items that somebody is at work on. So it makes no difference whether the
// pool is busy, or the caller is one of its threads.
template <class Schedule>
Team make_team(long threads, Schedule schedule) {
  return {threads, [threads, schedule](long count, const Function& function) {
            const auto job = std::make_shared<Job>(count, function);
            for (long k = 1; k < threads && k < count; ++k) schedule([job] { job->work(); });
            job->work();
            job->wait();
          }};
}

}  // namespace jaxrnn
