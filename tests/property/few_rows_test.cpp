// Decoding: few queries over caches long enough to be cut into runs of keys and merged.
#include <sys/mman.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fovea/threads.hpp>

#include "core/convert.hpp"
#include "core/scratch.hpp"
#include "kernels/registry.hpp"
#include "ops/attention_problem.hpp"
#include "support/relations.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

Case long_cache(Rng& rng) {
  Choice choice;
  choice.layouts = false;
  Case c;
  const DType dtype = rng.pick({DType::F32, DType::BF16, DType::F16});
  const int heads = rng.pick({1, 2, 4}), kv_heads = heads > 1 ? heads / 2 : 1, dim = rng.pick({1, 5, 16, 32}),
            keys = rng.pick({4095, 4096, 4097, 8192, 9000, 13000}), queries = rng.in(1, 3);
  c.q = random_layout(rng, dtype, {1, queries, heads, dim});
  c.k = random_layout(rng, dtype, {1, keys, kv_heads, dim});
  c.v = random_layout(rng, dtype, {1, keys, kv_heads, rng.pick({3, 16, 64})});
  for (Input* x : {&c.q, &c.k, &c.v}) x->fill([&](auto...) { return rng.normal(); });
  return c;
}

TEST(FewRows, LongCachesAreMergedFromRuns) {
  for_cases(24, [](Rng& rng) {
    Case c = long_cache(rng);
    if (rng.chance(0.3)) c.mask = causal(), c.mask_name = "causal()";
    if (rng.chance(0.3)) c.mask = window(rng.in(1, 6000)), c.mask_name = "window";
    if (rng.chance(0.3)) c.score = softcap(5), c.score_name = "softcap(5)";
    if (rng.chance(0.4))
      for (int h = 0; h < c.heads(); ++h) c.sinks.push_back(static_cast<float>(rng.uniform(-4, 9)));
    everywhere(c);  // holds every instruction set to the bound
  });
}

/// Where there are many runs each is longer.
TEST(FewRows, CachesOfManyKeysAreMergedFromLongerRuns) {
  for_cases(4, [](Rng& rng) {
    Case c;
    const DType dtype = rng.pick({DType::F32, DType::BF16, DType::F16});
    const int kv_heads = rng.pick({16, 20}), keys = rng.pick({16384, 16449, 25000, 33000});
    c.q = random_layout(rng, dtype, {1, 1, kv_heads, 8});
    c.k = random_layout(rng, dtype, {1, keys, kv_heads, 8}), c.v = random_layout(rng, dtype, {1, keys, kv_heads, 8});
    for (Input* x : {&c.q, &c.k, &c.v}) x->fill([&](auto...) { return rng.normal(); });
    if (rng.chance(0.5)) c.mask = window(rng.in(1, keys)), c.mask_name = "window";
    everywhere(c);
  });
}

TEST(FewRows, RunsWithoutAVisibleKeyAreTheIdentity) {
  for_cases(8, [](Rng& rng) {
    Case c = long_cache(rng);
    const int seen = rng.below(c.keys());
    c.mask = mask([seen](const Site& s) { return s.key == seen; });
    c.mask_name = fmt::format("key {} alone", seen);
    everywhere(c);
    on_every_isa([&] {
      const Attention a = c.attend();
      for (int d = 0; d < c.value_dim(); ++d)
        ASSERT_EQ(load_element(a.out.dtype(), a.out.raw(), d), c.v.get(0, seen, 0, d)) << c.str();
    });
  });
}

TEST(FewRows, HaveTheSameBitsInAnyBatchOnAnyNumberOfThreads) {
  const int before = threads();
  for_cases(6, [](Rng& rng) {
    const Case alone = long_cache(rng);
    const int more = 40;  // the other sequence has many rows
    Case both = alone;
    const auto joined = [&](const Input& x, int extra) {
      const Shape& s = x.view.shape;
      Input y(x.view.dtype, {1, s[1] + extra, s[2], s[3]});
      y.fill([&](auto, auto t, auto h, auto d) { return t < extra ? rng.normal() : x.get(0, t - extra, h, d); });
      return y;
    };
    both.q = joined(alone.q, more), both.k = joined(alone.k, 100), both.v = joined(alone.v, 100);
    both.q_ends = {more, more + alone.queries()}, both.kv_ends = {100, 100 + alone.keys()};
    on_every_isa([&] {
      set_threads(1);
      const Attention x = alone.attend();
      for (const int n : {1, 2, 7}) {
        set_threads(n);
        const Attention y = both.attend();
        for (int t = 0; t < alone.queries(); ++t)
          for (int h = 0; h < alone.heads(); ++h)
            ASSERT_EQ(bits_of_row(x, {0, t, h}), bits_of_row(y, {0, t + more, h})) << n << " threads " << alone.str();
      }
    });
  });
  set_threads(before);
}

