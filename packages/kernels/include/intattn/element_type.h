#pragma once

#include <cstddef>

namespace intattn {

enum class ElementType { float32, float16, int8, bfloat16 };

constexpr std::size_t bytes_of(ElementType type) {
  return type == ElementType::float32 ? 4 : type == ElementType::int8 ? 1 : 2;
}

} // namespace intattn
