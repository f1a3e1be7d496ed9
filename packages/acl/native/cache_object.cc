#include "cache_object.h"

#include <algorithm>
#include <string>

#include "arrays.h"
#include "options.h"
#include "tensors.h"

namespace intattn::addon {
namespace {

/// Tells handles from other objects.
constexpr napi_type_tag tag = {0x6b7665696e746174, 0x9d1c7a52f0e84b36};

void require(Napi::Env env, const StatusMessage& status) {
  if (status.status == Status::ok)
    return;
  Napi::Error error = Napi::Error::New(env, std::string("addon: ") + status.message);
  if (status.status == Status::out_of_memory)
    error.Set("code", "OUT_OF_MEMORY");
  throw error;
}

} // namespace

Napi::Function CacheObject::constructor(Napi::Env env) {
  return DefineClass(env, "KvCache",
                     {InstanceMethod<&CacheObject::options>("options"), InstanceMethod<&CacheObject::append>("append"),
                      InstanceMethod<&CacheObject::truncate>("truncate"), InstanceMethod<&CacheObject::fork>("fork"),
                      InstanceMethod<&CacheObject::reserve>("reserve"),
                      InstanceMethod<&CacheObject::release>("release"), InstanceMethod<&CacheObject::read>("read"),
                      InstanceMethod<&CacheObject::save>("save"), InstanceMethod<&CacheObject::length>("length"),
                      InstanceMethod<&CacheObject::bytes>("bytes"), InstanceMethod<&CacheObject::dispose>("dispose")});
}

CacheObject::CacheObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CacheObject>(info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject())
    reject(env, "options", "an object");
  const auto object = info[0].As<Napi::Object>();
  std::unique_ptr<KvCache> cache;
  if (const Napi::Value saved = object.Get("saved"); saved.IsTypedArray()) {
    const Elements bytes = elements_of(saved, "saved");
    require(env,
            KvCache::load(static_cast<const unsigned char*>(bytes.data), bytes.bytes(), available_isa(object), &cache));
  } else {
    require(env, KvCache::create(cache_options(object), &cache));
  }
  executor_ = make_executor(threads_of(object));
  cache_ = std::move(cache);
  info.This().As<Napi::Object>().TypeTag(&tag);
}

void CacheObject::Finalize(Napi::BasicEnv env) { account(env, 0); }

std::shared_ptr<const KvCache> CacheObject::cache_of(Napi::Value value) {
  const Napi::Env env = value.Env();
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&tag))
    reject(env, "cache", "a cache");
  const CacheObject* object = Unwrap(value.As<Napi::Object>());
  if (!object->cache_)
    reject(env, "cache", "a cache that was not disposed");
  return object->cache_;
}

KvCache& CacheObject::live(Napi::Env env) const {
  if (!cache_)
    reject(env, "cache", "a cache that was not disposed");
  return *cache_;
}

void CacheObject::account(Napi::BasicEnv env, std::int64_t bytes) {
  std::int64_t total = 0;
  napi_adjust_external_memory(env, bytes - bytes_, &total);
  bytes_ = bytes;
}

Napi::Value CacheObject::ended(Napi::Env env, const StatusMessage& status) {
  account(env, std::int64_t(cache_->bytes()));
  if (status.status == Status::invalid_argument)
    return Napi::String::New(env, status.message);
  return Napi::Number::New(env, static_cast<std::uint32_t>(status.status));
}

Napi::Value CacheObject::options(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const KvCacheOptions& o = live(env).options();
  Napi::Object out = Napi::Object::New(env);
  out.Set("kvHeads", o.kv_heads);
  out.Set("headDim", o.head_dim);
  out.Set("valueDim", o.value_dim);
  out.Set("rotate", o.rotate);
  out.Set("keyBits", o.key_bits);
  out.Set("valueBits", o.value_bits);
  const auto floats = [&](const char* name, const float* from, std::size_t count) {
    if (!from)
      return;
    Napi::Float32Array array = Napi::Float32Array::New(env, count);
    std::copy_n(from, count, array.Data());
    out.Set(name, array);
  };
  floats("keyOffset", o.key_offset, std::size_t{o.kv_heads} * o.head_dim);
  floats("valueOffset", o.value_offset, std::size_t{o.kv_heads} * o.value_dim);
  return out;
}

