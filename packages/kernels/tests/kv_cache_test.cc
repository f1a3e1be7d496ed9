#include "intattn/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <gtest/gtest.h>
#include <thread>

#include "block_problem.h"

namespace intattn::test {
namespace {

/// A sequence as the caller has it: rows of every KV head, one head behind the other for each token.
struct Sequence {
  std::vector<float> key, value; ///< [tokens][kv_heads][dim]
  std::size_t length = 0;
};

struct Case {
  BlockAttentionOptions attention;
  KvCacheOptions cache;
  std::vector<float> key_offset, value_offset, slopes;
};

Case random_setup(Random& random) {
  Case s;
  BlockAttentionOptions& o = s.attention;
  o.kv_heads = std::uint32_t(random.between(1, 3));
  o.heads = o.kv_heads * std::uint32_t(random.between(1, 4));
  const auto dim = [&] {
    return std::uint32_t(random.one_of<std::size_t>({1, 8, 16, 24, 32, 64, 64, 65, 80, 128, 192}));
  };
  o.head_dim = dim();
  o.value_dim = dim();
  o.causal = random.between(0, 3) > 0;
  o.rotate = random.between(0, 3) > 0;
  const Bits bits = random.one_of<Bits>(
      {{8, 8, 8, 8}, {8, 7, 8, 7}, {15, 8, 8, 14}, {8, 8, 4, 8}, {15, 8, 8, 8}, {8, 4, 4, 7}, {8, 8, 8, 14}});
  o.query_bits = bits.query, o.key_bits = bits.key, o.value_bits = bits.value, o.plane_bits = bits.plane;
  if (random.between(0, 2) == 0) {
    o.window = random.between(1, 1500);
    o.keep_first = random.between(0, 80);
  }
  if (random.between(0, 3) == 0)
    s.slopes = random.normals(o.heads, 0.1f);
  if (random.coin())
    s.key_offset = random.normals(o.kv_heads * o.head_dim);
  if (random.coin())
    s.value_offset = random.normals(o.kv_heads * o.value_dim);
  KvCacheOptions& c = s.cache;
  c.kv_heads = o.kv_heads, c.head_dim = o.head_dim, c.value_dim = o.value_dim;
  c.rotate = o.rotate, c.key_bits = o.key_bits, c.value_bits = o.value_bits;
  return s;
}

TensorView tokens(const std::vector<float>& data, std::size_t first, std::size_t heads, std::size_t dim) {
  TensorView v;
  v.data = data.data() + first * heads * dim;
  v.row_stride = std::ptrdiff_t(heads * dim);
  v.head_stride = std::ptrdiff_t(dim);
  v.batch_stride = std::ptrdiff_t(data.size());
  return v;
}

struct Output {
  StatusMessage status;
  std::vector<float> output, log_sum_exp;
};

Output prepare(const BlockAttentionOptions& o, std::size_t batch, std::size_t queries, OutputView* view) {
  Output out;
  out.output.assign(batch * o.heads * queries * o.value_dim, NAN);
  out.log_sum_exp.assign(batch * o.heads * queries, NAN);
  view->data = out.output.data();
  view->row_stride = o.value_dim;
  view->head_stride = std::ptrdiff_t(queries * o.value_dim);
  view->batch_stride = std::ptrdiff_t(o.heads * queries * o.value_dim);
  return out;
}

TensorView query_view(const BlockAttentionOptions& o, const std::vector<float>& query, std::size_t queries) {
  TensorView v;
  v.data = query.data();
  v.row_stride = o.head_dim;
  v.head_stride = std::ptrdiff_t(queries * o.head_dim);
  v.batch_stride = std::ptrdiff_t(o.heads * queries * o.head_dim);
  return v;
}

Output attend(BlockAttentionOptions o, const std::vector<const KvCache*>& caches, const std::vector<float>& query,
              std::size_t queries, Executor& executor) {
  o.isa = caches[0]->options().isa;
  CachedAttentionArguments a;
  a.batch = caches.size(), a.query_length = queries;
  a.query = query_view(o, query, queries);
  a.caches = caches.data();
  Output out = prepare(o, a.batch, queries, &a.output);
  a.log_sum_exp = out.log_sum_exp.data();
  std::unique_ptr<BlockAttention> attention;
  out.status = BlockAttention::create(o, &attention);
  if (out.status.status == Status::ok)
    out.status = attention->run(a, executor);
  return out;
}

/// All keys and values at once, without a cache; an empty sequence gives zeros.
Output whole(const Case& s, const Sequence& sequence, const std::vector<float>& query, std::size_t queries) {
  BlockAttentionOptions o = s.attention;
  o.smooth_key = o.center_value = Mean::no;
  o.key_offset = s.key_offset.empty() ? nullptr : s.key_offset.data();
  o.value_offset = s.value_offset.empty() ? nullptr : s.value_offset.data();
  BlockAttentionArguments a;
  a.batch = 1, a.query_length = queries, a.key_length = sequence.length;
  a.query = query_view(o, query, queries);
  a.key = tokens(sequence.key, 0, o.kv_heads, o.head_dim);
  a.value = tokens(sequence.value, 0, o.kv_heads, o.value_dim);
  Output out = prepare(o, 1, queries, &a.output);
  a.log_sum_exp = out.log_sum_exp.data();
  if (sequence.length == 0) {
    std::fill(out.output.begin(), out.output.end(), 0.0f);
    std::fill(out.log_sum_exp.begin(), out.log_sum_exp.end(), -infinity);
    return out;
  }
  std::unique_ptr<BlockAttention> attention;
  Caller caller;
  out.status = BlockAttention::create(o, &attention);
  if (out.status.status == Status::ok)
    out.status = attention->run(a, caller);
  return out;
}

/// Rows of a cache, in memory of the caller with a stride of their own.
Output over_rows(const Case& s, const KvCache& cache, const std::vector<float>& query, std::size_t queries) {
  BlockAttentionOptions o = s.attention;
  o.isa = cache.options().isa;
  o.key_offset = cache.options().key_offset;
  o.value_offset = cache.options().value_offset;
  const std::size_t length = cache.length(), rows = o.kv_heads * length;
  std::vector<std::int8_t> key(rows * o.head_dim), value(rows * o.value_dim);
  std::vector<float> scales(2 * rows);
  Output out;
  out.status = cache.read(0, length, {key.data(), value.data(), scales.data(), scales.data() + rows});
  if (out.status.status != Status::ok)
    return out;
  // Interleaved: numbers, then the scale, then a gap.
  const auto interleave = [&](const std::vector<std::int8_t>& from, const float* scale, std::size_t dim,
                              std::vector<float>* memory, TensorView* view) {
    const std::size_t stride = (dim + 3) / 4 * 4 + 8;
    memory->assign(rows * stride / 4, NAN);
    auto* bytes = reinterpret_cast<unsigned char*>(memory->data());
    for (std::size_t row = 0; row < rows; ++row) {
      std::memcpy(bytes + row * stride, from.data() + row * dim, dim);
      std::memcpy(bytes + row * stride + stride - 8, scale + row, 4);
    }
    view->type = ElementType::int8;
    view->data = bytes;
    view->row_stride = std::ptrdiff_t(stride);
    view->head_stride = std::ptrdiff_t(stride * length);
    view->scale = memory->data() + (stride - 8) / 4;
    view->scale_row_stride = std::ptrdiff_t(stride / 4);
    view->scale_head_stride = std::ptrdiff_t(stride / 4 * length);
  };
  BlockAttentionArguments a;
  a.rows_of_cache = true;
  a.batch = 1, a.query_length = queries, a.key_length = length;
  a.query = query_view(o, query, queries);
  std::vector<float> of_key, of_value;
  interleave(key, scales.data(), o.head_dim, &of_key, &a.key);
  interleave(value, scales.data() + rows, o.value_dim, &of_value, &a.value);
  Caller caller;
  out = prepare(o, 1, queries, &a.output);
  a.log_sum_exp = out.log_sum_exp.data();
  std::unique_ptr<BlockAttention> attention;
  out.status = BlockAttention::create(o, &attention);
  if (out.status.status == Status::ok)
    out.status = attention->run(a, caller);
  return out;
}

void expect_same(const Output& a, const Output& b, const char* what) {
  ASSERT_EQ(a.status.status, Status::ok) << what << ": " << a.status.message;
  ASSERT_EQ(b.status.status, Status::ok) << what << ": " << b.status.message;
  EXPECT_EQ(a.output, b.output) << what;
  EXPECT_EQ(a.log_sum_exp, b.log_sum_exp) << what;
}

/// One sequence in a cache of each instruction set.
struct Branch {
  Sequence sequence;
  std::vector<std::unique_ptr<KvCache>> caches;
  std::size_t freed = 0; ///< keys before this one may be gone
};

std::unique_ptr<KvCache> copy_of(const KvCache& cache, InstructionSet isa) {
  std::vector<unsigned char> bytes(cache.saved_bytes());
  EXPECT_EQ(cache.save(bytes.data()).status, Status::ok);
  std::unique_ptr<KvCache> loaded;
  const StatusMessage status = KvCache::load(bytes.data(), bytes.size(), isa, &loaded);
  EXPECT_EQ(status.status, Status::ok) << status.message;
  return loaded;
}

void play(std::uint32_t seed) {
  Random random(seed);
  const Case s = random_setup(random);
  const BlockAttentionOptions& o = s.attention;
  std::vector<InstructionSet> sets = vector_instruction_sets();
  sets.push_back(InstructionSet::scalar);
  std::vector<Branch> branches(1);
  for (const InstructionSet isa : sets) {
    KvCacheOptions c = s.cache;
    c.isa = isa;
    c.key_offset = s.key_offset.empty() ? nullptr : s.key_offset.data();
    c.value_offset = s.value_offset.empty() ? nullptr : s.value_offset.data();
    ASSERT_EQ(KvCache::create(c, &branches[0].caches.emplace_back()).status, Status::ok);
  }
  BlockAttentionOptions with_slopes = o;
  with_slopes.slopes = s.slopes.empty() ? nullptr : s.slopes.data();
  Case of_whole = s;
  of_whole.attention.slopes = with_slopes.slopes;
  Caller caller;
  Threads threads(unsigned(random.between(2, 3)));
  const bool is_long = seed % 8 == 3;

  for (int step = 0; step < 9; ++step) {
    Branch& branch = branches[random.between(0, branches.size() - 1)];
    const std::size_t action = step == 0 ? 0 : random.between(0, 9);
    if (action <= 3) {
      const std::size_t count = random.one_of<std::size_t>({1, 1, 3, 17, 64, 130, is_long ? 1100u : 40u});
      const std::vector<float> key = random.normals(count * o.kv_heads * o.head_dim, random.one_of({0.5f, 1.0f, 3.0f}));
      const std::vector<float> value =
          random.normals(count * o.kv_heads * o.value_dim, random.one_of({0.1f, 1.0f, 20.0f}));
      for (const auto& cache : branch.caches) {
        if (random.between(0, 3) == 0) {
          ASSERT_EQ(cache->reserve(cache->length() + random.between(0, 300)).status, Status::ok);
        }
        const StatusMessage status =
            cache->append(count, tokens(key, 0, o.kv_heads, o.head_dim), tokens(value, 0, o.kv_heads, o.value_dim),
                          random.coin() ? static_cast<Executor&>(threads) : caller);
        ASSERT_EQ(status.status, Status::ok) << status.message;
      }
      branch.sequence.key.insert(branch.sequence.key.end(), key.begin(), key.end());
      branch.sequence.value.insert(branch.sequence.value.end(), value.begin(), value.end());
      branch.sequence.length += count;
    } else if (action == 4) {
      const std::size_t length = random.between(branch.freed, branch.sequence.length);
      bool refused = false;
      for (const auto& cache : branch.caches)
        refused |= cache->truncate(length).status != Status::ok;
      ASSERT_TRUE(!refused || branch.freed > 0);
      if (refused)
        continue;
      branch.sequence.length = length;
      branch.sequence.key.resize(length * o.kv_heads * o.head_dim);
      branch.sequence.value.resize(length * o.kv_heads * o.value_dim);
    } else if (action == 5 && branches.size() < 3) {
      Branch forked;
      forked.sequence = branch.sequence;
      forked.freed = branch.freed;
      for (const auto& cache : branch.caches)
        ASSERT_EQ(cache->fork(&forked.caches.emplace_back()).status, Status::ok);
      branches.push_back(std::move(forked));
      continue;
    } else if (action == 6 && o.window > 0) {
      for (const auto& cache : branch.caches)
        ASSERT_EQ(cache->release(o.window, o.keep_first).status, Status::ok);
      if (branch.sequence.length > o.window)
        branch.freed = std::max(branch.freed, branch.sequence.length - std::size_t(o.window));
    } else if (action == 7) {
      for (std::size_t i = 0; i < sets.size(); ++i)
        branch.caches[i] = copy_of(*branch.caches[(i + 1) % sets.size()], sets[i]);
    }
    const std::size_t queries = random.one_of<std::size_t>({1, 1, 2, 5, 30});
    const std::vector<float> query = random.normals(o.heads * queries * o.head_dim);
    if (branch.freed > 0 && (queries > 1 || !o.causal)) {
      // Some rows might see what was freed: refused, or the same.
      const Output expected = whole(of_whole, branch.sequence, query, queries);
      for (const auto& cache : branch.caches) {
        const Output got = attend(with_slopes, {cache.get()}, query, queries, caller);
        if (got.status.status == Status::ok)
          expect_same(expected, got, "freed");
        else
          EXPECT_EQ(got.status.status, Status::invalid_argument);
      }
      continue;
    }
    const Output expected = whole(of_whole, branch.sequence, query, queries);
    for (const auto& cache : branch.caches) {
      SCOPED_TRACE(name_of(cache->options().isa));
      expect_same(expected, attend(with_slopes, {cache.get()}, query, queries, caller), "pages");
      expect_same(expected, attend(with_slopes, {cache.get()}, query, queries, threads), "pages, threads");
      if (branch.freed == 0 && branch.sequence.length > 0)
        expect_same(expected, over_rows(of_whole, *cache, query, queries), "rows");
      if (::testing::Test::HasFailure())
        return;
    }
  }

  // All sequences in one call.
  const std::vector<float> query = random.normals(branches.size() * o.heads * o.head_dim);
  for (std::size_t i = 0; i < sets.size(); ++i) {
    std::vector<const KvCache*> caches;
    for (const Branch& branch : branches)
      caches.push_back(branch.caches[i].get());
    const Output together = attend(with_slopes, caches, query, 1, threads);
    if (together.status.status != Status::ok) {
      EXPECT_EQ(together.status.status, Status::invalid_argument); // one of them was freed too far
      continue;
    }
    const std::size_t one = o.heads * o.value_dim;
    for (std::size_t b = 0; b < branches.size(); ++b) {
      const std::vector<float> own(query.begin() + std::ptrdiff_t(b * o.heads * o.head_dim),
                                   query.begin() + std::ptrdiff_t((b + 1) * o.heads * o.head_dim));
      const Output alone = attend(with_slopes, {caches[b]}, own, 1, caller);
      EXPECT_TRUE(
          std::equal(alone.output.begin(), alone.output.end(), together.output.begin() + std::ptrdiff_t(b * one)));
    }
  }
}

TEST(KvCache, HistoriesGiveTheBitsOfWholeKeysAndValues) {
  const char* asked = std::getenv("INTATTN_HISTORIES");
  const std::uint32_t histories = asked ? std::uint32_t(std::atoi(asked)) : share_of(300);
  const char* given = std::getenv("INTATTN_SEED");
  const std::uint32_t first =
      given ? std::uint32_t(std::strtoul(given, nullptr, 10)) : std::uint32_t(std::time(nullptr));
  std::printf("INTATTN_SEED=%u, %u histories\n", first, histories);
  for (std::uint32_t i = 0; i < histories; ++i) {
    SCOPED_TRACE("INTATTN_SEED=" + std::to_string(first + i));
    play(first + i);
    if (HasFailure())
      return;
  }
}

/// Few rows over many keys: threads share out the keys.
TEST(KvCache, ThreadsThatShareOutKeysGiveTheSameBits) {
  Random random(7);
  Caller caller;
  Threads threads(3);
  for (std::uint32_t variant = 0; variant < 8; ++variant) {
    const std::size_t keys = 3000 + 500 * variant + variant;
    Case s;
    BlockAttentionOptions& o = s.attention;
    o.kv_heads = 1 + variant % 2, o.heads = o.kv_heads * (1 + variant % 3), o.head_dim = o.value_dim = 24;
    o.causal = variant % 4 != 3;
    if (variant % 3 == 1)
      o.window = 2500, o.keep_first = variant % 2 ? 5 : 1100;
    if (variant % 3 == 2)
      s.slopes = random.normals(o.heads, 0.01f);
    const std::vector<float> sinks = random.normals(o.heads, 3);
    if (variant % 4 == 2)
      o.sinks = sinks.data();
    o.slopes = s.slopes.empty() ? nullptr : s.slopes.data();
    Sequence sequence;
    sequence.length = keys;
    sequence.key = random.normals(keys * o.kv_heads * o.head_dim, 2);
    sequence.value = random.normals(keys * o.kv_heads * o.value_dim);
    const std::size_t queries = 1 + variant % 2;
    const std::vector<float> query = random.normals(o.heads * queries * o.head_dim);
    const Output expected = whole(s, sequence, query, queries);
    for (const InstructionSet isa : vector_instruction_sets()) {
      SCOPED_TRACE(std::string(name_of(isa)) + ", variant " + std::to_string(variant));
      KvCacheOptions c;
      c.kv_heads = o.kv_heads, c.head_dim = o.head_dim, c.isa = isa;
      std::unique_ptr<KvCache> cache;
      ASSERT_EQ(KvCache::create(c, &cache).status, Status::ok);
      ASSERT_EQ(cache
                    ->append(keys, tokens(sequence.key, 0, o.kv_heads, o.head_dim),
                             tokens(sequence.value, 0, o.kv_heads, o.value_dim), threads)
                    .status,
                Status::ok);
      expect_same(expected, attend(o, {cache.get()}, query, queries, caller), "one thread");
      expect_same(expected, attend(o, {cache.get()}, query, queries, threads), "three threads");
    }
  }
}

KvCacheOptions small_options() {
  KvCacheOptions o;
  o.kv_heads = 2, o.head_dim = 16;
  return o;
}

std::unique_ptr<KvCache> filled(std::size_t count, const KvCacheOptions& o = small_options()) {
  std::unique_ptr<KvCache> cache;
  EXPECT_EQ(KvCache::create(o, &cache).status, Status::ok);
  Random random(1);
  const std::vector<float> rows = random.normals(count * o.kv_heads * o.head_dim);
  Caller caller;
  const TensorView view = tokens(rows, 0, o.kv_heads, o.head_dim);
  EXPECT_EQ(cache->append(count, view, view, caller).status, Status::ok);
  return cache;
}

TEST(KvCache, TakesLittleMoreThanItsNumbersAndScales) {
  for (const std::uint32_t dim : {64u, 128u})
    for (const InstructionSet isa : vector_instruction_sets()) {
      KvCacheOptions o;
      o.kv_heads = 3, o.head_dim = dim, o.isa = isa;
      const std::size_t tokens = 2048;
      const double bytes = double(filled(tokens, o)->bytes()) / double(tokens * o.kv_heads);
      EXPECT_LE(bytes, (2 * dim + 8) * 1.05) << name_of(isa) << ", " << dim;
    }
}

TEST(KvCache, ARowThatIsBadAddsNothing) {
  const auto cache = filled(70);
  std::vector<float> rows(200 * 2 * 16, 1.0f);
  rows[150 * 2 * 16 + 20] = NAN;
  Caller caller;
  const TensorView bad = tokens(rows, 0, 2, 16), good = tokens(rows, 0, 2, 16);
  const auto before = copy_of(*cache, InstructionSet::scalar);
  EXPECT_EQ(cache->append(200, bad, good, caller).status, Status::non_finite_key);
  EXPECT_EQ(cache->length(), 70u);
  std::vector<unsigned char> a(cache->saved_bytes()), b(before->saved_bytes());
  ASSERT_EQ(cache->save(a.data()).status, Status::ok);
  ASSERT_EQ(before->save(b.data()).status, Status::ok);
  EXPECT_EQ(a, b);
}

TEST(KvCache, RefusesWhatDoesNotFit) {
  const auto message = [](const StatusMessage& status) {
    EXPECT_EQ(status.status, Status::invalid_argument);
    return std::string(status.message);
  };
  std::unique_ptr<KvCache> cache;
  KvCacheOptions o = small_options();
  o.key_bits = 5;
  EXPECT_EQ(message(KvCache::create(o, &cache)), "key_bits: expected 8, 7 or 4, received 5");
  cache = filled(100);
  EXPECT_EQ(message(cache->truncate(101)), "length: expected at most 100, received 101");
  EXPECT_EQ(message(cache->reserve(262145)), "keys: expected at most 262144, received 262145");
  Caller caller;
  const std::vector<float> row(32);
  EXPECT_EQ(message(cache->append(262144, tokens(row, 0, 2, 16), tokens(row, 0, 2, 16), caller)),
            "count: expected at most 262044 keys beside the 100 that are there, received 262144");
  EXPECT_EQ(message(cache->release(0, 0)), "window: expected at least 1, received 0");

  BlockAttentionOptions attention;
  attention.heads = 4, attention.kv_heads = 2, attention.head_dim = 16, attention.value_dim = 16;
  const std::vector<float> query(4 * 16);
  EXPECT_EQ(attend(attention, {cache.get()}, query, 1, caller).status.status, Status::ok);
  attention.key_bits = 7;
  EXPECT_EQ(message(attend(attention, {cache.get()}, query, 1, caller).status),
            "caches[0]: expected key_bits 7, as the attention has, received 8");
}

TEST(KvCache, RefusesRowsThatWouldSeeFreedKeys) {
  const auto cache = filled(5000);
  ASSERT_EQ(cache->release(1000, 10).status, Status::ok);
  BlockAttentionOptions o;
  o.heads = o.kv_heads = 2, o.head_dim = 16, o.value_dim = 16, o.causal = true, o.window = 1000, o.keep_first = 10;
  Caller caller;
  EXPECT_EQ(attend(o, {cache.get()}, std::vector<float>(32), 1, caller).status.status, Status::ok);
  o.window = 3000;
  EXPECT_EQ(attend(o, {cache.get()}, std::vector<float>(32), 1, caller).status.status, Status::invalid_argument);
  EXPECT_EQ(cache->truncate(3000).status, Status::invalid_argument);
  EXPECT_EQ(cache->read(2000, 10, {}).status, Status::invalid_argument);
}

TEST(KvCache, SavedBytesThatChangedAreRefused) {
  const auto cache = filled(130);
  std::vector<unsigned char> bytes(cache->saved_bytes());
  ASSERT_EQ(cache->save(bytes.data()).status, Status::ok);
  std::unique_ptr<KvCache> loaded;
  for (std::size_t at = 0; at < bytes.size(); at += 1 + at / 20) {
    std::vector<unsigned char> changed = bytes;
    changed[at] ^= 4;
    EXPECT_EQ(KvCache::load(changed.data(), changed.size(), InstructionSet::scalar, &loaded).status,
              Status::invalid_argument);
    EXPECT_EQ(loaded, nullptr);
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{56}, bytes.size() - 1})
    EXPECT_EQ(KvCache::load(bytes.data(), size, InstructionSet::scalar, &loaded).status, Status::invalid_argument);
}

/// Whatever meets: each call ends well or is refused, and all that is read is whole.
TEST(KvCache, MayBeUsedByManyThreadsAtOnce) {
  const auto cache = filled(300);
  BlockAttentionOptions o;
  o.heads = o.kv_heads = 2, o.head_dim = 16, o.value_dim = 16;
  const std::vector<float> query = Random(2).normals(32), row(32, 0.5f);
  std::vector<std::thread> workers;
  for (int worker = 0; worker < 4; ++worker)
    workers.emplace_back([&, worker] {
      Caller caller;
      for (int i = 0; i < 40; ++i) {
        if (worker == 0) {
          (void)cache->append(1, tokens(row, 0, 2, 16), tokens(row, 0, 2, 16), caller);
          (void)cache->truncate(300);
        } else if (worker == 1) {
          std::unique_ptr<KvCache> fork;
          if (cache->fork(&fork).status == Status::ok) {
            EXPECT_EQ(fork->append(1, tokens(row, 0, 2, 16), tokens(row, 0, 2, 16), caller).status, Status::ok);
          }
        } else {
          const Output got = attend(o, {cache.get()}, query, 1, caller);
          EXPECT_TRUE(got.status.status == Status::ok || got.status.status == Status::invalid_argument);
        }
      }
    });
  for (std::thread& worker : workers)
    worker.join();
}

/// A fork is read and let go by one thread while another changes its origin, over the same pages.
TEST(KvCache, ForksMayBeUsedWhileTheirOriginChanges) {
  BlockAttentionOptions o;
  o.heads = o.kv_heads = 2, o.head_dim = 16, o.value_dim = 16;
  const std::vector<float> query = Random(2).normals(32), row(32, 0.5f);
  Caller caller;
  for (int i = 0; i < 20; ++i) {
    const auto cache = filled(100);
    const Output expected = attend(o, {cache.get()}, query, 1, caller);
    std::unique_ptr<KvCache> fork;
    ASSERT_EQ(cache->fork(&fork).status, Status::ok);
    std::thread worker([&] {
      Caller own;
      expect_same(expected, attend(o, {fork.get()}, query, 1, own), "fork");
      fork.reset();
    });
    for (int k = 0; k < 50; ++k) {
      EXPECT_EQ(cache->append(1, tokens(row, 0, 2, 16), tokens(row, 0, 2, 16), caller).status, Status::ok);
      EXPECT_EQ(cache->truncate(100).status, Status::ok);
      std::unique_ptr<KvCache> other; // its page is shared again
      if (k % 8 == 0) {
        EXPECT_EQ(cache->fork(&other).status, Status::ok);
      }
    }
    worker.join();
    expect_same(expected, attend(o, {cache.get()}, query, 1, caller), "origin");
  }
}

/// Rows of int8 are kept as they are: a cache that is given those of another is that cache.
TEST(KvCache, TakesRowsOfAnotherAsTheyAre) {
  Caller caller;
  for (const unsigned key_bits : {8u, 7u})
    for (const InstructionSet isa : vector_instruction_sets()) {
      KvCacheOptions o = small_options();
      o.key_bits = key_bits, o.isa = isa;
      const auto cache = filled(150, o);
      std::vector<std::int8_t> key(2 * 150 * 16), value(key.size());
      std::vector<float> key_scale(2 * 150), value_scale(key_scale.size());
      ASSERT_EQ(cache->read(0, 150, {key.data(), value.data(), key_scale.data(), value_scale.data()}).status,
                Status::ok);
      const auto view = [](const std::vector<std::int8_t>& rows, const std::vector<float>& scales) {
        TensorView v;
        v.type = ElementType::int8;
        v.data = rows.data();
        v.row_stride = 16, v.head_stride = 150 * 16;
        v.scale = scales.data();
        v.scale_row_stride = 1, v.scale_head_stride = 150;
        return v;
      };
      std::unique_ptr<KvCache> given;
      ASSERT_EQ(KvCache::create(o, &given).status, Status::ok);
      const StatusMessage status = given->append(150, view(key, key_scale), view(value, value_scale), caller);
      ASSERT_EQ(status.status, Status::ok) << status.message;
      std::vector<unsigned char> a(cache->saved_bytes()), b(given->saved_bytes());
      ASSERT_EQ(cache->save(a.data()).status, Status::ok);
      ASSERT_EQ(given->save(b.data()).status, Status::ok);
      EXPECT_EQ(a, b);
    }
}

} // namespace
} // namespace intattn::test
