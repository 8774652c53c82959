// Products of linear layers: of f32 numbers, and of those rounded to bf16, on every instruction set.
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <fovea/cpu.hpp>
#include <fovea/threads.hpp>

#include "kernels/registry.hpp"
#include "ops/panels.hpp"
#include "support/isa.hpp"
#include "support/random.hpp"

namespace fovea {
namespace {

using testing::Rng;
using Numbers = std::vector<float>;

struct Case {
  std::int64_t rows, depth, columns;
  Products products;
  Numbers a, b, bias;  // [rows, depth], [depth, columns], [columns]
  double factor(float x) const {
    return static_cast<double>(products == Products::Bf16 ? static_cast<float>(bf16(x)) : x);
  }
};

Numbers numbers(Rng& rng, std::int64_t n) {
  Numbers x(static_cast<std::size_t>(n));
  for (float& v : x) v = static_cast<float>(rng.normal());
  return x;
}

Case random_case(Rng& rng, Products products) {
  Case c{rng.pick({1, 2, 15, 17, 96, 97, 203}),
         rng.pick({1, 2, 31, 33, 64, 129, 257, 300}),
         rng.pick({1, 3, 31, 33, 64, 65, 130, 200}),
         products,
         {},
         {},
         {}};
  c.a = numbers(rng, c.rows * c.depth), c.b = numbers(rng, c.depth * c.columns), c.bias = numbers(rng, c.columns);
  return c;
}

Numbers turned(const Numbers& x, std::int64_t rows, std::int64_t columns) {
  Numbers to(x.size());
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c)
      to[static_cast<std::size_t>(c * rows + r)] = x[static_cast<std::size_t>(r * columns + c)];
  return to;
}

/// Sums in any order are off by at most depth · 2⁻²⁴ · Σ|a||b| and a rounding or two (Higham 2002, §3.1).
void expect_product(const Case& c, const Numbers& got, bool with_bias, const std::string& what) {
  for (std::int64_t r = 0; r < c.rows; ++r)
    for (std::int64_t j = 0; j < c.columns; ++j) {
      const double bias = with_bias ? static_cast<double>(c.bias[static_cast<std::size_t>(j)]) : 0;
      double sum = bias, size = std::abs(bias);
      for (std::int64_t d = 0; d < c.depth; ++d) {
        const double x = c.factor(c.a[static_cast<std::size_t>(r * c.depth + d)]) *
                         c.factor(c.b[static_cast<std::size_t>(d * c.columns + j)]);
        sum += x, size += std::abs(x);
      }
      const double bound = (static_cast<double>(c.depth) + 4) * 0x1p-24 * size;
      ASSERT_NEAR(static_cast<double>(got[static_cast<std::size_t>(r * c.columns + j)]), sum, bound)
          << what << ": " << c.rows << " × " << c.depth << " × " << c.columns << ", row " << r << ", column " << j;
    }
}

Numbers product(const Case& c, std::int64_t first, std::int64_t rows) {
  Numbers to(static_cast<std::size_t>(rows * c.columns));
  multiply(c.a.data() + first * c.depth, rows, pack(c.b.data(), c.depth, c.columns, c.products), c.bias.data(),
           to.data());
  return to;
}

/// An instruction set, and of what numbers.
class ProductsOn : public ::testing::TestWithParam<std::tuple<std::string, Products>> {
 protected:
  testing::UseIsa isa_{std::get<0>(GetParam())};
  Products products_ = std::get<1>(GetParam());
  std::string name_ = std::get<0>(GetParam());
  const int cases_ = testing::scaled(24);
};

TEST_P(ProductsOn, EachWayOfPackingGivesTheProduct) {
  Rng rng(11);
  for (int i = 0; i < cases_; ++i) {
    const Case c = random_case(rng, products_);
    const Numbers b = turned(c.b, c.depth, c.columns), a = turned(c.a, c.rows, c.depth);
    Numbers got = product(c, 0, c.rows);
    expect_product(c, got, true, name_ + " as it lies");
    got.assign(got.size(), -1);
    multiply(c.a.data(), c.rows, pack_turned(b.data(), c.columns, c.depth, products_), nullptr, got.data());
    expect_product(c, got, false, name_ + " turned");
    got.assign(got.size(), -1);
    multiply_turned(a.data(), c.b.data(), c.depth, c.rows, c.columns, got.data(), products_);
    expect_product(c, got, false, name_ + " of a turned");
  }
}

TEST_P(ProductsOn, RowsHaveTheSameBitwiseResultInAnyCompany) {
  Rng rng(12);
  for (int i = 0; i < cases_; ++i) {
    const Case c = random_case(rng, products_);
    const Numbers all = product(c, 0, c.rows);
    const std::int64_t first = rng.below(static_cast<int>(c.rows)), rows = rng.in(1, static_cast<int>(c.rows - first));
    const Numbers some = product(c, first, rows);
    ASSERT_TRUE(std::equal(some.begin(), some.end(), all.begin() + first * c.columns))
        << name_ << ": rows " << first << " to " << first + rows << " of " << c.rows;
  }
}

/// Many rows of great depth meet panels a run of the depth at a time (panel_walk.hpp), a few of them all at once.
TEST_P(ProductsOn, DepthsThatAreCutIntoRunsGiveTheSameBits) {
  Rng rng(14);
  Case c{1030, 4161, 33, products_, {}, {}, {}};
  c.a = numbers(rng, c.rows * c.depth), c.b = numbers(rng, c.depth * c.columns), c.bias = numbers(rng, c.columns);
  const Numbers all = product(c, 0, c.rows);
  expect_product(c, all, true, name_ + " in runs");
  for (const std::int64_t first : {0, 766, 1025}) {
    const Numbers some = product(c, first, 5);
    ASSERT_TRUE(std::equal(some.begin(), some.end(), all.begin() + first * c.columns)) << name_ << ", row " << first;
  }
  Numbers got(all.size(), -1);
  multiply_turned(turned(c.a, c.rows, c.depth).data(), c.b.data(), c.depth, c.rows, c.columns, got.data(), products_);
  expect_product(c, got, false, name_ + " of a turned, in runs");
}

TEST_P(ProductsOn, AnyNumberOfThreadsIsBitwiseTheSame) {
  Rng rng(13);
  const int before = threads();
  for (int i = 0; i < testing::scaled(6); ++i) {
    const Case c = random_case(rng, products_);
    const Numbers a = turned(c.a, c.rows, c.depth);
    const auto both = [&](int n) {
      set_threads(n);
      Numbers x = product(c, 0, c.rows), y(x.size());
      multiply_turned(a.data(), c.b.data(), c.depth, c.rows, c.columns, y.data(), products_);
      x.insert(x.end(), y.begin(), y.end());
      return x;
    };
    const Numbers one = both(1);
    for (const int n : {2, 3, 7}) ASSERT_EQ(both(n), one) << name_ << ", " << n << " threads";
  }
  set_threads(before);
}

std::string name_of_case(const ::testing::TestParamInfo<ProductsOn::ParamType>& info) {
  std::string name = std::get<0>(info.param) + (std::get<1>(info.param) == Products::Bf16 ? "_bf16" : "_f32");
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Isa, ProductsOn,
                         ::testing::Combine(::testing::ValuesIn(isa_settings()),
                                            ::testing::Values(Products::F32, Products::Bf16)),
                         name_of_case);

TEST(Products, AreTheMachinesOwnWhereItIsAskedForThem) {
  const Numbers b(64 * 64, 1.0f);
  EXPECT_EQ(pack(b.data(), 64, 64).by.table, nullptr);
  for (const std::string& setting : isa_settings()) {
    const testing::UseIsa use(setting);
    const Panels panels = pack(b.data(), 64, 64, Products::Bf16);
    const bool emulated = setting.ends_with("emulated");
    EXPECT_EQ(panels.by.emulated, emulated) << setting;
    EXPECT_EQ(panels.data.dtype(), panels.by.table ? DType::BF16 : DType::F32) << setting;
    const bool f32_alone = setting == "scalar" || setting == "avx2" || setting == "avx512";
    EXPECT_FALSE(emulated && !panels.by.table) << setting;
    EXPECT_FALSE(f32_alone && panels.by.table) << setting;
  }
}

}  // namespace
}  // namespace fovea