Napi::Value CacheObject::append(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  KvCache& cache = live(env);
  if (!info[0].IsObject())
    reject(env, "rows", "an object");
  const auto object = info[0].As<Napi::Object>();
  const KvCacheOptions& o = cache.options();
  const std::size_t count = integer_of(object.Get("count"), "count", 1, most_cached_keys);
  const Shape key = {1, o.kv_heads, count, o.head_dim}, value = {1, o.kv_heads, count, o.value_dim};
  const TensorView keys = view_of(object, "keyScale", key, tensor_of(object, "key", key));
  const TensorView values = view_of(object, "valueScale", value, tensor_of(object, "value", value));
  return ended(env, cache.append(count, keys, values, *executor_));
}

Napi::Value CacheObject::truncate(const Napi::CallbackInfo& info) {
  KvCache& cache = live(info.Env());
  return ended(info.Env(), cache.truncate(integer_of(info[0], "length", 0, most_cached_keys)));
}

Napi::Value CacheObject::fork(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const KvCache& cache = live(env);
  if (!info[0].IsObject() || !info[0].As<Napi::Object>().CheckTypeTag(&tag))
    reject(env, "fork", "a cache");
  CacheObject* target = Unwrap(info[0].As<Napi::Object>());
  std::unique_ptr<KvCache> forked;
  const StatusMessage status = cache.fork(&forked);
  if (status.status == Status::ok) {
    target->cache_ = std::move(forked);
    target->account(env, std::int64_t(target->cache_->bytes()));
  }
  return ended(env, status);
}

Napi::Value CacheObject::reserve(const Napi::CallbackInfo& info) {
  KvCache& cache = live(info.Env());
  return ended(info.Env(), cache.reserve(integer_of(info[0], "keys", 0, most_cached_keys)));
}

Napi::Value CacheObject::release(const Napi::CallbackInfo& info) {
  KvCache& cache = live(info.Env());
  const std::size_t window = integer_of(info[0], "window", 1, std::size_t{1} << 53);
  return ended(info.Env(), cache.release(window, integer_of(info[1], "keepFirst", 0, std::size_t{1} << 53)));
}

Napi::Value CacheObject::read(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const KvCache& cache = live(env);
  const KvCacheOptions& o = cache.options();
  const std::size_t first = integer_of(info[0], "first", 0, most_cached_keys);
  const std::size_t count = integer_of(info[1], "count", 0, most_cached_keys), rows = product(env, o.kv_heads, count);
  CachedRows to;
  to.key = static_cast<std::int8_t*>(data_of(info[2], "key", napi_int8_array, product(env, rows, o.head_dim)));
  to.value = static_cast<std::int8_t*>(data_of(info[3], "value", napi_int8_array, product(env, rows, o.value_dim)));
  to.key_scale = static_cast<float*>(data_of(info[4], "keyScale", napi_float32_array, rows));
  to.value_scale = static_cast<float*>(data_of(info[5], "valueScale", napi_float32_array, rows));
  return ended(env, cache.read(first, count, to));
}

Napi::Value CacheObject::save(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const KvCache& cache = live(env);
  Napi::Uint8Array bytes = Napi::Uint8Array::New(env, cache.saved_bytes());
  require(env, cache.save(bytes.Data()));
  return bytes;
}

Napi::Value CacheObject::length(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), double(live(info.Env()).length()));
}

Napi::Value CacheObject::bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), double(live(info.Env()).bytes()));
}

void CacheObject::dispose(const Napi::CallbackInfo& info) {
  cache_.reset();
  account(info.Env(), 0);
}

} // namespace intattn::addon