/// The same keys or values, each head's one stream of memory.
Input heads_apart(const Input& x) {
  const Shape& s = x.view.shape;
  return x.copy_as(s, {s[1] * s[2] * s[3], s[3], s[1] * s[3], 1}, 0);
}

/// Heads side by side walk through the keys together, heads that lie apart a few at a time.
TEST(FewRows, HaveTheSameBitsWhereverHeadsLie) {
  for_cases(12, [](Rng& rng) {
    Case c;
    const DType dtype = rng.pick({DType::F32, DType::BF16, DType::F16});
    const int kv_heads = rng.in(3, 19), heads = kv_heads * rng.in(1, 3), dim = rng.pick({16, 20, 64}),
              keys = rng.pick({70, 700, 3000});
    c.q = Input(dtype, {1, rng.in(1, 3), heads, dim});
    c.k = Input(dtype, {1, keys, kv_heads, dim}), c.v = Input(dtype, {1, keys, kv_heads, dim});
    for (Input* x : {&c.q, &c.k, &c.v}) x->fill([&](auto...) { return rng.normal(); });
    Case apart = c;
    apart.k = heads_apart(c.k), apart.v = heads_apart(c.v);
    everywhere(apart);
    on_every_isa([&] {
      const AttentionSpec spec(statistics(8));
      const Attention x = attend(c.q.view, c.k.view, c.v.view, spec),
                      y = attend(apart.q.view, apart.k.view, apart.v.view, spec);
      ASSERT_TRUE(same_bits(x, y)) << c.str();
      ASSERT_EQ(x.rows.top_key, y.rows.top_key) << c.str();
    });
  });
}

/// From L3 four rows at a time are taken, from memory f32 and keys of pairs of bf16 one at a time.
TEST(FewRows, HaveTheSameBitsInCachesThatL3DoesNotHold) {
  Rng rng(7);
  const int keys = 4100, kv_heads = 8, dim = 64, batches = 5;  // 42 MB of bf16 if they were not the same five times
  const auto repeated = [&](const TensorView& x) {
    Shape shape = x.shape, strides = x.strides;
    shape[0] = batches, strides[0] = 0;
    return TensorView(x.dtype, x.data, shape, strides);
  };
  for (const DType dtype : {DType::F32, DType::BF16, DType::F16}) {
    Input q(dtype, {1, 1, 4 * kv_heads, dim}), k(dtype, {1, keys, kv_heads, dim}), v(dtype, {1, keys, kv_heads, dim});
    for (Input* x : {&q, &k, &v}) x->fill([&](auto...) { return rng.normal(); });
    on_every_isa([&] {
      const Attention one = attend(q.view, k.view, v.view),
                      all = attend(repeated(q.view), repeated(k.view), repeated(v.view));
      for (int b = 0; b < batches; ++b)
        for (int h = 0; h < 4 * kv_heads; ++h)
          ASSERT_EQ(bits_of_row(one, {0, 0, h}), bits_of_row(all, {b, 0, h})) << name_of(dtype);
    });
  }
}

/// Which cache lines are asked for into is a machine's affair, and with it in which order rows of keys are read: heads
/// side by side, apart or in pages, for caches in one run of keys, for those that L3 holds, and for those it does not,
/// which more batch rows of the same are taken for.
TEST(FewRows, HaveTheSameBitsWhicheverCacheLinesAreAskedInto) {
  Rng rng(8);
  for_cases(60, [&](Rng& any) {
    const DType dtype = any.pick({DType::F32, DType::BF16, DType::F16});
    const int batches = any.pick({1, 1, 5}), kv_heads = batches == 5 ? 8 : any.pick({1, 2, 8});
    const int group = any.pick({1, 2, 3, 4, 7}), dim = batches == 5 ? 64 : any.pick({16, 40, 64, 80, 128});
    enum { SideBySide, Apart, InPages };
    const int lie = any.pick({SideBySide, Apart, InPages}), page = lie == InPages ? any.pick({5, 12, 16}) : 1,
              blocks = (batches == 5 ? 4101 : any.pick({197, 4101})) / page, keys = blocks * page;
    Input q(dtype, {1, 1, group * kv_heads, dim}), k(dtype, {1, keys, kv_heads, dim}),
        v(dtype, {1, keys, kv_heads, dim});
    for (Input* x : {&q, &k, &v}) x->fill([&](auto...) { return rng.normal(); });
    std::vector<int> table;
    for (int b = 0; b < batches && lie == InPages; ++b) {
      const std::vector<int> one = Rng(9).permutation(blocks);
      table.insert(table.end(), one.begin(), one.end());
    }
    const AttentionSpec spec = any.pick({AttentionSpec(), AttentionSpec(window(150)), AttentionSpec(softcap(3))});
    if (lie == Apart) k = heads_apart(k), v = heads_apart(v);
    for (TensorView* x : {&q.view, &k.view, &v.view}) x->shape[0] = batches, x->strides[0] = 0;
    const auto cache = [&](const Input& x) {
      if (lie != InPages) return PagedView(x.view);
      return paged(TensorView(dtype, x.view.data, {blocks, page, kv_heads, dim}), table);
    };
    on_every_isa([&] {
      PreparedProblem prepared(q.view, cache(k), cache(v), spec);
      const ForwardKernel& kernel = choose_kernel(prepared.problem);
      const auto outputs = [&](bool into_l2) {
        const Tensor out(prepared.problem.out.dtype, q.view.shape), lse(DType::F32, {batches, group * kv_heads, 1});
        prepared.set_results(out, lse);
        Plan plan = kernel.table->plan(prepared.problem);
        std::vector<float> partials(static_cast<std::size_t>(plan.partial_floats));
        plan.partials = partials.data(), plan.into_l2 = into_l2;
        for (std::int64_t i = 0; i < plan.items; ++i)
          kernel.table->forward(prepared.problem, plan, i, thread_scratch(plan.scratch_bytes));
        if (plan.partial_floats > 0) kernel.table->merge(prepared.problem, plan, thread_scratch(plan.scratch_bytes));
        return std::string(static_cast<const char*>(out.raw()), static_cast<std::size_t>(out.bytes()));
      };
      ASSERT_TRUE(outputs(false) == outputs(true))
          << name_of(dtype) << ", " << keys << " keys, " << kv_heads << " heads "
          << (lie == Apart     ? "apart"
              : lie == InPages ? "in pages"
                               : "side by side")
          << ", " << group << " rows, head_dim " << dim;
    });
  });
}

