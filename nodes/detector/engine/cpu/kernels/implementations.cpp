// Which of the CPU's implementations to take; the lists are in the file of its architecture,
// implementations_*.cpp.
#include <algorithm>

#include "nodes/detector/engine/cpu/kernels/tile.hpp"

namespace fovea::engine::kernels {

const TileImplementation* best_tiles(DataType compute, const CpuFeatures& features) {
  const auto all = tile_implementations();
  const auto found = std::find_if(all.begin(), all.end(), [&](const TileImplementation& row) {
    return row.compute == compute && features.*row.needs;
  });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace fovea::engine::kernels
