#include "support/problems.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/convert.hpp"

namespace fovea::testing {

Input::Input(DType dtype, const Shape& shape, const Shape& strides, std::int64_t offset) {
  std::int64_t most = offset + 1;
  for (int i = 0; i < shape.rank(); ++i) most += std::max<std::int64_t>(shape[i] - 1, 0) * strides[i];
  memory_ = Tensor(dtype, {most + 16});
  for (std::int64_t i = 0; i < most + 16; ++i) store_element(dtype, memory_.raw(), i, std::nan(""));
  const auto* data = static_cast<const std::byte*>(memory_.raw()) + offset * size_of(dtype);
  view = {dtype, data, shape, strides};
}

double Input::get(std::int64_t b, std::int64_t t, std::int64_t h, std::int64_t d) const {
  return load_element(view.dtype, view.data, at(b, t, h, d));
}

void Input::set(std::int64_t b, std::int64_t t, std::int64_t h, std::int64_t d, double x) {
  store_element(view.dtype, const_cast<void*>(view.data), at(b, t, h, d), x);
}

void Input::fill(const Number& f) {
  for (std::int64_t b = 0; b < view.shape[0]; ++b)
    for (std::int64_t t = 0; t < view.shape[1]; ++t)
      for (std::int64_t h = 0; h < view.shape[2]; ++h)
        for (std::int64_t d = 0; d < view.shape[3]; ++d) set(b, t, h, d, f(b, t, h, d));
}

Input Input::copy_as(const Shape& shape, const Shape& strides, std::int64_t offset) const {
  Input other(view.dtype, shape, strides, offset);
  other.fill([this](auto b, auto t, auto h, auto d) { return get(b, t, h, d); });
  return other;
}

Input random_layout(Rng& rng, DType dtype, const Shape& shape) {
  std::vector<int> order = {0, 1, 2, 3};            // from the outermost dimension in
  if (rng.chance(0.3)) order = {0, 2, 1, 3};        // heads before time, as caches are kept
  if (rng.chance(0.2)) order = rng.permutation(4);  // head_dim need not be innermost
  Shape strides{0, 0, 0, 0};
  std::int64_t step = 1;
  for (auto d = order.rbegin(); d != order.rend(); ++d) {
    if (rng.chance(0.15)) step += rng.in(1, 5) * (step == 1 ? 1 : 3);
    strides[*d] = step;
    step *= std::max<std::int64_t>(shape[*d], 1);
  }
  if (rng.chance(0.05)) strides[rng.pick({0, 2})] = 0;  // one batch row or head, shared by all
  return Input(dtype, shape, strides, rng.chance(0.5) ? 0 : rng.in(1, 9));
}

Operand operand_of(const TensorView& t) {
  return {const_cast<void*>(t.data), t.dtype, t.strides[0], t.strides[1], t.strides[2], t.strides[3]};
}

AttentionSpec Case::spec() const {
  AttentionSpec s;
  s.mask = mask, s.score = score, s.scale = scale, s.sinks = sinks, s.output = output;
  s.lengths = {q_lengths, kv_lengths};
  s.packed = {q_ends, kv_ends};
  return s;
}

Attention Case::attend() const { return fovea::attend(q.view, k.view, v.view, spec()); }

std::string Case::str() const {
  std::string s = fmt::format("q {} strides {}, k {} strides {}, v {} strides {}, mask {}, score {}, scale {}",
                              q.view.str(), q.view.strides.str(), k.view.str(), k.view.strides.str(), v.view.str(),
                              v.view.strides.str(), mask_name, score_name, the_scale());
  if (!sinks.empty()) s += fmt::format(", sinks {{{}}}", fmt::join(sinks, ", "));
  if (!q_lengths.empty()) s += fmt::format(", q_lengths {{{}}}", fmt::join(q_lengths, ", "));
  if (!kv_lengths.empty()) s += fmt::format(", kv_lengths {{{}}}", fmt::join(kv_lengths, ", "));
  if (!q_ends.empty()) s += fmt::format(", packed {{{}}} {{{}}}", fmt::join(q_ends, ", "), fmt::join(kv_ends, ", "));
  if (output) s += fmt::format(", out {}", name_of(*output));
  return s;
}

CaseProblem::CaseProblem(const Case& c) {
  p.q = operand_of(c.q.view), p.k = operand_of(c.k.view), p.v = operand_of(c.v.view);
  p.batches = c.batches(), p.queries = c.queries(), p.keys = c.keys();
  p.heads = c.heads(), p.kv_heads = c.kv_heads(), p.head_dim = c.head_dim(), p.value_dim = c.value_dim();
  p.scale = c.the_scale();
  p.mask = c.mask.view(), p.score = c.score.view();
  p.sinks = c.sinks.empty() ? nullptr : c.sinks.data();
  q_lengths = c.q_lengths, kv_lengths = c.kv_lengths;
  for (std::size_t i = 0; i < c.q_ends.size(); ++i) {
    q_begin.push_back(i ? c.q_ends[i - 1] : 0), q_lengths.push_back(c.q_ends[i] - q_begin.back());
    kv_begin.push_back(i ? c.kv_ends[i - 1] : 0), kv_lengths.push_back(c.kv_ends[i] - kv_begin.back());
  }
  if (!c.q_ends.empty()) {
    p.batches = static_cast<int>(c.q_ends.size());
    p.queries = *std::max_element(q_lengths.begin(), q_lengths.end());
    p.keys = *std::max_element(kv_lengths.begin(), kv_lengths.end());
    p.q.batch = p.k.batch = p.v.batch = 0;
    p.q_begin = q_begin.data(), p.kv_begin = kv_begin.data();
  }
  if (!q_lengths.empty()) p.q_lengths = q_lengths.data();
  if (!kv_lengths.empty()) p.kv_lengths = kv_lengths.data();
}

static int random_dim(Rng& rng) {
  return rng.chance(0.5) ? rng.pick({1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 40, 64, 64, 80, 96, 112, 128, 192, 256})
                         : rng.in(1, 130);
}

Case random_tensors(Rng& rng, const Choice& choice) {
  Case c;
  const DType dtype = rng.pick(choice.dtypes);
  const int none = choice.empty && rng.chance(0.03) ? rng.in(1, 2) : 0;
  const int most = rng.chance(0.3) ? 13 : choice.most;
  const int queries = none == 1 ? 0 : odd_size(rng, most), keys = none == 2 ? 0 : odd_size(rng, most);
  // Long rows are as frequent as short ones: what doesn't fit gives way in heads and dims.
  for (int tries = 0;; ++tries) {
    const int batches = rng.in(1, choice.batches), kv_heads = rng.in(1, 3),
              heads = kv_heads * rng.pick({1, 1, 2, 3, 7});
    const int head_dim = random_dim(rng), value_dim = rng.chance(0.6) ? head_dim : random_dim(rng);
    const double pairs = 1.0 * heads * queries * keys, numbers = 1.0 * heads * queries + 1.0 * kv_heads * keys;
    if (batches * (pairs + 8 * numbers) * (head_dim + value_dim) > choice.work * (1 + tries / 50)) continue;
    const auto make = [&](const Shape& shape, double mean) {
      Input x = choice.layouts ? random_layout(rng, dtype, shape) : Input(dtype, shape);
      if (choice.grid_values)
        x.fill([&](auto...) { return rng.in(-32, 32) / 16.0; });
      else
        x.fill([&, size = rng.pick({0.3, 1.0, 1.0, 3.0})](auto...) { return mean + size * rng.normal(); });
      return x;
    };
    c.q = make({batches, queries, heads, head_dim}, 0);
    c.k = make({batches, keys, kv_heads, head_dim}, 0);
    c.v =
        make({batches, keys, kv_heads, value_dim}, rng.pick({0.0, 0.0, 1.0, -3.0}));  // sums of one sign round the most
    return c;
  }
}

void add_lengths(Rng& rng, Case& c) {
  const auto some = [&](int most) {
    std::vector<int> n;
    for (int b = 0; b < c.batches(); ++b) n.push_back(rng.chance(0.2) ? most : rng.in(0, most));
    return n;
  };
  if (c.batches() == 1 && rng.chance(0.6)) {
    const int sequences = rng.in(1, 5);
    const auto ends = [&](int most) {
      std::vector<int> e;
      for (int i = 0; i < sequences; ++i) e.push_back(rng.in(0, most));
      std::sort(e.begin(), e.end());
      if (rng.chance(0.8)) e.back() = most;
      return e;
    };
    c.q_ends = ends(c.queries()), c.kv_ends = ends(c.keys());
    return;
  }
  if (rng.chance(0.7)) c.q_lengths = some(c.queries());
  if (rng.chance(0.7)) c.kv_lengths = some(c.keys());
}

Case random_case(Rng& rng, const Choice& choice) {
  Case c = random_tensors(rng, choice);
  if (choice.lengths && rng.chance(0.35)) add_lengths(rng, c);
  const CaseProblem sizes(c);
  const Extents e{sizes.p.batches, sizes.p.heads, sizes.p.queries, sizes.p.keys};
  if (choice.masks && rng.chance(0.7)) {
    NamedMask m = random_mask(rng, e, c.keep, !sizes.p.q_lengths && !sizes.p.kv_lengths);
    c.mask = m.mask, c.mask_name = m.name;
  }
  if (choice.scores && rng.chance(0.6)) {
    NamedScore s = random_score(rng, e, c.keep);
    c.score = s.score, c.score_name = s.name, c.moves = s.moves;
  }
  if (choice.sinks && rng.chance(0.25))
    for (int h = 0; h < c.heads(); ++h)
      c.sinks.push_back(rng.chance(0.1) ? -std::numeric_limits<float>::infinity()
                                        : static_cast<float>(rng.uniform(-4, 4)));
  if (rng.chance(0.3)) c.scale = rng.chance(0.1) ? 0.0 : rng.uniform(-0.5, 1.5);
  if (rng.chance(0.15)) c.output = rng.pick({DType::F32, DType::BF16, DType::F16});
  return c;
}

}  // namespace fovea::testing
