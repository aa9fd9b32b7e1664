// The functions that JAX calls: arrays by their order, checked in size, and the thread pool.
//
// The order is that of the tree's leaves in backend.py: lengths, x, the weights of each direction, the first states of
// each direction; results are the outputs and the last states of each direction; and gradients are ordered as what they
// are gradients of.
#include <algorithm>
#include <cstring>
#include <new>

#include "layer.h"
#include "team.h"
#include "xla/ffi/api/ffi.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace jaxrnn {
namespace {

namespace ffi = xla::ffi;

// Less work than this is done by the calling thread alone: to wake another one takes longer.
constexpr double OPERATIONS_FOR_A_THREAD = 4e6;

// Arrays in turn, each of which must have the size that is expected.
template <class Arrays>
class Reader {
 public:
  explicit Reader(const Arrays& arrays) : arrays_(arrays) {}

  template <class Type = float>
  Type* next(long count) {
    if (next_ >= arrays_.size()) {
      wrong_ = true;
      return nullptr;
    }
    const auto found = arrays_.template get<ffi::AnyBuffer>(next_++);
    if (!found.has_value()) {
      wrong_ = true;
      return nullptr;
    }
    const ffi::AnyBuffer buffer = value_of(*found);
    wrong_ |= buffer.element_type() != (std::is_same<Type, int32_t>::value ? ffi::S32 : ffi::F32);
    wrong_ |= (long)buffer.element_count() != count;
    return static_cast<Type*>(buffer.untyped_data());
  }

  bool is_wrong() const { return wrong_ || next_ != arrays_.size(); }

 private:
  static ffi::AnyBuffer value_of(ffi::AnyBuffer buffer) { return buffer; }
  static ffi::AnyBuffer value_of(ffi::Result<ffi::AnyBuffer> buffer) { return *buffer; }

  const Arrays& arrays_;
  size_t next_ = 0;
  bool wrong_ = false;
};

struct Attributes {
  int64_t cell, narrow, hidden, directions, backwards, saved_stride;  // backwards: a bit for each direction
};

const char* const WRONG_ARRAYS = "jaxrnn: the arrays are not those that the kernel expects";

class Call {
 public:
  Call(const Attributes& attributes, ffi::RemainingArgs arguments) : arguments_(arguments), reader_(arguments_) {
    layer_.cell = (CellName)attributes.cell;
    sizes_ = sizes_of(layer_.cell);
    layer_.narrow = attributes.narrow;
    layer_.hidden = attributes.hidden;
    layer_.num_directions = (int)attributes.directions;
    layer_.saved_stride = attributes.saved_stride;
    const auto x = arguments_.get<ffi::AnyBuffer>(1);
    if (!x.has_value() || x->dimensions().size() != 3) return;
    layer_.time = x->dimensions()[0], layer_.batch = x->dimensions()[1], layer_.features = x->dimensions()[2];
    layer_.lengths = reader_.next<int32_t>(layer_.batch);
    layer_.x = reader_.next(layer_.time * layer_.batch * layer_.features);
    for (int k = 0; k < layer_.num_directions; ++k) layer_.directions[k].backwards = attributes.backwards >> k & 1;
    weights(reader_, &Direction::w_x, &Direction::w_h, &Direction::b, &Direction::b_hn);
    states(reader_, &Direction::first_h, &Direction::first_c);
  }

  // Outputs side by side, and the last states.
  template <class Arrays>
  void results(Reader<Arrays>& reader) {
    outputs(reader, &Direction::y);
    states(reader, &Direction::last_h, &Direction::last_c);
  }

  template <class Arrays>
  void saved(Reader<Arrays>& reader) {
    const long of_direction = layer_.batch * layer_.saved_stride;
    float* saved = reader.next(layer_.num_directions * of_direction);
    each([&](Direction& direction, long k) { direction.saved = saved + k * of_direction; });
  }

  void cotangents() {
    outputs(reader_, &Direction::d_y);
    states(reader_, &Direction::d_last_h, &Direction::d_last_c);
  }

  template <class Arrays>
  void gradients(Reader<Arrays>& reader) {
    layer_.d_x = reader.next(layer_.time * layer_.batch * layer_.features);
    weights(reader, &Direction::d_w_x, &Direction::d_w_h, &Direction::d_b, &Direction::d_b_hn);
    states(reader, &Direction::d_first_h, &Direction::d_first_c);
  }

  ffi::Error run(void (*pass)(const Layer&, const Team&), ffi::ThreadPool pool, bool wrong) {
    if (wrong || reader_.is_wrong()) return ffi::Error(ffi::ErrorCode::kInvalidArgument, WRONG_ARRAYS);
    const double operations = 2.0 * layer_.time * layer_.batch * sizes_.gates * layer_.hidden *
                              (layer_.features + layer_.hidden) * layer_.num_directions;
    const long worth = (long)(operations / OPERATIONS_FOR_A_THREAD) + 1;
    const long threads = std::max(1L, std::min((long)pool.num_threads(), worth));
    try {
      pass(layer_, make_team(threads, [&pool](auto task) { pool.Schedule(std::move(task)); }));
    } catch (const std::bad_alloc&) {
      return ffi::Error(ffi::ErrorCode::kResourceExhausted, "jaxrnn: out of memory");
    }
    return ffi::Error::Success();
  }

