// Caches in pages: the bits of the same rows one after another (property 27), for any page size and order of pages.
#include <cstring>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/convert.hpp"
#include "support/errors.hpp"
#include "support/examples.hpp"
#include "support/relations.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

/// The keys (or values) of a case in pages. Spare pages and what lies past a sequence's end hold NaN.
struct Pool {
  Input pages;
  std::vector<int> table;  // [batch, blocks]
  PagedView view() const { return paged(pages.view, table); }

  Pool(Rng& rng, const Input& x, int page_size, const std::vector<int>& lengths) {
    const auto batches = static_cast<int>(x.view.shape[0]), keys = static_cast<int>(x.view.shape[1]),
               blocks = (keys + page_size - 1) / page_size, spare = rng.in(0, 3);
    pages = random_layout(rng, x.view.dtype, {batches * blocks + spare, page_size, x.view.shape[2], x.view.shape[3]});
    while (pages.view.strides[0] == 0 || pages.view.strides[2] == 0)  // nothing of it is shared
      pages = random_layout(rng, x.view.dtype, pages.view.shape);
    const std::vector<int> order = rng.permutation(batches * blocks + spare);
    for (int b = 0; b < batches; ++b)
      for (int i = 0; i < blocks; ++i) {
        const int page = order[static_cast<std::size_t>(b * blocks + i)], length = lengths[static_cast<std::size_t>(b)];
        table.push_back(i * page_size < length ? page : rng.pick({-1, 1 << 30}));
        for (int t = i * page_size; t < std::min(length, (i + 1) * page_size); ++t)
          for (int h = 0; h < x.view.shape[2]; ++h)
            for (int d = 0; d < x.view.shape[3]; ++d) pages.set(page, t % page_size, h, d, x.get(b, t, h, d));
      }
  }
};

/// A case whose batch rows have lengths, the longest as long as the tensor, as masks with sizes of their own need.
Case cache_case(Rng& rng) {
  Choice choice;
  choice.work = 30'000, choice.lengths = false, choice.empty = false;
  Case c = random_case(rng, choice);
  if (c.mask_name.find("map of") != std::string::npos) c.mask = {}, c.mask_name = "everything()";  // of one length
  for (int b = 0; b < c.batches(); ++b) c.kv_lengths.push_back(b == 0 ? c.keys() : rng.in(0, c.keys()));
  return c;
}

Attention attend_paged(const Case& c, const Pool& k, const Pool& v, const std::string& kernel = "") {
  AttentionSpec spec = c.spec();
  spec.kernel = kernel;
  return attend(TensorView(c.q.view), k.view(), v.view(), spec);
}

TEST(Pages, HaveTheBitsOfRowsOneAfterAnother) {
  for_cases(250, [](Rng& rng) {
    const Case c = cache_case(rng);
    const int size = rng.pick({1, 2, 3, 5, 16, 17, 64, 100});
    const Pool k(rng, c.k, size, c.kv_lengths), v(rng, c.v, size, c.kv_lengths);
    on_every_isa([&] {
      const Attention whole = c.attend(), pages = attend_paged(c, k, v);
      ASSERT_EQ(pages.kernel(), whole.kernel());
      ASSERT_TRUE(same_bits(pages, whole)) << "pages of " << size << ", " << c.str();
      const int b = rng.below(c.batches()), h = rng.below(c.heads()), t = rng.below(c.queries());
      ASSERT_EQ(pages.weights({b, h, t}), whole.weights({b, h, t}));
      const double error = pages.max_abs_error({b, h, t}), same = whole.max_abs_error({b, h, t});
      ASSERT_TRUE(error == same || (std::isnan(error) && std::isnan(same)));
    });
    AttentionSpec spec = c.spec();
    spec.kernel = "reference";
    ASSERT_TRUE(same_bits(attend_paged(c, k, v, "reference"), attend(c.q.view, c.k.view, c.v.view, spec)));
  });
}

TEST(Pages, OfLongCachesCutIntoRuns) {
  for_cases(6, [](Rng& rng) {
    Case c;
    const DType dtype = rng.pick({DType::F32, DType::BF16});
    const int dim = rng.pick({5, 16, 64}), size = rng.pick({7, 16, 100, 5000});
    c.q = Input(dtype, {2, rng.in(1, 3), 4, dim}), c.k = Input(dtype, {2, 9000, 2, dim}),
    c.v = Input(dtype, {2, 9000, 2, 16});
    for (Input* x : {&c.q, &c.k, &c.v}) x->fill([&](auto...) { return rng.normal(); });
    c.mask = causal(), c.kv_lengths = {9000, rng.in(1, 9000)};
    const Pool k(rng, c.k, size, c.kv_lengths), v(rng, c.v, size, c.kv_lengths);
    on_every_isa([&] { ASSERT_TRUE(same_bits(attend_paged(c, k, v), c.attend())) << c.str(); });
  });
}