/// `bytes` of zeros that end where memory does.
class AtTheEnd {
 public:
  explicit AtTheEnd(std::size_t bytes) : size_((bytes + kPage - 1) / kPage * kPage + kPage) {
    block_ = static_cast<char*>(mmap(nullptr, size_, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    EXPECT_EQ(mprotect(block_ + size_ - kPage, kPage, PROT_NONE), 0);
    data = block_ + size_ - kPage - bytes;
  }
  ~AtTheEnd() { munmap(block_, size_); }
  AtTheEnd(const AtTheEnd&) = delete;
  AtTheEnd& operator=(const AtTheEnd&) = delete;
  const char* data;

 private:
  static constexpr std::size_t kPage = 4096;
  std::size_t size_;
  char* block_;
};

/// What is asked for ahead may lie anywhere, what is read for it may not.
TEST(FewRows, NothingBehindKeysAndValuesIsRead) {
  for_cases(150, [](Rng& rng) {
    const DType dtype = rng.pick({DType::F32, DType::BF16, DType::F16});
    const int kv_heads = rng.pick({1, 2, 8}), heads = kv_heads * rng.pick({1, 3, 4}), dim = rng.pick({8, 20, 32, 64}),
              page = rng.pick({3, 5, 16}), blocks = rng.in(1, 40),
              keys = rng.chance(0.7) ? page * blocks : rng.in(1, 200);
    const std::int64_t rows = std::int64_t{keys} * kv_heads;
    const AtTheEnd k(static_cast<std::size_t>(rows * dim * size_of(dtype))),
        v(static_cast<std::size_t>(rows * dim * size_of(dtype)));
    Input q(dtype, {1, 1, heads, dim});
    q.fill([&](auto...) { return rng.normal(); });
    const bool apart = rng.chance(0.2), in_pages = !apart && keys == page * blocks;
    const Shape strides = apart ? Shape{rows * dim, dim, std::int64_t{keys} * dim, 1}
                                : Shape{rows * dim, std::int64_t{kv_heads} * dim, dim, 1};
    const auto view = [&](const AtTheEnd& x) { return TensorView(dtype, x.data, {1, keys, kv_heads, dim}, strides); };
    const auto pool = [&](const AtTheEnd& x) { return TensorView(dtype, x.data, {blocks, page, kv_heads, dim}); };
    const std::vector<int> table = rng.permutation(blocks);
    on_every_isa([&] {
      const Attention a = in_pages ? attend(q.view, paged(pool(k), table), paged(pool(v), table), AttentionSpec())
                                   : attend(q.view, view(k), view(v));
      for (int h = 0; h < heads; ++h) ASSERT_EQ(load_element(a.out.dtype(), a.out.raw(), std::int64_t{h} * dim), 0);
    });
  });
}

TEST(FewRows, WeightsAreThoseOfThePass) {
  for_cases(6, [](Rng& rng) {
    const Case c = long_cache(rng);
    on_every_isa([&] {
      const Attention a = c.attend();
      ASSERT_LE(a.max_abs_error({0, c.heads() - 1, c.queries() - 1}), 2e-6 + (a.out.dtype() == DType::F32 ? 0 : 2e-2));
      double sum = 0;
      for (const float w : a.weights({0, 0, 0})) sum += static_cast<double>(w);
      ASSERT_NEAR(sum, 1, 1e-5);
    });
  });
}

}  // namespace
}  // namespace fovea
