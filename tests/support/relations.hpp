// How properties are stated: two cases, the engines that answer both, and what must hold between their rows.
#pragma once
#include <cstring>

#include "support/bound.hpp"

namespace fovea::testing {

/// The reference's answer, then the kernels' under every instruction set of this machine, each already held to the
/// bound.
inline std::vector<Answer> everywhere(const Case& c) {
  const Truth truth(c);
  std::vector<Answer> all = {truth.answer};
  for (const Isa isa : usable_isas()) {
    const UseIsa use(name_of(isa));
    all.push_back(answer_of(c, c.attend(), truth));
    EXPECT_TRUE(within_bound(all.back(), truth)) << c.str();
  }
  return all;
}

struct RowAt {
  std::int64_t batch, time, head;
};

/// Row (b, t, h) of x is row map(b, t, h) of y, and its LSE is greater by shift(b, t, h): within both tolerances.
template <class Map, class Shift>
::testing::AssertionResult same_rows(const Answer& x, const Answer& y, Map map, Shift shift) {
  const std::int64_t batches = x.time * x.heads == 0 ? 0 : static_cast<std::int64_t>(x.lse.size()) / (x.time * x.heads);
  for (std::int64_t b = 0; b < batches; ++b)
    for (std::int64_t t = 0; t < x.time; ++t)
      for (std::int64_t h = 0; h < x.heads; ++h) {
        const RowAt r = map(b, t, h);
        const auto fail = [&, b, t, h](const std::string& what, Approx p, Approx q) {
          return ::testing::AssertionFailure() << fmt::format(
                     "{}: {} of row [batch {}, query {}, head {}] is {:.9g} ± {:.2g} and of [{}, {}, {}] {:.9g} ± "
                     "{:.2g}",
                     x.engine, what, b, t, h, p.value, p.tolerance, r.batch, r.time, r.head, q.value, q.tolerance);
        };
        for (std::int64_t d = 0; d < x.value_dim; ++d) {
          const Approx p = x.o(b, t, h, d), q = y.o(r.batch, r.time, r.head, d);
          if (!close(p, q)) return fail(fmt::format("out dim {}", d), p, q);
        }
        const Approx p = x.l(b, t, h), q = y.l(r.batch, r.time, r.head) + Approx{shift(b, t, h), 0};
        if (!close(p, q)) return fail("lse", p, q);
      }
  return ::testing::AssertionSuccess();
}
inline RowAt itself(std::int64_t b, std::int64_t t, std::int64_t h) { return {b, t, h}; }
inline double no_shift(std::int64_t, std::int64_t, std::int64_t) { return 0; }
template <class Map>
::testing::AssertionResult same_rows(const Answer& x, const Answer& y, Map map) {
  return same_rows(x, y, map, no_shift);
}

/// Every engine agrees that the rows of x are rows of y.
template <class Map, class Shift>
void expect_same(const Case& x, const Case& y, Map map, Shift shift) {
  const std::vector<Answer> xs = everywhere(x), ys = everywhere(y);
  for (std::size_t e = 0; e < xs.size(); ++e)
    EXPECT_TRUE(same_rows(xs[e], ys[e], map, shift)) << "first: " << x.str() << "\nsecond: " << y.str();
}
template <class Map>
void expect_same(const Case& x, const Case& y, Map map) {
  expect_same(x, y, map, no_shift);
}
inline void expect_same(const Case& x, const Case& y) { expect_same(x, y, itself, no_shift); }

/// The mask and score of `c` asked at another site: `to` says which site of the old problem a site of the new one is.
template <class To>
void relabel(Case& c, To to) {
  c.mask = mask([old = c.mask, to](const Site& s) { return old(to(s)); });
  c.score = score([old = c.score, to](auto s, const Site& at) { return old(s, to(at)); });
  c.mask_name = "relabelled " + c.mask_name, c.score_name = "relabelled " + c.score_name;
}

/// The bits of one row of out, then of its LSE.
inline std::vector<std::byte> bits_of_row(const Attention& a, RowAt r) {
  const std::int64_t time = a.out.shape()[1], heads = a.out.shape()[2], dim = a.out.shape()[3],
                     bytes = dim * size_of(a.out.dtype());
  std::vector<std::byte> bits(static_cast<std::size_t>(bytes) + 4);
  const auto* out = static_cast<const std::byte*>(a.out.raw()) + ((r.batch * time + r.time) * heads + r.head) * bytes;
  if (bytes > 0) std::memcpy(bits.data(), out, static_cast<std::size_t>(bytes));
  std::memcpy(bits.data() + bytes, a.lse.data<float>() + (r.batch * heads + r.head) * time + r.time, 4);
  return bits;
}
/// Row (b, t, h) of x has the bits of row map(b, t, h) of y.
template <class Map>
::testing::AssertionResult same_bits(const Attention& x, const Attention& y, Map map) {
  for (std::int64_t b = 0; b < x.out.shape()[0]; ++b)
    for (std::int64_t t = 0; t < x.out.shape()[1]; ++t)
      for (std::int64_t h = 0; h < x.out.shape()[2]; ++h) {
        const RowAt r = map(b, t, h);
        if (bits_of_row(x, {b, t, h}) != bits_of_row(y, r))
          return ::testing::AssertionFailure()
                 << fmt::format("{}: row [batch {}, query {}, head {}] and [{}, {}, {}] differ in bits", x.kernel(), b,
                                t, h, r.batch, r.time, r.head);
      }
  return ::testing::AssertionSuccess();
}
inline ::testing::AssertionResult same_bits(const Attention& x, const Attention& y) { return same_bits(x, y, itself); }

/// body() under each instruction set of this machine.
template <class Body>
void on_every_isa(Body body) {
  for (const Isa isa : usable_isas()) {
    const UseIsa use(name_of(isa));
    body();
  }
}

/// Which keys of the case a query sees, asked of the mask alone.
inline bool sees(const Case& c, int b, int h, int q, int key) {
  const CaseProblem problem(c);
  return c.mask(Site{b, h, q, key, problem.p.queries_of(b), problem.p.keys_of(b)});
}

}  // namespace fovea::testing
