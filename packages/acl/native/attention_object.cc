#include "attention_object.h"

#include <new>
#include <string>
#include <utility>

#include "arrays.h"
#include "computation.h"

namespace intattn::addon {
namespace {

/// The codes TypeScript knows: a `Status`, or the input that shares memory with the output. A string is the message of
/// an engine that failed.
std::uint32_t code_of(Status status) { return static_cast<std::uint32_t>(status); }
std::uint32_t code_of_overlap(unsigned input) { return code_of(Status::non_finite_output) + input; }

void store(const StageTimes& times, double* out) {
  const double values[6] = {times.total, times.prepare, times.scores, times.softmax, times.values, times.output};
  for (int i = 0; i < 6; ++i)
    out[i] = values[i];
}

/// Throws unless Node-API did it: the exception that is pending, if there is one, since a second could not be thrown.
void require(Napi::Env env, napi_status status, const char* what) {
  if (status == napi_ok)
    return;
  if (env.IsExceptionPending())
    throw env.GetAndClearPendingException();
  throw Napi::Error::New(env, std::string("addon: Node-API refused to ") + what);
}

napi_status value_of(napi_env env, const Outcome& outcome, napi_value* value) {
  if (outcome.failure.empty())
    return napi_create_uint32(env, code_of(outcome.status), value);
  return napi_create_string_utf8(env, outcome.failure.data(), outcome.failure.size(), value);
}

} // namespace

/// Touched by the JavaScript thread alone, but for `computation` while a run is under way.
struct AttentionObject::Shared {
  explicit Shared(Napi::Object options) : computation(make_computation(options)) {}

  /// Tells the garbage collector what this object really weighs; only while idle.
  void account(napi_env env) {
    if (retired)
      return;
    const auto now = static_cast<std::int64_t>(computation->memory_bytes());
    std::int64_t total = 0;
    napi_adjust_external_memory(env, now - bytes, &total);
    bytes = now;
  }
  void retire(napi_env env) {
    std::int64_t total = 0;
    napi_adjust_external_memory(env, -bytes, &total);
    bytes = 0;
    retired = true;
  }

  const std::unique_ptr<Computation> computation;
  std::int64_t bytes = 0; ///< working memory
  bool retired = false;
  bool running = false;
};

/// A run on a thread of the pool. Uses Node-API directly: when a worker is terminated, completion comes while no
/// JavaScript can run any more, and must then clean up without raising anything.
struct AttentionObject::Run {
  Run(napi_env environment, std::shared_ptr<Shared> object) : env(environment), shared(std::move(object)) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() {
    // Nobody waits for it: Node-API frees a deferred only when it is settled.
    napi_value nothing;
    if (deferred && napi_get_undefined(env, &nothing) == napi_ok)
      settle(nothing);
    if (work)
      napi_delete_async_work(env, work);
    if (arrays)
      napi_delete_reference(env, arrays);
  }

  /// Once only. Fails when the environment is ending.
  napi_status settle(napi_value value) { return napi_resolve_deferred(env, std::exchange(deferred, nullptr), value); }

  const napi_env env;
  const std::shared_ptr<Shared> shared;
  std::unique_ptr<Call> call;
  StageTimes times;
  Outcome outcome;
  napi_deferred deferred = nullptr;
  napi_async_work work = nullptr;
  napi_ref arrays = nullptr; ///< keeps the arguments alive

  static void execute(napi_env, void* data) {
    Run& run = *static_cast<Run*>(data);
    run.outcome = run.shared->computation->run(*run.call, &run.times);
  }

  static void complete(napi_env env, napi_status state, void* data) {
    const std::unique_ptr<Run> run(static_cast<Run*>(data));
    run->shared->running = false;
    if (state == napi_ok) {
      store(run->times, run->call->times);
      run->shared->account(env);
      napi_value value;
      if (value_of(env, run->outcome, &value) == napi_ok)
        run->settle(value);
    }
  }
};

Napi::Function AttentionObject::constructor(Napi::Env env) {
  return DefineClass(env, "Attention",
                     {InstanceMethod<&AttentionObject::run>("run"),
                      InstanceMethod<&AttentionObject::run_sync>("runSync"),
                      InstanceMethod<&AttentionObject::memory_bytes>("memoryBytes"),
                      InstanceMethod<&AttentionObject::dispose>("dispose")});
}

AttentionObject::AttentionObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<AttentionObject>(info) {
  if (!info[0].IsObject())
    reject(info.Env(), "options", "an object");
  try {
    shared_ = std::make_shared<Shared>(info[0].As<Napi::Object>());
  } catch (const std::bad_alloc& failure) {
    Napi::Error error = Napi::Error::New(info.Env(), failure.what());
    error.Set("code", "OUT_OF_MEMORY");
    throw error;
  }
}

void AttentionObject::Finalize(Napi::BasicEnv env) {
  if (shared_)
    shared_->retire(env);
}

void AttentionObject::require_idle(Napi::Env env) const {
  if (!shared_)
    reject(env, "attention", "an object that was not disposed");
  if (shared_->running)
    reject(env, "attention", "no run under way");
}

Napi::Value AttentionObject::run_sync(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  require_idle(env);
  const std::unique_ptr<Call> call = shared_->computation->read(info);
  if (call->overlap)
    return Napi::Number::New(env, code_of_overlap(call->overlap));
  StageTimes times;
  const Outcome outcome = shared_->computation->run(*call, &times);
  store(times, call->times);
  shared_->account(env);
  napi_value value;
  require(env, value_of(env, outcome, &value), "take the result of a run");
  return Napi::Value(env, value);
}

Napi::Value AttentionObject::run(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  require_idle(env);
  auto run = std::make_unique<Run>(env, shared_);
  run->call = shared_->computation->read(info);
  if (run->call->overlap) {
    const auto deferred = Napi::Promise::Deferred::New(env);
    deferred.Resolve(Napi::Number::New(env, code_of_overlap(run->call->overlap)));
    return deferred.Promise();
  }

  Napi::Array arrays = Napi::Array::New(env, info.Length());
  for (std::size_t i = 0; i < info.Length(); ++i)
    arrays.Set(std::uint32_t(i), info[i]);

  constexpr const char* what = "start a run";
  napi_value promise;
  require(env, napi_create_reference(env, arrays, 1, &run->arrays), what);
  require(env,
          napi_create_async_work(env, nullptr, Napi::String::New(env, "intattn"), Run::execute, Run::complete,
                                 run.get(), &run->work),
          what);
  require(env, napi_create_promise(env, &run->deferred, &promise), what);
  require(env, napi_queue_async_work(env, run->work), what);
  shared_->running = true;
  run.release(); // complete() takes it
  return Napi::Value(env, promise);
}

Napi::Value AttentionObject::memory_bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), shared_ ? double(shared_->bytes) : 0);
}

void AttentionObject::dispose(const Napi::CallbackInfo& info) {
  if (shared_)
    shared_->retire(info.Env());
  shared_.reset();
}

} // namespace intattn::addon
