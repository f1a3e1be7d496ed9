// A generation loop over a quantized cache: a prompt in one piece, then token by token; the bits are those of the whole.
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "intattn/block_attention.h"
#include "intattn/kv_cache.h"

namespace {

constexpr std::size_t prompt = 500, tokens = 520, heads = 6, kv_heads = 2, head_dim = 64;

/// Rows of some tokens that lie as [token, heads, head_dim].
intattn::TensorView rows_of(const std::vector<float>& data, std::size_t first, std::size_t of_heads) {
  intattn::TensorView view;
  view.data = data.data() + first * of_heads * head_dim;
  view.head_stride = head_dim;
  view.row_stride = std::ptrdiff_t(of_heads * head_dim);
  return view;
}

bool done(const intattn::StatusMessage& ended) {
  if (ended.status != intattn::Status::ok)
    std::fprintf(stderr, "%s\n", ended.message);
  return ended.status == intattn::Status::ok;
}

} // namespace

int main() {
  std::mt19937 engine(1);
  std::normal_distribution<float> normal;
  std::vector<float> query(tokens * heads * head_dim), key(tokens * kv_heads * head_dim), value(key.size());
  for (auto* data : {&query, &key, &value})
    for (float& x : *data)
      x = normal(engine);
  std::vector<float> expected(query.size()), output(heads * head_dim);

  intattn::BlockAttentionOptions options;
  options.heads = heads, options.kv_heads = kv_heads, options.head_dim = head_dim;
  options.causal = true;
  options.isa = intattn::best_instruction_set();
  intattn::KvCacheOptions of_cache;
  of_cache.kv_heads = kv_heads, of_cache.head_dim = head_dim;
  of_cache.isa = options.isa;
  std::unique_ptr<intattn::BlockAttention> attention;
  std::unique_ptr<intattn::KvCache> cache;
  const std::unique_ptr<intattn::Executor> threads = intattn::make_executor(2);
  if (!done(intattn::BlockAttention::create(options, &attention)) || !done(intattn::KvCache::create(of_cache, &cache)))
    return 2;

  intattn::BlockAttentionArguments whole;
  whole.batch = 1, whole.query_length = whole.key_length = tokens;
  whole.query = rows_of(query, 0, heads);
  whole.key = rows_of(key, 0, kv_heads), whole.value = rows_of(value, 0, kv_heads);
  whole.output.data = expected.data();
  whole.output.head_stride = head_dim, whole.output.row_stride = heads * head_dim;
  if (!done(attention->run(whole, *threads)))
    return 1;

  if (!done(cache->append(prompt, rows_of(key, 0, kv_heads), rows_of(value, 0, kv_heads), *threads)))
    return 1;
  std::size_t different = 0;
  for (std::size_t token = prompt; token < tokens; ++token) {
    const intattn::KvCache* caches[] = {cache.get()};
    intattn::CachedAttentionArguments one;
    one.batch = one.query_length = 1;
    one.query = rows_of(query, token, heads);
    one.caches = caches;
    one.output.data = output.data();
    one.output.head_stride = head_dim;
    if (!done(cache->append(1, rows_of(key, token, kv_heads), rows_of(value, token, kv_heads), *threads)) ||
        !done(attention->run(one, *threads)))
      return 1;
    for (std::size_t i = 0; i < output.size(); ++i)
      different += output[i] != expected[token * output.size() + i];
  }
  std::printf("cache of %zu tokens (%s), %zu bytes; outputs that differ from whole keys and values: %zu\n",
              cache->length(), intattn::name_of(options.isa), cache->bytes(), different);
  return different == 0 ? 0 : 1;
}
