// A cache as bytes: a header, offsets, then segment after segment and head after head the rows of K with their scales
// and those of V; little-endian, the same on every instruction set.

#include <cmath>
#include <cstring>

#include "block/key_values.h"
#include "cache/state.h"
#include "status_message.h"

namespace intattn {
namespace {

constexpr char magic[8] = {'i', 'n', 't', 'a', 't', 't', 'k', 'v'};
constexpr std::uint32_t version = 1;

struct Header {
  char magic[8];
  std::uint32_t version;
  std::uint32_t kv_heads, head_dim, value_dim;
  std::uint8_t rotate, key_bits, value_bits, has_key_offset, has_value_offset, padding[3];
  std::uint64_t length, window;
  std::uint64_t digest; ///< FNV-1a of everything else
};
static_assert(sizeof(Header) == 56, "written as it lies in memory");
static_assert(most_cached_keys / segment_keys == 256, "a bit for every segment");

/// Which segments were freed.
using Freed = std::uint8_t[most_cached_keys / segment_keys / 8];

std::uint64_t digest_of(const unsigned char* bytes, std::size_t size) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (std::size_t i = 0; i < size; ++i)
    hash = (hash ^ (i >= offsetof(Header, digest) && i < sizeof(Header) ? 0 : bytes[i])) * 0x100000001b3;
  return hash;
}

std::size_t bytes_of_row(const KvCacheOptions& o) {
  return o.kv_heads * (std::size_t(o.head_dim) + o.value_dim + 2 * sizeof(float));
}

std::size_t bytes_of_offsets(const KvCacheOptions& o) {
  return sizeof(float) * o.kv_heads * ((o.key_offset ? o.head_dim : 0) + std::size_t(o.value_offset ? o.value_dim : 0));
}

bool is_freed(const Freed& freed, std::size_t segment) { return freed[segment / 8] >> segment % 8 & 1; }

Range keys_of(std::size_t segment, std::size_t length) {
  return {segment * segment_keys, std::min((segment + 1) * segment_keys, length)};
}

} // namespace

std::size_t KvCache::State::saved_bytes() const {
  std::size_t rows = 0;
  for (std::size_t segment = 0; segment * segment_keys < length_; ++segment)
    if (pages_[segment])
      rows += keys_of(segment, length_).end - segment * segment_keys;
  return sizeof(Header) + sizeof(Freed) + bytes_of_offsets(options_) + rows * bytes_of_row(options_);
}

void KvCache::State::save(unsigned char* bytes) const {
  Header header = {};
  std::memcpy(header.magic, magic, sizeof magic);
  header.version = version;
  header.kv_heads = options_.kv_heads, header.head_dim = options_.head_dim, header.value_dim = options_.value_dim;
  header.rotate = options_.rotate;
  header.key_bits = std::uint8_t(options_.key_bits), header.value_bits = std::uint8_t(options_.value_bits);
  header.has_key_offset = options_.key_offset != nullptr, header.has_value_offset = options_.value_offset != nullptr;
  header.length = length_, header.window = window_;
  Freed freed = {};
  for (std::size_t segment = 0; segment * segment_keys < length_; ++segment)
    if (!pages_[segment])
      freed[segment / 8] |= std::uint8_t(1 << segment % 8);

  unsigned char* out = bytes + sizeof header;
  const auto put = [&](const void* from, std::size_t size) {
    if (size > 0)
      std::memcpy(out, from, size);
    out += size;
  };
  put(freed, sizeof freed);
  put(key_.given.data(), key_.given.size() * sizeof(float));
  put(value_.given.data(), value_.given.size() * sizeof(float));
  for (std::size_t segment = 0; segment * segment_keys < length_; ++segment) {
    if (!pages_[segment])
      continue;
    const Range keys = keys_of(segment, length_);
    const std::size_t count = keys.end - keys.begin, heads = options_.kv_heads;
    unsigned char* key = out;
    unsigned char* value = key + heads * count * key_.dim;
    unsigned char* key_scale = value + heads * count * value_.dim;
    std::vector<float> scales(2 * heads * count);
    read(keys.begin, count,
         {reinterpret_cast<std::int8_t*>(key), reinterpret_cast<std::int8_t*>(value), scales.data(),
          scales.data() + heads * count});
    std::memcpy(key_scale, scales.data(), scales.size() * sizeof(float));
    out = key_scale + scales.size() * sizeof(float);
  }
  std::memcpy(bytes, &header, sizeof header);
  header.digest = digest_of(bytes, saved_bytes());
  std::memcpy(bytes, &header, sizeof header);
}

