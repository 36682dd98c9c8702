#include "quantize/row_quantizer.h"

#include <numeric>

namespace anyprec {

std::vector<size_t> RowFormat::Fields(int k) const {
  std::vector<size_t> fields;
  for (int p = range.seed_bits; p <= range.parent_bits; ++p) {
    if (scheme == Scheme::kCodebooks) {
      fields.push_back(size_t{1} << p);
      continue;
    }
    const size_t groups = GroupCount(k, group_size);
    fields.push_back(groups * p);
    fields.push_back(groups);
  }
  return fields;
}

size_t RowFormat::ValuesPerRow(int k) const {
  const std::vector<size_t> fields = Fields(k);
  return std::accumulate(fields.begin(), fields.end(), size_t{0});
}

}  // namespace anyprec
