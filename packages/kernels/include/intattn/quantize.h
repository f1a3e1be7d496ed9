#pragma once

#include <cstddef>
#include <cstdint>

#include "intattn/instruction_set.h"

namespace intattn {

/// Which values of a [batch, heads, length, head_dim] tensor share one scale.
enum class Scope { tensor, head, row, channel };

/// Symmetric int8 quantization (section 1 of the numeric specification).
struct QuantizeArguments {
  const float* values = nullptr; ///< [batch, heads, length, head_dim]; give this or `half_values`
  const std::uint16_t* half_values = nullptr;
  std::size_t batch = 0, heads = 0, length = 0, head_dim = 0;
  Scope scope = Scope::tensor;
  bool center = false;              ///< subtract the mean over `length` of every (batch, head, channel) first
  std::int8_t* quantized = nullptr; ///< same shape
  float* scale = nullptr;           ///< [1] | [batch, heads] | [batch, heads, length] | [batch, heads, head_dim]
  float* mean = nullptr;            ///< [batch, heads, head_dim]; needed when `center`
};

/// @return false when a value is NaN or infinite (the outputs are then undefined).
bool quantize(const QuantizeArguments& arguments, InstructionSet isa);

} // namespace intattn
