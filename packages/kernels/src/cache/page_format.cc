#include "cache/page_format.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "block/rows.h"
#include "kernels.h"

namespace intattn {

BlockLayout::BlockLayout(const BlockProducts& products, Side side, std::size_t dim)
    : pack_(side == Side::key ? products.pack_key : products.pack_value), dim_(dim),
      stride_(round_up(dim, integer_padding)),
      bytes_(side == Side::key ? products.key_block(dim) : products.value_block(dim)),
      number_bytes_(products.number_bytes), even_flip_(products.even_flip),
      row_written_(side == Side::key ? products.key_written : products.value_written), places_(block_keys * dim) {
  const auto place = side == Side::key ? products.key_place : products.value_place;
  for (std::size_t key = 0; key < block_keys; ++key)
    for (std::size_t c = 0; c < dim; ++c)
      places_[key * dim + c] = std::uint32_t(place(dim, key, c));
}

void BlockLayout::read(const unsigned char* packed, std::size_t first, std::size_t count, std::int8_t* rows,
                       std::size_t stride) const {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t* places = places_.data() + (first + i) * dim_;
    for (std::size_t c = 0; c < dim_; ++c)
      rows[i * stride + c] = std::int8_t(packed[places[c]] ^ (places[c] % 2 == 0 ? even_flip_ : 0));
  }
}

void BlockLayout::write(const std::int8_t* rows, std::size_t stride, std::size_t first, std::size_t count,
                        unsigned char* packed, std::int8_t* work) const {
  if (count < block_keys / 4) {
    for (std::size_t i = 0; i < count; ++i, rows += stride) {
      const std::uint32_t* places = places_.data() + (first + i) * dim_;
      if (row_written_) {
        read(packed, first + i, 1, work, stride_);
        row_written_(work, rows, dim_, first + i, packed);
      }
      if (number_bytes_ == 1) {
        for (std::size_t c = 0; c < dim_; ++c)
          packed[places[c]] = static_cast<unsigned char>(rows[c]) ^ (places[c] % 2 == 0 ? even_flip_ : 0);
      } else {
        for (std::size_t c = 0; c < dim_; ++c) {
          const std::int16_t wide = rows[c];
          std::memcpy(packed + places[c], &wide, sizeof wide);
        }
      }
    }
    return;
  }
  std::memset(work, 0, block_keys * stride_);
  if (count < block_keys)
    read(packed, 0, block_keys, work, stride_);
  for (std::size_t i = 0; i < count; ++i)
    std::memcpy(work + (first + i) * stride_, rows + i * stride, dim_);
  pack_(work, stride_, dim_, packed);
}

const BlockProducts& page_products(const BlockKernels& kernels, std::size_t head_dim) {
  if (kernels.pages && head_dim <= kernels.pages_dim)
    return *kernels.pages;
  return kernels.bytes ? *kernels.bytes : *kernels.words;
}

PageFormat::PageFormat(const BlockKernels& kernels, std::size_t heads, std::size_t head_dim, std::size_t value_dim)
    : products(page_products(kernels, head_dim)), kv_heads(heads), key(products, Side::key, head_dim),
      value(products, Side::value, value_dim) {
  for (std::size_t position = 0; position < block_keys; ++position)
    position_of[kernels.key_at(position)] = std::uint8_t(position);
}

Page::~Page() { std::free(memory_); }

PageReference Page::make(const PageFormat& format, std::size_t blocks) {
  auto* memory = static_cast<unsigned char*>(std::aligned_alloc(64, format.bytes(blocks)));
  if (!memory)
    return {};
  PageReference page(new (std::nothrow) Page(blocks, memory));
  if (!page) {
    std::free(memory);
    return {};
  }
  std::memset(memory, 0, format.bytes(blocks));
  for (std::size_t head = 0; head < format.kv_heads; ++head)
    for (std::size_t block = 0; block < blocks; ++block)
      clear(page->head(format, head).scales[block]);
  return page;
}

PageReference Page::copy(const PageFormat& format, std::size_t blocks) const {
  PageReference page = make(format, blocks);
  for (std::size_t head = 0; page && head < format.kv_heads; ++head) {
    const Head from = this->head(format, head), to = page->head(format, head);
    std::memcpy(to.keys, from.keys, blocks_ * format.key.bytes());
    std::memcpy(to.key_scale, from.key_scale, blocks_ * block_keys * sizeof(float));
    std::memcpy(to.values, from.values, blocks_ * format.value.bytes());
    std::memcpy(to.scales, from.scales, blocks_ * sizeof(ValueScales));
  }
  return page;
}

Page::Head Page::head(const PageFormat& format, std::size_t head) const {
  unsigned char* base = memory_ + head * format.head_bytes(blocks_);
  return {base, reinterpret_cast<float*>(base + format.key_scale_at(blocks_)), base + format.values_at(blocks_),
          reinterpret_cast<ValueScales*>(base + format.scales_at(blocks_))};
}

} // namespace intattn
