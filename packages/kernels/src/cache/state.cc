#include "cache/state.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "block/float_environment.h"
#include "driver/run_status.h"
#include "status_message.h"

namespace intattn {
namespace {

/// Rows that one task quantizes.
constexpr std::size_t task_rows = 64;
/// Rows that one thread writes sooner than others could be told of them.
constexpr std::size_t few_rows = 32;

/// Tasks of the executor, or here and now where all together have few rows.
template <class F> void share(Executor& executor, std::size_t rows, std::size_t tasks, const F& f) {
  if (rows > few_rows)
    return executor.run(tasks, f);
  for (std::size_t task = 0; task < tasks; ++task)
    f(task, 0u);
}

} // namespace

KvCache::State::State(const KvCacheOptions& o)
    : options_(o), kernels_(kernels_of(o.isa)), block_(block_kernels_of(o.isa)),
      key_{o.head_dim,
           {o.key_bits},
           Rotation(o.head_dim, o.rotate),
           {o.key_offset, o.key_offset + (o.key_offset ? std::size_t(o.kv_heads) * o.head_dim : 0)},
           padded_rows(o.key_offset, o.kv_heads, o.head_dim)},
      value_{o.value_dim,
             {o.value_bits},
             Rotation(o.value_dim, o.rotate),
             {o.value_offset, o.value_offset + (o.value_offset ? std::size_t(o.kv_heads) * o.value_dim : 0)},
             padded_rows(o.value_offset, o.kv_heads, o.value_dim)},
      format_(std::make_shared<PageFormat>(block_, o.kv_heads, o.head_dim, o.value_dim)) {
  options_.key_offset = key_.given.empty() ? nullptr : key_.given.data();
  options_.value_offset = value_.given.empty() ? nullptr : value_.given.data();
}

KvCache::State::State(const State& other)
    : options_(other.options_), kernels_(other.kernels_), block_(other.block_), key_(other.key_), value_(other.value_),
      format_(other.format_),
      pages_(other.pages_.begin(), other.pages_.begin() + std::ptrdiff_t(divide_up(other.length_, segment_keys))),
      length_(other.length_), window_(other.window_) {
  options_.key_offset = key_.given.empty() ? nullptr : key_.given.data();
  options_.value_offset = value_.given.empty() ? nullptr : value_.given.data();
}

std::size_t KvCache::State::bytes() const {
  std::size_t bytes = 0;
  for (const auto& page : pages_)
    bytes += page ? format_->bytes(page->blocks()) : 0;
  return bytes;
}

bool KvCache::State::holds(Range keys) const {
  for (std::size_t segment = keys.begin / segment_keys; segment * segment_keys < keys.end; ++segment)
    if (!pages_[segment])
      return false;
  return true;
}

bool KvCache::State::begin_reading() const {
  int users = users_.load(std::memory_order_relaxed);
  while (users >= 0)
    if (users_.compare_exchange_weak(users, users + 1, std::memory_order_acquire, std::memory_order_relaxed))
      return true;
  return false;
}

bool KvCache::State::begin_changing() const {
  int none = 0;
  return users_.compare_exchange_strong(none, -1, std::memory_order_acquire, std::memory_order_relaxed);
}

Status KvCache::State::quantize(Staged& staged, std::size_t count, const TensorView& key, const TensorView& value,
                                Executor& executor) const {
  RunStatus status;
  const std::size_t parts = divide_up(count, task_rows), heads = options_.kv_heads;
  share(executor, heads * count, 2 * heads * parts, [&](std::size_t task, unsigned) {
    const FloatEnvironment environment;
    const Side side = Side(task % 2);
    const std::size_t head = task / 2 / parts, first = task / 2 % parts * task_rows;
    const OfSide& of = side == Side::key ? key_ : value_;
    const TensorView& view = side == Side::key ? key : value;
    std::int8_t* rows = (side == Side::key ? staged.key : staged.value).data();
    float* scales = (side == Side::key ? staged.key_scale : staged.value_scale).data();
    alignas(64) float scratch[1024 + float_padding];
    for (std::size_t i = first; i < std::min(count, first + task_rows); ++i) {
      const std::size_t at = head * count + i;
      alignas(64) std::int8_t row[1024 + integer_padding];
      const float scale = quantize_row(kernels_, block_, view, of.format, of.rotation, offset_of(of, head), 0, head, i,
                                       of.dim, scratch, row);
      if (scale != scale)
        return status.fail(side == Side::key ? Status::non_finite_key : Status::non_finite_value);
      std::memcpy(rows + at * of.dim, row, of.dim);
      scales[at] = scale;
    }
  });
  return status.status();
}

bool KvCache::State::own(std::size_t first, std::size_t end) {
  const std::size_t last = divide_up(end, segment_keys);
  if (pages_.size() < last)
    pages_.resize(last);
  for (std::size_t segment = first / segment_keys; segment < last; ++segment) {
    PageReference& page = pages_[segment];
    const std::size_t keys = std::min(end - segment * segment_keys, segment_keys);
    std::size_t blocks = divide_up(keys, block_keys);
    if (page && page->blocks() >= blocks && page.only())
      continue;
    // Twice as many, so that the last page is copied but a few times.
    if (page && page->blocks() < blocks)
      blocks = std::min(std::max(blocks, 2 * page->blocks()), segment_blocks);
    PageReference owned = page ? page->copy(*format_, std::max(blocks, page->blocks())) : Page::make(*format_, blocks);
    if (!owned)
      return false;
    page = std::move(owned);
  }
  return true;
}

void KvCache::State::write(const Staged& staged, std::size_t count, std::size_t head, std::size_t block,
                           std::int8_t* work) const {
  const Page::Head page = pages_[block / segment_blocks]->head(*format_, head);
  const std::size_t within = block % segment_blocks, begin = block * block_keys;
  const std::size_t first = std::max(begin, length_), end = std::min(begin + block_keys, length_ + count);
  const std::size_t at = head * count + first - length_;
  format_->key.write(staged.key.data() + at * key_.dim, key_.dim, first - begin, end - first,
                     page.keys + within * format_->key.bytes(), work);
  format_->value.write(staged.value.data() + at * value_.dim, value_.dim, first - begin, end - first,
                       page.values + within * format_->value.bytes(), work);
  ValueScales& scales = page.scales[within];
  if (first == begin)
    clear(scales);
  std::int16_t top = scales.top;
  for (std::size_t i = 0; i < end - first; ++i) {
    page.key_scale[within * block_keys + first - begin + i] = staged.key_scale[at + i];
    const IntegerScale scale = integer_scale(staged.value_scale[at + i]);
    const std::size_t position = format_->position_of[first - begin + i];
    scales.mantissa[position] = scale.mantissa;
    scales.exponent[position] = scale.exponent;
    if (scale.exponent <= scales.top)
      scales.folded[position] = folded(scale, scales.top);
    top = std::max(top, scale.exponent);
  }
  if (top != scales.top)
    fold(scales);
}

StatusMessage KvCache::State::append(std::size_t count, const TensorView& key, const TensorView& value,
                                     Executor& executor) {
  const std::size_t rows = options_.kv_heads * count;
  Staged staged;
  staged.key.resize(rows * key_.dim);
  staged.value.resize(rows * value_.dim);
  staged.key_scale.resize(rows);
  staged.value_scale.resize(rows);
  if (const Status status = quantize(staged, count, key, value, executor); status != Status::ok)
    return ended(status);
  if (!own(length_, length_ + count))
    return ended(Status::out_of_memory);
  const std::size_t first = length_ / block_keys, blocks = divide_up(length_ + count, block_keys) - first;
  share(executor, rows, options_.kv_heads * blocks, [&](std::size_t task, unsigned) {
    alignas(64) std::int8_t work[block_keys * 1024];
    write(staged, count, task / blocks, first + task % blocks, work);
  });
  length_ += count;
  return {};
}

StatusMessage KvCache::State::truncate(std::size_t length) {
  if (length > length_)
    return invalid("length: expected at most %zu, received %zu", length_, length);
  const std::size_t from = length > window_ ? length - window_ : 0; // what the last row sees, at least
  if (window_ && !holds({from, length}))
    return invalid("length: expected a row before %zu that sees no key that was freed", length);
  const std::size_t segments = divide_up(length, segment_keys);
  if (const std::size_t cut = length % block_keys; cut != 0 && pages_[segments - 1]) {
    if (!own(length - 1, length))
      return ended(Status::out_of_memory);
    const std::size_t block = length / block_keys % segment_blocks;
    for (std::size_t head = 0; head < options_.kv_heads; ++head) {
      const Page::Head page = pages_[segments - 1]->head(*format_, head);
      ValueScales& scales = page.scales[block];
      for (std::size_t key = cut; key < block_keys; ++key) {
        scales.mantissa[format_->position_of[key]] = 0;
        scales.exponent[format_->position_of[key]] = no_exponent;
        page.key_scale[block * block_keys + key] = 0;
      }
      fold(scales);
    }
  }
  pages_.resize(segments); // what a page still has behind the cut is written anew before it is read
  length_ = length;
  return {};
}

StatusMessage KvCache::State::reserve(std::size_t keys) {
  if (keys > most_cached_keys)
    return invalid("keys: expected at most %zu, received %zu", most_cached_keys, keys);
  if (keys > length_ && !own(length_, keys))
    return ended(Status::out_of_memory);
  return {};
}

void KvCache::State::release(std::uint64_t window, std::uint64_t keep_first) {
  if (length_ <= window)
    return;
  const std::size_t hidden = length_ - std::size_t(window); // keys before this one are seen no more
  for (std::size_t segment = 0; (segment + 1) * segment_keys <= hidden; ++segment)
    if (segment * segment_keys >= keep_first && pages_[segment]) {
      pages_[segment] = {};
      window_ = std::max(window_, window);
    }
}

void KvCache::State::read(std::size_t first, std::size_t count, const CachedRows& rows) const {
  for (std::size_t head = 0; head < options_.kv_heads; ++head)
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t key = first + i, within = key % segment_keys, block = within / block_keys;
      const Page::Head page = pages_[key / segment_keys]->head(*format_, head);
      const std::size_t at = head * count + i;
      if (rows.key)
        format_->key.read(page.keys + block * format_->key.bytes(), key % block_keys, 1, rows.key + at * key_.dim,
                          key_.dim);
      if (rows.value)
        format_->value.read(page.values + block * format_->value.bytes(), key % block_keys, 1,
                            rows.value + at * value_.dim, value_.dim);
      if (rows.key_scale)
        rows.key_scale[at] = page.key_scale[within];
      if (rows.value_scale) {
        const std::size_t position = format_->position_of[key % block_keys];
        rows.value_scale[at] = scale_of({page.scales[block].mantissa[position], page.scales[block].exponent[position]});
      }
    }
}

} // namespace intattn
