#pragma once

#include <cstddef>
#include <cstdint>

/// The seam of version 2 between the driver, which knows attention, and the instruction sets, which know vectors. Every
/// function works on one thread, on memory that the driver owns. Keys and values are packed by blocks of 64 keys.
namespace intattn {

constexpr std::size_t block_keys = 64;
/// Blocks whose products are added up before they join the sum of a row.
constexpr std::size_t segment_blocks = 16;
/// Rows of float32 are padded with zeros to a multiple of this, and may be overwritten so far.
constexpr std::size_t float_padding = 16;
/// Rows of integers are zero padded to a multiple of this many elements.
constexpr std::size_t integer_padding = 64;
/// Lanes of the running row maxima that score kernels keep.
constexpr std::size_t maximum_lanes = 16;

/// z of a value row whose scale is 0, and Z of a block that adds nothing.
constexpr std::int16_t no_exponent = -32768;

/// How the value rows of one block are scaled: scale = mantissa / 2^15 * 2^exponent. Positions are those in which
/// `softmax` works, see `BlockKernels::key_at`.
struct ValueScales {
  std::int16_t mantissa[block_keys]; ///< g; 0 where the scale is 0
  std::int16_t exponent[block_keys]; ///< z
  std::int16_t folded[block_keys];   ///< G for a row that sees every present key of the block
  std::int16_t top;                  ///< Z for such a row
};

/// Scores of some query rows with the keys of some blocks, in 1/1024 octaves.
struct ScoreTask {
  const void* query; ///< packed
  std::size_t rows, dim;
  const float* unit;         ///< [rows]
  const unsigned char* keys; ///< packed blocks from the first key on
  const float* key_scale;    ///< one per key
  std::size_t block_begin, block_end;
  std::size_t key_end; ///< nothing is read of what lies in x from this key on
  float* x;            ///< [rows][stride], column 0 is the first key
  std::size_t stride;
  float* lane_max; ///< [rows][maximum_lanes], raised where not null
};

/// One row from scores to planes.
struct SoftmaxTask {
  const float* x;                     ///< column 0 is the first key; -infinity where a key is not visible
  float max;                          ///< of the visible scores and the extra logit; finite
  const ValueScales* scales;          ///< of the blocks, from the first on
  std::size_t block_begin, block_end; ///< blocks to work on
  std::size_t whole_begin, whole_end; ///< blocks among them in which every present key is visible
  unsigned plane_bits;
  /// Where the plane goes, a block behind the other in an order of the kernels' own. May lie over `x`: block b of the
  /// plane begins with block b of x.
  void* planes;
  float* factor; ///< one per block: 2^(t - E + Z); 0 where the block adds nothing
  struct Exponents {
    std::int16_t block, value, shift; ///< E (-1: dead), Z, t
  };
  Exponents* exponents; ///< one per block, or null
};

/// The sum of some blocks of one segment, from 0: sum += factor * (plane x values), block after block.
struct ValueTask {
  const void* planes;       ///< of the first row
  std::size_t plane_stride; ///< bytes from row to row
  std::size_t rows, dim;
  const unsigned char* values; ///< packed blocks from the first key on
  const float* factor;         ///< [rows][factor_stride]
  std::size_t factor_stride;
  std::size_t block_begin, block_end;
  float* sum; ///< [rows][stride]
  std::size_t stride;
};

/// What happens to the channels of a row before it is quantized, or after it was computed.
struct RowTransform {
  std::size_t dim, block; ///< Walsh-Hadamard on blocks of this many channels, a power of two that divides dim
  const float* sign;      ///< [dim] padded with zeros: +-1 before, +-1 / block after; null where block is 1
  const float* offset;    ///< [dim] padded with zeros: subtracted first, or added last; may be null
};

struct RowTask {
  const float* x; ///< [dim]
  float* work;    ///< [dim] padded
  RowTransform transform;
  unsigned top; ///< magnitude of the largest integer
  void* out;    ///< int8, or int16 where `top` exceeds 127
};

/// How a call multiplies: chosen by the bits of queries, keys and planes.
struct BlockProducts {
  std::size_t row_tile;     ///< query rows of one register tile
  std::size_t column_group; ///< columns of V and of sums are padded to this
  /// Bytes of packed operands; `query` of one row, where rows are packed by whole row tiles.
  std::size_t (*query_bytes)(std::size_t dim);
  std::size_t (*key_block)(std::size_t dim);
  std::size_t (*value_block)(std::size_t dim);

  /// `rows` are int8 (8 bits) or int16 (15 bits).
  void (*pack_query)(const void* rows, unsigned bits, std::size_t stride, std::size_t count, std::size_t dim,
                     void* packed);
  /// 64 rows.
  void (*pack_key)(const std::int8_t* rows, std::size_t stride, std::size_t dim, unsigned char* packed);
  void (*pack_value)(const std::int8_t* rows, std::size_t stride, std::size_t dim, unsigned char* packed);
  /// The byte of a packed block at which the number of a key and a channel lies.
  std::size_t (*key_place)(std::size_t dim, std::size_t key, std::size_t channel);
  std::size_t (*value_place)(std::size_t dim, std::size_t key, std::size_t channel);
  std::size_t number_bytes; ///< 1, or 2 with the lower byte first
  std::uint8_t even_flip;   ///< what numbers at even bytes are xored with
  /// What else a block holds, brought up to date for one row whose numbers have changed; null: nothing else.
  using RowWritten = void (*)(const std::int8_t* before, const std::int8_t* after, std::size_t dim, std::size_t key,
                              unsigned char* packed);
  RowWritten key_written, value_written;
  void (*scores)(const ScoreTask&);
  /// Returns the row sum.
  std::uint64_t (*softmax)(const SoftmaxTask&);
  void (*values)(const ValueTask&);
  /// The plane of one block in key order.
  void (*unpack)(const void* plane, std::uint16_t* out);
};

struct BlockKernels {
  /// The key within its block that stands at this position of `ValueScales`.
  std::size_t (*key_at)(std::size_t position);

  /// Sections 1 to 3: one row of float32 becomes integers. @return its scale, NaN for a bad row
  float (*quantize)(const RowTask&);
  /// Section 8: one row of sums becomes output, in place: x = unrotate(x * rec) + offset.
  void (*finish)(float* x, float rec, const RowTransform&);
  /// The largest of n numbers without NaN, a multiple of `maximum_lanes`.
  float (*maximum)(const float* x, std::size_t n);

  /// For caches of up to `pages_dim` channels of K, whose calls have queries and planes of 8 bits; null: `bytes`, else
  /// `words` serves.
  const BlockProducts* pages;
  std::size_t pages_dim;

  /// The first two may be null: the next more general then serves.
  const BlockProducts* narrow; ///< queries of 8, keys of 7, planes of 7 bits
  const BlockProducts* bytes;  ///< queries of 8, keys of 8, planes of 8 or 7 bits
  const BlockProducts* words;  ///< queries of 15, keys of 8, planes of 14 bits, and anything below
};

/// One per instruction set, part of its `Kernels`.
const BlockKernels* scalar_block_kernels();
const BlockKernels* avx2_block_kernels();
const BlockKernels* avx_vnni_block_kernels();
const BlockKernels* avx512vnni_block_kernels();
const BlockKernels* neon_dotprod_block_kernels();
const BlockKernels* neon_i8mm_block_kernels();

} // namespace intattn