TEST(Pages, MayBeOnOneSideAlone) {
  for_cases(40, [](Rng& rng) {
    Case c = cache_case(rng);
    c.kv_lengths.assign(c.kv_lengths.size(), c.keys());
    const int size = c.keys();  // one page a sequence
    const Pool k(rng, c.k, size, c.kv_lengths), v(rng, c.v, size, c.kv_lengths);
    on_every_isa([&] {
      const Attention whole = c.attend();
      ASSERT_TRUE(same_bits(attend(TensorView(c.q.view), k.view(), PagedView(c.v.view), c.spec()), whole)) << c.str();
      ASSERT_TRUE(same_bits(attend(TensorView(c.q.view), PagedView(c.k.view), v.view(), c.spec()), whole)) << c.str();
    });
  });
}

TEST(Pages, ThatDoNotFitAreNamed) {
  const Tensor q(DType::F32, {2, 1, 2, 8}), pool(DType::F32, {5, 4, 1, 8});
  const auto read = [&](const std::vector<int>& table, const std::vector<int>& keys) {
    return attend(q, paged(pool, table), paged(pool, table), lengths({}, keys));
  };
  read({0, 1, 4, -1}, {8, 4});  // what no row needs may be anything
  EXPECT_TRUE(refuses([&] { read({0, 5, 4, 3}, {8, 4}); }, {"k: page table [0, 1] is 5", "5 pages", "8 keys"}));
  EXPECT_TRUE(refuses([&] { read({0, 1, -1, 3}, {8, 1}); }, {"page table [1, 0] is -1"}));
  EXPECT_TRUE(refuses([&] { read({0, 1, 2}, {4, 4}); }, {"3 entries for 2 batch rows"}));
  EXPECT_TRUE(refuses([&] { read({0, 1, 2, 3}, {9, 4}); }, {"kv_lengths[0] is 9", "0 to 8"}));
  const Tensor flat(DType::F32, {5, 4, 8}), none(DType::F32, {5, 0, 1, 8}), one(DType::F32, {1, 3, 2, 8});
  const std::vector<int> table = {0, 1}, ends = {1, 3};
  const auto over = [&](const Tensor& x) { return attend(q, paged(x, table), paged(x, table)); };
  EXPECT_TRUE(refuses([&] { over(flat); }, {"k is F32 [5, 4, 8]", "page_size"}));
  EXPECT_TRUE(refuses([&] { over(none); }, {"pages of no rows"}));
  EXPECT_TRUE(
      refuses([&] { attend(one, paged(pool, table), paged(pool, table), packed(ends, ends)); }, {"packed", "pages"}));
  EXPECT_TRUE(refuses([&] { backward(over(pool), q); }, {"backward", "pages"}));
}

TEST(Examples, OfThePagedHeaderIsTheOneBelow) {
  const std::vector<std::string> shown = examples_of(FOVEA_SOURCE "/include/fovea/paged.hpp");
  EXPECT_EQ(shown.size(), 2u);
  EXPECT_EQ(shown, examples_of(FOVEA_SOURCE "/tests/property/paged_properties_test.cpp"));
}

TEST(Examples, TwoSequencesShareAPage) {
  Rng rng(5);
  Input k_pages(DType::F32, {4, 16, 1, 8}), v_pages(DType::F32, {4, 16, 1, 8}), queries(DType::F32, {2, 1, 2, 8});
  for (Input* x : {&k_pages, &v_pages, &queries}) x->fill([&](auto...) { return rng.normal(); });
  const TensorView k_pool = k_pages.view, v_pool = v_pages.view, q = queries.view;
  // example: two sequences in pages of 16, of which they share the first
  std::vector<int> tokens = {40, 20}, table = {0, 2, 1, 0, 3, -1};  // [batch, blocks], which page holds which rows
  Attention a = attend(q, paged(k_pool, table), paged(v_pool, table), lengths({}, tokens));
  // end
  Input k(DType::F32, {2, 48, 1, 8}), v(DType::F32, {2, 48, 1, 8});
  for (auto [to, from] : {std::pair(&k, &k_pages), std::pair(&v, &v_pages)})
    to->fill([&, pages = from](auto b, auto t, auto h, auto d) {
      const int page = table[static_cast<std::size_t>(b * 3 + t / 16)];
      return page < 0 ? 0 : pages->get(page, t % 16, h, d);
    });
  EXPECT_TRUE(same_bits(a, attend(q, k.view, v.view, lengths({}, tokens))));
}

}  // namespace
}  // namespace fovea
