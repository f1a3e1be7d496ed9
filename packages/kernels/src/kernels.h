#pragma once

#include <cstddef>
#include <cstdint>

#include "block/block_kernels.h"
#include "intattn/attention.h"
#include "numerics/weight_table.h"

/// The seam between the driver, which knows attention, and the instruction sets, which know vectors. Every function
/// works on one thread, on memory the driver owns and has sized by the geometry below.
namespace intattn {

/// int8 rows handed to the packing functions are zero padded to a multiple of this many bytes.
constexpr std::size_t row_padding = 64;
/// Lanes of the running row maxima that score kernels keep.
constexpr std::size_t max_lanes = 16;

/// How far one row of scores counts.
struct RowExtent {
  std::uint32_t lane_end; ///< the lane maxima cover [0, lane_end)
  std::uint32_t visible;  ///< keys that count; at least 1 when probabilities are asked for
  std::uint32_t padded;   ///< probabilities are zero from `visible` up to here; a multiple of the key tile
};

/// The rows of a strip between scores and probabilities. How scores and probabilities lie in memory is the kernels' own
/// affair: a strip of `rows` rows, rounded up to the row tile, takes as much as that many rows of `score_stride` scores
/// and `probability_stride` probabilities.
struct SoftmaxStrip {
  std::int32_t* scores;
  std::size_t score_stride;
  const std::int32_t* lane_max; ///< running maxima of `scores`, max_lanes a row; their order is the kernels' own affair
  std::size_t rows;
  std::uint32_t lane_end;       ///< the lane maxima cover [0, lane_end)
  std::uint32_t padded;         ///< probabilities are zero from `visible` up to here; a multiple of the key tile
  const std::uint32_t* visible; ///< [rows], keys that count
  void* probabilities;
  std::size_t probability_stride;
};

/// How the last step turns one row of accumulators into output: center + accumulator * scale * factor + offset *
/// offset_factor.
struct OutputRow {
  const float* scale;  ///< [head_dim]
  const float* center; ///< [head_dim] or null
  const float* offset; ///< [head_dim] or null
  float factor;
  float offset_factor;
};

/// Attention in float32 arithmetic; operands stored as float32 or as float16.
struct FloatKernels {
  std::size_t element_bytes;
  /// Packs one tile of up to `key_tile` keys.
  void (*pack_key)(const float* rows, std::size_t count, std::size_t dim, void* packed_tile);
  /// Packs one tile of up to `key_tile` rows of V into a matrix of `padded_keys` rows.
  void (*pack_value)(const float* rows, std::size_t count, std::size_t dim, std::size_t tile, std::size_t padded_keys,
                     void* packed);
  /// Scaled scores of key tiles [tile_begin, tile_end); raises `lane_max` [rows, max_lanes] when not null.
  void (*scores)(const float* query, std::size_t rows, const void* packed_key, std::size_t tile_begin,
                 std::size_t tile_end, std::size_t dim, float scale, void* scores, std::size_t stride, float* lane_max);
  /// Scores become probabilities in place: unnormalized as float32, normalized and rounded as float16. Returns the
  /// factor the accumulators still lack. `scratch` holds `padded` floats.
  float (*softmax)(void* scores, const float* lane_max, const RowExtent& extent, float* scratch);
  void (*values)(const void* probabilities, std::size_t probability_stride, std::size_t rows, const void* packed_value,
                 std::size_t padded_keys, std::size_t key_end, std::size_t dim, float* accumulators,
                 std::size_t stride);
};

/// Conversions, statistics, quantization and output of float rows.
struct RowKernels {
  void (*half_to_float)(const std::uint16_t* in, std::size_t n, float* out);
  void (*int8_to_float)(const std::int8_t* in, std::size_t n, float* out);
  void (*float_to_half)(const float* in, std::size_t n, std::uint16_t* out);
  /// Adds each column to `sum`, row after row in float64; lowers `min` and raises `max` when they are not null.
  void (*column_statistics)(const float* x, std::size_t stride, std::size_t rows, std::size_t columns, double* sum,
                            float* min, float* max);
  /// Raises `bits` to the largest |x| of each column.
  void (*column_max_abs)(const float* x, std::size_t stride, std::size_t rows, std::size_t columns,
                         std::uint32_t* bits);
  /// The largest |x| as bits, which order like integers: 0x7f800000 and above tell of an infinity or a NaN.
  std::uint32_t (*max_abs_bits)(const float* x, std::size_t n);
  /// q = rne((x - center) * inverse); `center` [dim] may be null; `inverse` is one factor, or one per column.
  void (*quantize)(const float* x, std::size_t rows, std::size_t dim, const float* center, const float* inverse,
                   bool inverse_per_column, std::int8_t* out, std::size_t out_stride);
  /// One scale per row; returns the largest |x| of all rows as `max_abs_bits` does.
  std::uint32_t (*quantize_rows)(const float* x, std::size_t rows, std::size_t dim, std::int8_t* out,
                                 std::size_t out_stride, float* scale);

