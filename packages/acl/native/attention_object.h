#pragma once

#include <napi.h>

#include <memory>

namespace intattn::addon {

/// JavaScript's `Attention`: one engine at work and at most one run of it at a time.
class AttentionObject : public Napi::ObjectWrap<AttentionObject> {
public:
  static Napi::Function constructor(Napi::Env env);

  explicit AttentionObject(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

private:
  struct Shared;
  struct Run;

  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value run_sync(const Napi::CallbackInfo& info);
  Napi::Value memory_bytes(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo& info);
  void require_idle(Napi::Env env) const;

  /// Null once disposed. A run under way keeps its own share.
  std::shared_ptr<Shared> shared_;
};

} // namespace intattn::addon
