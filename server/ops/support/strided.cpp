#include "ops/support/strided.hpp"

#include <algorithm>

namespace outrigger::ops {

void collapse(Dims& dims, std::span<Dims> strides) {
  std::size_t kept = 0;
  for (std::size_t axis = 0; axis < dims.size(); ++axis) {
    if (dims[axis] == 1) continue;
    const bool merges =
        kept > 0 && std::all_of(strides.begin(), strides.end(), [&](const Dims& row) {
          return row[kept - 1] == row[axis] * dims[axis];
        });
    if (merges) {
      dims[kept - 1] *= dims[axis];
      for (Dims& row : strides) row[kept - 1] = row[axis];
    } else {
      dims[kept] = dims[axis];
      for (Dims& row : strides) row[kept] = row[axis];
      ++kept;
    }
  }
  dims.resize(kept);
  for (Dims& row : strides) row.resize(kept);
}

}  // namespace outrigger::ops