  /// out = sum * inverse_count - center; `center` may be null.
  void (*mean_offset)(const double* sum, double inverse_count, const float* center, std::size_t dim, float* out);
  void (*integer_output)(const std::int32_t* accumulators, std::size_t dim, const OutputRow& row, float* out);
  /// out = accumulator * factor
  void (*float_output)(const float* accumulators, std::size_t dim, float factor, float* out);
};

struct Kernels {
  // Geometry of packed operands.
  unsigned key_tile;      ///< packed keys, and the columns of score and probability strips, are padded to this
  unsigned depth_group;   ///< head_dim is padded to this in packed int8 queries and keys
  unsigned value_group;   ///< head_dim is padded to this in packed values and accumulators
  unsigned row_tile;      ///< query rows of one register tile
  unsigned integer_bytes; ///< bytes of a packed int8 or of a probability: 1, or 2 where products are made in 16 bits

  RowKernels rows;

  // Integer attention. int8 rows are zero padded to `row_padding`.
  void (*pack_query)(const std::int8_t* rows, std::size_t stride, std::size_t count, std::size_t dim, void* packed);
  /// Packs one tile of `key_tile` keys.
  void (*pack_key)(const std::int8_t* rows, std::size_t stride, std::size_t dim, void* packed_tile);
  /// Packs one tile of `key_tile` rows of V into a matrix of `padded_keys` rows, in the order in which probabilities
  /// are stored.
  void (*pack_value)(const std::int8_t* rows, std::size_t stride, std::size_t dim, std::size_t tile,
                     std::size_t padded_keys, void* packed);
  /// Scores of key tiles [tile_begin, tile_end), up to one constant per row; raises `lane_max`, max_lanes a row in an
  /// order of the kernels' own, when not null.
  void (*scores)(const void* query, std::size_t rows, const void* packed_key, std::size_t tile_begin,
                 std::size_t tile_end, std::size_t dim, std::int32_t* scores, std::size_t stride,
                 std::int32_t* lane_max);
  /// `index` [rows]; fills `sums` [rows].
  void (*index_softmax)(const SoftmaxStrip& strip, const WeightTable& table, const IndexParameters* index,
                        RowSums* sums);
  /// Pipeline int8: P = rne(127 softmax(logit_scale * s)), `logit_scale` [rows]; overwrites the scores.
  void (*float_softmax)(const SoftmaxStrip& strip, const float* logit_scale);
  /// One row of the probabilities of a strip of `rows`, in key order.
  void (*unpack_probabilities)(const void* probabilities, std::size_t stride, std::size_t rows, std::size_t row,
                               std::size_t keys, std::uint8_t* out);
  /// IndexSoftmax of one row of `count` >= 1 scores that no strip holds, probabilities in key order. Scores may be
  /// read, and `scratch` takes probabilities, up to the next multiple of the key tile.
  RowSums (*index_softmax_row)(const std::int32_t* scores, std::size_t count, const WeightTable& table,
                               const IndexParameters& index, void* scratch, std::uint8_t* out);
  /// Accumulators over keys [key_begin, key_end), multiples of the key tile; `stride` counts accumulators.
  void (*values)(const void* probabilities, std::size_t probability_stride, std::size_t rows, const void* packed_value,
                 std::size_t padded_keys, std::size_t key_begin, std::size_t key_end, std::size_t dim,
                 std::int32_t* accumulators, std::size_t stride);

  FloatKernels float32;
  FloatKernels float16;
};

/// One per instruction set; those of other architectures are not part of the binary.
const Kernels* scalar_kernels();
const Kernels* avx2_kernels();
const Kernels* avx512vnni_kernels();
const Kernels* neon_dotprod_kernels();
const Kernels* neon_i8mm_kernels();

/// The kernels of an available instruction set.
const Kernels& kernels_of(InstructionSet id);
const BlockKernels& block_kernels_of(InstructionSet id);

static constexpr std::size_t round_up(std::size_t n, std::size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}
static constexpr std::size_t divide_up(std::size_t n, std::size_t divisor) { return (n + divisor - 1) / divisor; }

} // namespace intattn
