#pragma once

#include <napi.h>

#include <memory>

#include "intattn/kv_cache.h"

namespace intattn::addon {

/// JavaScript's handle of a `KvCache`. Runs keep a share of their own of the cache, whatever becomes of the handle.
class CacheObject : public Napi::ObjectWrap<CacheObject> {
public:
  static Napi::Function constructor(Napi::Env env);
  /// The cache of a handle that was not disposed; throws for anything else.
  static std::shared_ptr<const KvCache> cache_of(Napi::Value value);

  explicit CacheObject(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

private:
  Napi::Value options(const Napi::CallbackInfo& info);
  Napi::Value append(const Napi::CallbackInfo& info);
  Napi::Value truncate(const Napi::CallbackInfo& info);
  Napi::Value fork(const Napi::CallbackInfo& info);
  Napi::Value reserve(const Napi::CallbackInfo& info);
  Napi::Value release(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value save(const Napi::CallbackInfo& info);
  Napi::Value length(const Napi::CallbackInfo& info);
  Napi::Value bytes(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo& info);

  KvCache& live(Napi::Env env) const;
  /// Tells the garbage collector what this object weighs, and JavaScript how a change ended.
  Napi::Value ended(Napi::Env env, const StatusMessage& status);
  void account(Napi::BasicEnv env, std::int64_t bytes);

  std::shared_ptr<KvCache> cache_; ///< null once disposed
  std::unique_ptr<Executor> executor_;
  std::int64_t bytes_ = 0;
};

} // namespace intattn::addon
