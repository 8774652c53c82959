#include "support/relations.hpp"

#include <cstring>

#include <fmt/format.h>

#include "support/isa.hpp"

namespace fovea::testing {

std::vector<Answer> everywhere(const Case& c) {
  const Truth truth(c);
  std::vector<Answer> all = {truth.answer};
  for (const std::string& isa : settings(c)) {
    const UseIsa use(isa);
    all.push_back(answer_of(c, c.attend(), truth));
    EXPECT_TRUE(within_bound(all.back(), truth)) << c.str();
  }
  return all;
}

::testing::AssertionResult same_rows(const Answer& x, const Answer& y, const RowMap& map, const RowShift& shift) {
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

void expect_same(const Case& x, const Case& y, const RowMap& map, const RowShift& shift) {
  const std::vector<Answer> xs = everywhere(x), ys = everywhere(y);
  for (std::size_t e = 0; e < xs.size(); ++e)
    EXPECT_TRUE(same_rows(xs[e], ys[e], map, shift)) << "first: " << x.str() << "\nsecond: " << y.str();
}

void relabel(Case& c, const std::function<Site(Site)>& to) {
  c.mask = mask([old = c.mask, to](const Site& s) { return old(to(s)); });
  c.score = score([old = c.score, to](auto s, const Site& at) { return old(s, to(at)); });
  c.mask_name = "relabelled " + c.mask_name, c.score_name = "relabelled " + c.score_name;
}

std::vector<std::byte> bits_of_row(const Attention& a, RowAt r) {
  const std::int64_t time = a.out.shape()[1], heads = a.out.shape()[2], dim = a.out.shape()[3],
                     bytes = dim * size_of(a.out.dtype());
  std::vector<std::byte> bits(static_cast<std::size_t>(bytes) + 4);
  const auto* out = static_cast<const std::byte*>(a.out.raw()) + ((r.batch * time + r.time) * heads + r.head) * bytes;
  if (bytes > 0) std::memcpy(bits.data(), out, static_cast<std::size_t>(bytes));
  std::memcpy(bits.data() + bytes, a.lse.data<float>() + (r.batch * heads + r.head) * time + r.time, 4);
  return bits;
}

::testing::AssertionResult same_bits(const Attention& x, const Attention& y, const RowMap& map) {
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

std::vector<std::string> settings() {
  constexpr int kEmulatedEvery = 6;
  std::vector<std::string> all = isa_settings();
  if (case_number() % kEmulatedEvery != 0) all.resize(usable_isas().size());  // emulations come last
  return all;
}

std::vector<std::string> settings(const Case& c) {
  std::vector<std::string> all = settings();
  if (c.q.view.dtype != DType::BF16 || c.out_dtype() != DType::BF16) std::erase(all, "avx512bf16-emulated");
  return all;
}

void on_every_isa(const std::function<void()>& body) {
  for (const std::string& isa : settings()) {
    const UseIsa use(isa);
    body();
  }
}

}  // namespace fovea::testing
