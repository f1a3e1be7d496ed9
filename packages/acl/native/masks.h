#pragma once

#include <napi.h>

#include <array>
#include <cstdint>
#include <vector>

#include "intattn/tensor_view.h"

namespace intattn::addon {

/// What a run says of the keys its rows see, `keyLengths` apart.
struct Masks {
  std::vector<std::int64_t> query_starts;
  PairView<std::uint8_t> mask;
  PairView<float> bias;

  const std::int64_t* query_starts_or_null() const { return query_starts.empty() ? nullptr : query_starts.data(); }
};

/// Reads `queryStart`, `mask` with `maskDims` and `bias` with `biasDims`, each of which may be undefined.
/// @param scores batch, heads, queryLength, keyLength
Masks masks_of(Napi::Object object, const std::array<std::size_t, 4>& scores);

} // namespace intattn::addon
