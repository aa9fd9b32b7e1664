// The passes, for every cell and format.
#include "forward.h"
#include "pull.h"

namespace jaxrnn {
namespace {

// In the order of CellName.
template <class Format>
const CellFunctions<Format> CELLS[] = {functions<Format, Elman<false>>(), functions<Format, Elman<true>>(),
                                       functions<Format, Lstm>(), functions<Format, GruResetAfter>(),
                                       functions<Format, GruResetBefore>()};

}  // namespace

CellSizes sizes_of(CellName name) {
  const CellData& cell = CELLS<Float32>[(long)name].data;
  return {cell.gates, cell.saved, cell.has_c, cell.has_b_hn()};
}

// The floats in a vector that these loops were compiled with.
extern "C" __attribute__((visibility("default"))) int jaxrnn_lanes() { return LANES; }

void forward(const Layer& layer, const Team& team) {
  if (layer.narrow) return run_forward(layer, CELLS<BFloat16>[(long)layer.cell], team);
  run_forward(layer, CELLS<Float32>[(long)layer.cell], team);
}

void pull(const Layer& layer, const Team& team) {
  if (layer.narrow) return run_pull(layer, CELLS<BFloat16>[(long)layer.cell], team);
  run_pull(layer, CELLS<Float32>[(long)layer.cell], team);
}

}  // namespace jaxrnn
