// Attention against PyTorch: data/attention.safetensors, made by attention_goldens.py. First the float64 reference,
// forward and backward, to its last digits; then every kernel of this machine, within the contract's bound of what
// PyTorch found.
#include <numeric>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fovea/attention.hpp>

#include "io/safetensors.hpp"
#include "support/relations.hpp"

namespace fovea {
namespace {

using nlohmann::json;
using namespace fovea::testing;

const io::SafeTensors& file() {
  static const io::SafeTensors f(FOVEA_TEST_DATA "/attention.safetensors");
  return f;
}

/// One case of the file: what composes it, and its tensors by their short names.
struct Golden {
  json what;
  std::string name() const { return what.at("name"); }
  bool has(const std::string& tensor) const { return file().contains(name() + "." + tensor); }
  Tensor operator[](const std::string& tensor) const { return file().tensor(name() + "." + tensor); }
  /// The element types that hold the inputs exactly.
  std::vector<DType> dtypes() const {
    if (what.at("dtype") == "F32") return {DType::F32};
    if (what.at("dtype") == "F16") return {DType::F32, DType::F16};
    return {DType::F32, DType::BF16, DType::F16};
  }
};

std::vector<Golden> goldens() {
  std::vector<Golden> all;
  for (const json& what : json::parse(file().metadata().at("cases"))) all.push_back({what});
  return all;
}

// ------------------------------------------------------------------------------------- from the file's words to a spec

Align align_of(const json& part) {
  const json& align = part.at("align");
  if (align.is_number()) return on_key(align.get<int>());
  return align == "top-left" ? top_left : bottom_right;
}

AnyMask mask_of(const json& m, const Tensor* grid) {
  const std::string kind = m.at("kind");
  if (kind == "grid") return visible(*grid);
  if (kind == "causal") return causal(align_of(m));
  if (kind == "window") return window(m.at("left"), m.at("right"), align_of(m));
  if (kind == "prefix") return prefix(m.at("length"), align_of(m));
  if (kind == "chunked") return chunked(m.at("size"), align_of(m));
  if (kind == "documents") return documents(m.at("ends").get<std::vector<int>>(), align_of(m));
  AnyMask joined = mask_of(m.at("parts").at(0), grid);
  if (kind == "except") return except(joined);
  for (std::size_t i = 1; i < m.at("parts").size(); ++i) {
    const AnyMask next = mask_of(m.at("parts").at(i), grid);
    joined = kind == "all" ? AnyMask(joined & next) : AnyMask(joined | next);
  }
  return joined;
}

/// Adds to `c` the score's stages in the file's order, and how far they can move a logit.
void set_score(const Golden& g, Case& c) {
  for (const json& part : g.what.at("score")) {
    if (part.at("kind") == "softcap") {
      c.score = c.score | softcap(part.at("cap"));
    } else if (part.at("kind") == "alibi") {
      const Tensor slopes = g["slopes"];
      c.score = c.score | alibi({slopes.values<float>().begin(), slopes.values<float>().end()}, align_of(part));
      c.moves += std::ranges::max(slopes.values<float>()) * static_cast<float>(c.queries() + c.keys());
    } else {
      const auto values = std::make_shared<const Tensor>(g["bias"]);
      c.keep.push_back(values);
      c.score = c.score | bias(*values);
      double most = 0;
      for (const float x : values->values<float>()) most = std::isinf(x) ? most : std::max(most, std::abs(double{x}));
      c.moves += most;
    }
  }
}

Input input(const Tensor& t, DType dtype) {
  Input x(dtype, t.shape());
  x.fill([&, view = t.view()](auto b, auto time, auto h, auto d) { return element(view, std::array{b, time, h, d}); });
  return x;
}

std::vector<int> ints(const Golden& g, const char* key) { return g.what.value(key, std::vector<int>()); }

Case make_case(const Golden& g, DType dtype) {
  Case c;
  c.q = input(g["q"], dtype), c.k = input(g["k"], dtype), c.v = input(g["v"], dtype);
  if (const json& m = g.what.at("mask"); !m.is_null()) {
    const auto grid = std::make_shared<const Tensor>(g.has("grid") ? g["grid"] : Tensor());
    c.keep.push_back(grid);
    c.mask = mask_of(m, grid.get());
  }
  set_score(g, c);
  if (g.what.contains("scale")) c.scale = g.what.at("scale").get<double>();
  if (g.has("sinks")) {
    const Tensor sinks = g["sinks"];
    c.sinks.assign(sinks.values<float>().begin(), sinks.values<float>().end());
  }
  c.q_lengths = ints(g, "q_lengths"), c.kv_lengths = ints(g, "kv_lengths");
  c.q_ends = ints(g, "q_ends"), c.kv_ends = ints(g, "kv_ends");
  c.mask_name = g.what.at("mask").dump(), c.score_name = g.what.at("score").dump();
  return c;
}

// ------------------------------------------------------------------------------------------------------------
// comparing

/// Round-off of float64, in units of 2^-53: the longest sum here has 193 terms, and tanh and exp have errors of their
/// own.
constexpr double kUnits = 64;
constexpr double kEps64 = 0x1p-53;

/// Holds `got` to what PyTorch found; `allowed(i)` is how far element i may be off.
template <class Allowed>
void expect_same(const std::string& what, std::span<const double> got, std::span<const double> want, Allowed allowed) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (std::size_t i = 0; i < want.size(); ++i)
    ASSERT_TRUE(close({got[i], allowed(i)}, {want[i], 0}))
        << fmt::format("{}[{}] = {:.17g}, PyTorch {:.17g}; off by {:.3g}, allowed {:.3g}", what, i, got[i], want[i],
                       std::abs(got[i] - want[i]), allowed(i));
}

/// lse is [batch, heads, time] in the file and [batch, time, heads] in an Answer.
std::vector<double> by_time(const Tensor& lse) {
  std::vector<double> rows;
  const auto v = lse.as<double, 3>();
  for (std::int64_t b = 0; b < v.shape[0]; ++b)
    for (std::int64_t t = 0; t < v.shape[2]; ++t)
      for (std::int64_t h = 0; h < v.shape[1]; ++h) rows.push_back(v(b, h, t));
  return rows;
}

void for_goldens(const std::function<void(const Golden&)>& body) {
  for (const Golden& g : goldens()) {
    SCOPED_TRACE(g.name());
    body(g);
  }
}

TEST(AttentionGolden, FileHoldsTheCases) { EXPECT_GE(goldens().size(), 50u); }

TEST(AttentionGolden, ReferenceForward) {
  for_goldens([](const Golden& g) {
    const Case c = make_case(g, DType::F64);
    const Truth truth(c);
    expect_same("lse", truth.answer.lse, by_time(g["lse"]), [&](auto i) { return truth.answer.lse_tol[i]; });
    expect_same("out", truth.answer.out, g["out"].values<double>(), [&](auto i) { return truth.answer.out_tol[i]; });
    // The same through the front door.
    const Attention a = c.attend();
    EXPECT_EQ(a.kernel(), "reference");
    expect_same("attend", a.out.values<double>(), g["out"].values<double>(),
                [&](auto i) { return truth.answer.out_tol[i]; });
  });
}

TEST(AttentionGolden, ReferenceWeights) {
  for_goldens([](const Golden& g) {
    if (!g.has("weights")) return;
    const Case c = make_case(g, DType::F64);
    const CaseProblem problem(c);
    const Truth truth(c);
    const Tensor golden = g["weights"];
    const auto want = golden.as<double, 4>();
    for (int b = 0; b < c.batches(); ++b)
      for (int h = 0; h < c.heads(); ++h)
        for (int q = 0; q < problem.p.queries_of(b); ++q) {
          const double allowed = kUnits * kEps64 * truth.reach[truth.answer.row(b, q, h)];
          const reference::ScoredRow r = reference::row(problem.p, b, h, q);
          for (int k = 0; k < problem.p.keys_of(b); ++k)
            ASSERT_NEAR(r.weight[static_cast<std::size_t>(k)], want(b, h, q, k), allowed)
                << b << ' ' << h << ' ' << q << ' ' << k;
        }
  });
}

// ----------------------------------------------------------------------------------------------------------------
// backward

/// ∂/∂bias, summed over what the bias broadcasts, from ∂/∂score: what comes after the bias (a soft-cap, say) scales it.
struct BiasGradient {
  const Golden& golden;
  const Case& c;
  const Problem& p;
  std::vector<double> sum;  // as the bias