  Reader<ffi::RemainingArgs>& reader() { return reader_; }

 private:
  template <class Function>
  void each(Function function) {
    for (int k = 0; k < layer_.num_directions; ++k) function(layer_.directions[k], k);
  }

  template <class Arrays, class Pointer>
  void weights(Reader<Arrays>& reader, Pointer w_x, Pointer w_h, Pointer b, Pointer b_hn) {
    const long columns = sizes_.gates * layer_.hidden;
    each([&](Direction& direction, long) {
      direction.*w_x = reader.next(layer_.features * columns);
      direction.*w_h = reader.next(layer_.hidden * columns);
      direction.*b = reader.next(columns);
      if (sizes_.has_b_hn) direction.*b_hn = reader.next(layer_.hidden);
    });
  }

  template <class Arrays, class Pointer>
  void states(Reader<Arrays>& reader, Pointer h, Pointer c) {
    each([&](Direction& direction, long) {
      direction.*h = reader.next(layer_.batch * layer_.hidden);
      if (sizes_.has_c) direction.*c = reader.next(layer_.batch * layer_.hidden);
    });
  }

  template <class Arrays, class Pointer>
  void outputs(Reader<Arrays>& reader, Pointer y) {
    const long width = layer_.num_directions * layer_.hidden;
    auto* outputs = reader.next(layer_.time * layer_.batch * width);
    each([&](Direction& direction, long k) { direction.*y = outputs + k * layer_.hidden; });
  }

  ffi::RemainingArgs arguments_;
  Reader<ffi::RemainingArgs> reader_;
  Layer layer_ = {};
  CellSizes sizes_;
};

ffi::Error run_forward(ffi::ThreadPool pool, ffi::RemainingArgs arguments, ffi::RemainingRets results,
                       const Attributes& attributes, bool save) {
  Call call(attributes, arguments);
  Reader<ffi::RemainingRets> reader(results);
  call.results(reader);
  if (save) call.saved(reader);
  return call.run(forward, pool, reader.is_wrong());
}

ffi::Error run_pull(ffi::ThreadPool pool, ffi::RemainingArgs arguments, ffi::RemainingRets results,
                    const Attributes& attributes) {
  Call call(attributes, arguments);
  call.results(call.reader());
  call.saved(call.reader());
  call.cotangents();
  Reader<ffi::RemainingRets> reader(results);
  call.gradients(reader);
  return call.run(pull, pool, reader.is_wrong());
}

ffi::Error forward_handler(ffi::ThreadPool pool, ffi::RemainingArgs arguments, ffi::RemainingRets results,
                           Attributes attributes) {
  return run_forward(pool, arguments, results, attributes, false);
}

ffi::Error save_handler(ffi::ThreadPool pool, ffi::RemainingArgs arguments, ffi::RemainingRets results,
                        Attributes attributes) {
  return run_forward(pool, arguments, results, attributes, true);
}

}  // namespace
}  // namespace jaxrnn

XLA_FFI_REGISTER_STRUCT_ATTR_DECODING(jaxrnn::Attributes, xla::ffi::StructMember<int64_t>("cell"),
                                      xla::ffi::StructMember<int64_t>("narrow"),
                                      xla::ffi::StructMember<int64_t>("hidden"),
                                      xla::ffi::StructMember<int64_t>("directions"),
                                      xla::ffi::StructMember<int64_t>("backwards"),
                                      xla::ffi::StructMember<int64_t>("saved_stride"));

#define BINDING                        \
  xla::ffi::Ffi::Bind()                \
      .Ctx<xla::ffi::ThreadPool>()     \
      .RemainingArgs()                 \
      .RemainingRets()                 \
      .Attrs<jaxrnn::Attributes>()

EXPORTED XLA_FFI_Error* jaxrnn_forward(XLA_FFI_CallFrame*);
EXPORTED XLA_FFI_Error* jaxrnn_save(XLA_FFI_CallFrame*);
EXPORTED XLA_FFI_Error* jaxrnn_pull(XLA_FFI_CallFrame*);

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxrnn_forward, jaxrnn::forward_handler, BINDING);
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxrnn_save, jaxrnn::save_handler, BINDING);
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxrnn_pull, jaxrnn::run_pull, BINDING);

// The version of JAX's foreign function interface that this was compiled for. JAX takes no newer one than its own.
EXPORTED int jaxrnn_interface() { return XLA_FFI_API_MAJOR * 1000 + XLA_FFI_API_MINOR; }

#if defined(__x86_64__)
namespace {

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

}  // namespace
#endif

// Whether this processor has an instruction set, by its name in library.py.
EXPORTED int jaxrnn_has(const char* name) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!strcmp(name, "avx512bf16")) return has_avx512() && __builtin_cpu_supports("avx512bf16");
  if (!strcmp(name, "avx512")) return has_avx512();
  if (!strcmp(name, "avx2")) return has_avx2();
#endif
  return !strcmp(name, "portable");
}

// Whether this processor is faster with an instruction set than with the next one. Intel's have the products of
// bfloat16 in AVX-512 at half the rate of those of float32 (Sapphire Rapids: 45 and 100 GFLOP/s a core), AMD's at twice.
EXPORTED int jaxrnn_gains(const char* name) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!strcmp(name, "avx512bf16")) return !__builtin_cpu_is("intel");
#endif
  return 1;
}
