#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels.h"

/// Arithmetic between the library's operators, a row at a time, vectorized.
namespace intattn::compute_library {

/// scores[i] = scale * integers[i], in place: the float32 takes the place of the int32.
void dequantize_in_place(void* scores, std::size_t count, float scale);

/// out = rne(127 p), for probabilities 0 ... 1
void quantize_probabilities(const float* probabilities, std::size_t count, std::int8_t* out);

/// Makes uint8 signed: out = p - 128, in place.
void subtract_128_in_place(std::uint8_t* probabilities, std::size_t count);

/// sums[c] = 128 * sum of column c
void column_sums_times_128(const std::int8_t* values, std::size_t rows, std::size_t columns, std::int32_t* sums);

/// float32 in place of int32: accumulators[c] + added[c]; `added` may be null.
void convert_in_place(void* accumulators, std::size_t count, const std::int32_t* added);

/// sums[i] += halves[i], of float16
void add_halves(const std::uint16_t* halves, std::size_t count, float* sums);

/// As `RowKernels::integer_output`, of accumulators that are float32 already.
void scale_row(const float* accumulators, std::size_t dim, const OutputRow& row, float* out);

} // namespace intattn::compute_library