  BiasGradient(const Golden& g, const Case& case_, const Problem& problem)
      : golden(g), c(case_), p(problem), sum(static_cast<std::size_t>(g["bias"].elements())) {}

  void operator()(const Site& s, double by_score) {
    const Tensor bias = golden["bias"];
    const std::int64_t place[4] = {s.batch, s.head, s.query, s.key};
    std::int64_t at = 0;
    for (int d = 0; d < 4; ++d) at = at * bias.shape()[d] + (bias.shape()[d] == 1 ? 0 : place[d]);
    sum[static_cast<std::size_t>(at)] += by_score * slope_after(s, bias.data<float>()[at]);
  }

 private:
  double slope_after(const Site& s, float bias) const {
    if (golden.what.at("score").at(0).at("kind") != "bias" || golden.what.at("score").size() == 1) return 1;
    double logit = 0;
    for (int d = 0; d < p.head_dim; ++d)
      logit += c.q.get(s.batch, s.query, s.head, d) * c.k.get(s.batch, s.key, s.head / p.group(), d);
    const double x =
        (p.scale * logit + static_cast<double>(bias)) / golden.what.at("score").at(1).at("cap").get<double>();
    return 1 - std::tanh(x) * std::tanh(x);
  }
};

TEST(AttentionGolden, ReferenceBackward) {
  for_goldens([](const Golden& g) {
    if (!g.has("dq")) return;
    const Case c = make_case(g, DType::F64);
    const CaseProblem problem(c);
    const Truth truth(c);
    const Input dout = input(g["dout"], DType::F64);
    const Operand operand{const_cast<void*>(dout.view.data),
                          DType::F64,
                          dout.view.strides[0],
                          dout.view.strides[1],
                          dout.view.strides[2],
                          dout.view.strides[3]};
    std::optional<BiasGradient> dbias;
    if (g.has("bias")) dbias.emplace(g, c, problem.p);
    const reference::Gradients got = reference::backward(problem.p, operand, [&](const Site& s, double, double d) {
      if (dbias) (*dbias)(s, d);
    });
    // A weight is known to reach · ε; a gradient is a sum of them, in proportion to the largest there is.
    const double reach = *std::ranges::max_element(truth.reach);
    const auto expect = [&](const char* name, std::span<const double> mine) {
      const Tensor want = g[name];
      double most = 1;
      for (const double x : want.values<double>()) most = std::max(most, std::abs(x));
      expect_same(name, mine, want.values<double>(), [&](auto) { return kUnits * kEps64 * reach * most; });
    };
    expect("dq", got.dq), expect("dk", got.dk), expect("dv", got.dv);
    if (dbias) expect("dbias", dbias->sum);
    if (g.has("dsink")) expect("dsink", got.dsink);
  });
}

// ------------------------------------------------------------------------------------------------------------- the
// kernels

TEST(AttentionGolden, KernelsBackward) {
  for_goldens([](const Golden& g) {
    if (!g.has("dq")) return;
    const Case c = make_case(g, DType::F32);
    const Truth truth(c);
    const double reach = *std::ranges::max_element(truth.reach);
    const Input dout = input(g["dout"], DType::F32);
    on_every_isa([&] {
      const Gradients got = backward(c.attend(), dout.view);
      const auto expect = [&](const char* name, const Tensor& mine) {
        const Tensor want = g[name];
        double most = 1;
        for (const double x : want.values<double>()) most = std::max(most, std::abs(x));
        const std::vector<double> numbers(mine.values<float>().begin(), mine.values<float>().end());
        expect_same(name, numbers, want.values<double>(), [&](auto) { return kUnits * kEpsAcc * reach * most; });
      };
      expect("dq", got.dq), expect("dk", got.dk), expect("dv", got.dv);
      if (g.has("dsink")) expect("dsink", got.dsinks);
    });
  });
}

TEST(AttentionGolden, KernelsAreWithinTheContract) {
  for_goldens([](const Golden& g) {
    for (const DType dtype : g.dtypes()) {
      const Case c = make_case(g, dtype);
      const Truth truth(c);
      for (const Isa isa : usable_isas()) {
        const UseIsa use(name_of(isa));
        const Answer got = answer_of(c, c.attend(), truth);
        SCOPED_TRACE(fmt::format("{} {}", got.engine, name_of(dtype)));
        expect_same("out", got.out, g["out"].values<double>(), [&](auto i) { return got.out_tol[i]; });
        expect_same("lse", got.lse, by_time(g["lse"]), [&](auto i) { return got.lse_tol[i]; });
      }
    }
  });
}

/// A rebuilt weight is exp(s − lse). The contract bounds the error of lse, and that of s is no larger; together they
/// are the weight's relative error. Below 2^-125 a weight is 0.
TEST(AttentionGolden, WeightsAreRebuilt) {
  for_goldens([](const Golden& g) {
    if (!g.has("weights")) return;
    const Tensor golden = g["weights"];
    const auto want = golden.as<double, 4>();
    for (const DType dtype : g.dtypes()) {
      const Case c = make_case(g, dtype);
      const CaseProblem problem(c);
      const Truth truth(c);
      const Attention a = c.attend();
      for (int b = 0; b < c.batches(); ++b)
        for (int h = 0; h < c.heads(); ++h)
          for (int q = 0; q < problem.p.queries_of(b); ++q) {
            const std::size_t row = truth.answer.row(b, q, h);
            const double relative = 2 * truth.lse_bound(row);
            const std::vector<float> got = a.weights({b, h, q});
            double seen = 0;
            for (int k = 0; k < problem.p.keys_of(b); ++k) {
              seen += want(b, h, q, k);
              ASSERT_NEAR(static_cast<double>(got[static_cast<std::size_t>(k)]), want(b, h, q, k),
                          relative * want(b, h, q, k) + 0x1p-125)
                  << fmt::format("{} batch {} head {} query {} key {}", name_of(dtype), b, h, q, k);
            }
            if (g.has("sinks")) {  // what the keys did not get
              ASSERT_NEAR(a.sink_weight({b, h, q}), 1 - seen, relative) << b << ' ' << h << ' ' << q;
            }
          }
    }
  });
}

TEST(AttentionGolden, AlibiSlopesAreBlooms) {
  for (const int heads : {1, 2, 3, 4, 6, 8, 12, 20}) {
    const std::vector<float> got = alibi_slopes(heads);
    const Tensor want = file().tensor(fmt::format("alibi_slopes.{}", heads));
    ASSERT_EQ(std::ssize(got), want.elements());
    for (std::size_t h = 0; h < got.size(); ++h) {  // Bloom's are powers of a base that is rounded first
      const float theirs = want.values<float>()[h];
      EXPECT_NEAR(got[h], theirs, 1e-6f * theirs) << heads << ' ' << h;
    }
  }
}

}  // namespace
}  // namespace fovea
