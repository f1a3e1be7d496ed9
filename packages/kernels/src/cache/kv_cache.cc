#include "intattn/kv_cache.h"

#include <cmath>
#include <new>

#include "block/float_environment.h"
#include "cache/state.h"
#include "status_message.h"

namespace intattn {
namespace {

StatusMessage check(const KvCacheOptions& o) {
  const auto finite = [](const float* x, std::size_t n) {
    for (std::size_t i = 0; x && i < n; ++i)
      if (!std::isfinite(x[i]))
        return false;
    return true;
  };
  if (o.kv_heads < 1 || o.kv_heads > 65536)
    return invalid("kv_heads: expected 1 ... 65536, received %u", o.kv_heads);
  if (o.head_dim < 1 || o.head_dim > 1024)
    return invalid("head_dim: expected 1 ... 1024, received %u", o.head_dim);
  if (o.value_dim > 1024)
    return invalid("value_dim: expected 1 ... 1024, received %u", o.value_dim);
  if (o.key_bits != 8 && o.key_bits != 7 && o.key_bits != 4)
    return invalid("key_bits: expected 8, 7 or 4, received %u", o.key_bits);
  if (o.value_bits != 8 && o.value_bits != 4)
    return invalid("value_bits: expected 8 or 4, received %u", o.value_bits);
  if (!finite(o.key_offset, std::size_t(o.kv_heads) * o.head_dim))
    return invalid("key_offset: expected finite numbers");
  if (!finite(o.value_offset, std::size_t(o.kv_heads) * (o.value_dim ? o.value_dim : o.head_dim)))
    return invalid("value_offset: expected finite numbers");
  return check_instruction_set(o.isa);
}

StatusMessage check(const KvCacheOptions& o, std::size_t length, std::size_t count, const TensorView& key,
                    const TensorView& value) {
  if (count > most_cached_keys - length)
    return invalid("count: expected at most %zu keys beside the %zu that are there, received %zu",
                   most_cached_keys - length, length, count);
  if (count > 0 && (!key.data || !value.data))
    return invalid("data: expected key and value");
  for (const auto& [name, view] : {std::pair{"key", &key}, {"value", &value}})
    if (view->type == ElementType::int8 && !view->scale)
      return invalid("%s: expected scales for int8", name);
  if (key.type == ElementType::int8 && o.key_bits == 4)
    return invalid("key: expected floats with key_bits 4");
  if (value.type == ElementType::int8 && o.value_bits == 4)
    return invalid("value: expected floats with value_bits 4");
  return {};
}

StatusMessage busy() { return invalid("cache: expected no other call under way that it could disturb"); }

/// Calls `f` while nothing else uses the cache.
template <class F> StatusMessage change(KvCache::State& state, const F& f) {
  if (!state.begin_changing())
    return busy();
  StatusMessage out;
  try {
    out = f();
  } catch (const std::bad_alloc&) {
    out = ended(Status::out_of_memory);
  }
  state.end_changing();
  return out;
}

} // namespace

KvCache::KvCache(std::unique_ptr<State> state) : state_(std::move(state)) {}
KvCache::~KvCache() = default;

StatusMessage KvCache::create(const KvCacheOptions& given, std::unique_ptr<KvCache>* cache) noexcept {
  cache->reset();
  if (StatusMessage wrong = check(given); wrong.status != Status::ok)
    return wrong;
  KvCacheOptions options = given;
  if (options.value_dim == 0)
    options.value_dim = options.head_dim;
  try {
    cache->reset(new KvCache(std::make_unique<State>(options)));
  } catch (const std::bad_alloc&) {
    return ended(Status::out_of_memory);
  }
  return {};
}

StatusMessage KvCache::append(std::size_t count, const TensorView& key, const TensorView& value,
                              Executor& executor) noexcept {
  return change(*state_, [&] {
    const StatusMessage wrong = check(state_->options(), state_->length(), count, key, value);
    if (wrong.status != Status::ok || count == 0)
      return wrong;
    return state_->append(count, key, value, executor);
  });
}

StatusMessage KvCache::truncate(std::size_t length) noexcept {
  return change(*state_, [&] { return state_->truncate(length); });
}

StatusMessage KvCache::fork(std::unique_ptr<KvCache>* cache) const noexcept {
  cache->reset();
  if (!state_->begin_reading())
    return busy();
  StatusMessage out;
  try {
    cache->reset(new KvCache(std::make_unique<State>(*state_)));
  } catch (const std::bad_alloc&) {
    out = ended(Status::out_of_memory);
  }
  state_->end_reading();
  return out;
}

StatusMessage KvCache::reserve(std::size_t keys) noexcept {
  return change(*state_, [&] { return state_->reserve(keys); });
}

StatusMessage KvCache::release(std::uint64_t window, std::uint64_t keep_first) noexcept {
  if (window < 1)
    return invalid("window: expected at least 1, received 0");
  return change(*state_, [&] {
    state_->release(window, keep_first);
    return StatusMessage{};
  });
}

StatusMessage KvCache::read(std::size_t first, std::size_t count, const CachedRows& rows) const noexcept {
  if (!state_->begin_reading())
    return busy();
  StatusMessage out;
  if (first > state_->length() || count > state_->length() - first)
    out = invalid("rows: expected some of %zu, received %zu from %zu on", state_->length(), count, first);
  else if (!state_->holds({first, first + count}))
    out = invalid("rows: expected keys that were not freed");
  else
    state_->read(first, count, rows);
  state_->end_reading();
  return out;
}

std::size_t KvCache::saved_bytes() const noexcept { return state_->saved_bytes(); }

StatusMessage KvCache::save(unsigned char* bytes) const noexcept {
  if (!state_->begin_reading())
    return busy();
  StatusMessage out;
  try {
    state_->save(bytes);
  } catch (const std::bad_alloc&) {
    out = ended(Status::out_of_memory);
  }
  state_->end_reading();
  return out;
}

StatusMessage KvCache::load(const unsigned char* bytes, std::size_t size, InstructionSet isa,
                            std::unique_ptr<KvCache>* cache) noexcept {
  cache->reset();
  KvCacheOptions options;
  if (StatusMessage wrong = saved_options(bytes, size, &options); wrong.status != Status::ok)
    return wrong;
  options.isa = isa;
  std::unique_ptr<KvCache> made;
  if (StatusMessage wrong = create(options, &made); wrong.status != Status::ok)
    return wrong;
  StatusMessage out = change(*made->state_, [&] { return made->state_->restore(bytes, size); });
  if (out.status == Status::ok)
    *cache = std::move(made);
  return out;
}

const KvCacheOptions& KvCache::options() const noexcept { return state_->options(); }
std::size_t KvCache::length() const noexcept { return state_->length(); }
std::size_t KvCache::bytes() const noexcept { return state_->bytes(); }

} // namespace intattn