StatusMessage saved_options(const unsigned char* bytes, std::size_t size, KvCacheOptions* options) {
  Header header;
  if (size < sizeof header + sizeof(Freed))
    return invalid("bytes: expected a saved cache, received %zu bytes", size);
  std::memcpy(&header, bytes, sizeof header);
  if (std::memcmp(header.magic, magic, sizeof magic) != 0)
    return invalid("bytes: expected a saved cache");
  if (header.version != version)
    return invalid("bytes: expected a cache saved in version %u of the format, received %u", version, header.version);
  if (header.digest != digest_of(bytes, size))
    return invalid("bytes: expected a saved cache as it was written, received one that has changed or was cut off");
  KvCacheOptions o;
  o.kv_heads = header.kv_heads, o.head_dim = header.head_dim, o.value_dim = header.value_dim;
  o.rotate = header.rotate != 0;
  o.key_bits = header.key_bits, o.value_bits = header.value_bits;
  *options = o;
  return {};
}

StatusMessage KvCache::State::restore(const unsigned char* bytes, std::size_t size) {
  Header header;
  Freed freed;
  std::memcpy(&header, bytes, sizeof header);
  std::memcpy(freed, bytes + sizeof header, sizeof freed);
  const StatusMessage wrong = invalid("bytes: expected a saved cache");
  if (header.length > most_cached_keys)
    return wrong;
  const std::size_t length = std::size_t(header.length), heads = options_.kv_heads;
  std::size_t expected = sizeof header + sizeof freed;
  const auto restore_offset = [&](OfSide& side, bool has) {
    const std::size_t count = has ? heads * side.dim : 0;
    if (size - expected < count * sizeof(float))
      return false;
    side.given.resize(count);
    if (count > 0)
      std::memcpy(side.given.data(), bytes + expected, count * sizeof(float));
    expected += count * sizeof(float);
    for (const float x : side.given)
      if (!std::isfinite(x))
        return false;
    side.padded = padded_rows(has ? side.given.data() : nullptr, heads, side.dim);
    return true;
  };
  if (!restore_offset(key_, header.has_key_offset) || !restore_offset(value_, header.has_value_offset))
    return wrong;
  options_.key_offset = key_.given.empty() ? nullptr : key_.given.data();
  options_.value_offset = value_.given.empty() ? nullptr : value_.given.data();
  std::size_t rows = 0;
  for (std::size_t segment = 0; segment * segment_keys < length; ++segment)
    if (!is_freed(freed, segment))
      rows += keys_of(segment, length).end - segment * segment_keys;
  if (size - expected != rows * bytes_of_row(options_))
    return wrong;

  const unsigned char* from = bytes + expected;
  window_ = header.window;
  pages_.resize(divide_up(length, segment_keys));
  for (std::size_t segment = 0; segment * segment_keys < length; ++segment) {
    if (is_freed(freed, segment))
      continue;
    const Range keys = keys_of(segment, length);
    const std::size_t count = keys.end - keys.begin;
    Staged staged;
    const auto take = [&](auto& to, std::size_t n) {
      to.resize(n);
      std::memcpy(to.data(), from, n * sizeof to[0]);
      from += n * sizeof to[0];
    };
    take(staged.key, heads * count * key_.dim);
    take(staged.value, heads * count * value_.dim);
    take(staged.key_scale, heads * count);
    take(staged.value_scale, heads * count);
    for (const auto* scales : {&staged.key_scale, &staged.value_scale})
      for (const float scale : *scales)
        if (!(scale == 0 || (scale >= 0x1p-75f && scale < 0x1p36f)))
          return wrong;
    const auto fits = [](const std::vector<std::int8_t>& numbers, unsigned bits) {
      for (const std::int8_t q : numbers) {
        std::int8_t level = q;
        to_levels(&level, 1);
        if (bits == 7 ? q < -63 || q > 63 : bits == 4 && q != 0 && q != level)
          return false;
      }
      return true;
    };
    if (!fits(staged.key, options_.key_bits) || !fits(staged.value, options_.value_bits))
      return wrong;
    length_ = keys.begin;
    if (!own(keys.begin, keys.end))
      return ended(Status::out_of_memory);
    alignas(64) std::int8_t work[block_keys * 1024];
    for (std::size_t head = 0; head < heads; ++head)
      for (std::size_t block = keys.begin / block_keys; block * block_keys < keys.end; ++block)
        write(staged, count, head, block, work);
  }
  length_ = length;
  return {};
}

} // namespace intattn
