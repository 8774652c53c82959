#include <cmath>

#include <fovea/error.hpp>
#include <fovea/mask.hpp>
#include <fovea/score.hpp>

namespace fovea {

Blocks blocks(int size, int query_blocks, int key_blocks, const std::vector<std::pair<int, int>>& visible) {
  std::vector<bool> grid(static_cast<std::size_t>(query_blocks) * static_cast<std::size_t>(key_blocks));
  for (const auto& [q, k] : visible)
    if (q >= 0 && q < query_blocks && k >= 0 && k < key_blocks)
      grid[static_cast<std::size_t>(q) * static_cast<std::size_t>(key_blocks) + static_cast<std::size_t>(k)] = true;
  return {size, 1, query_blocks, key_blocks, std::make_shared<const std::vector<bool>>(std::move(grid))};
}

BlockMap::BlockMap(const AnyMask& mask, int batches, int heads, int queries, int keys)
    : extents_{batches, heads, queries, keys},
      rows_((queries + kRows - 1) / kRows),
      columns_((keys + kTileKeys - 1) / kTileKeys) {
  if (const std::string complaint = mask.complaint(extents_); !complaint.empty()) throw Error(complaint);
  std::vector<Cell> cells;
  std::vector<std::uint64_t> words;
  std::uint64_t bits[kRows];
  for (int b = 0; b < batches; ++b)
    for (int h = 0; h < heads; ++h)
      for (int q = 0; q < queries; q += kRows)
        for (int k = 0; k < keys; k += kTileKeys) {
          const Tile t{b, h, {q, std::min(q + kRows, queries)}, {k, std::min(k + kTileKeys, keys)}, queries, keys};
          const Cover cover = tile_bits(mask, t, bits);
          cells.push_back({cover, words.size()});
          if (cover == Cover::Partial) words.insert(words.end(), bits, bits + (t.query.end - t.query.begin));
        }
  cells_ = std::make_shared<const std::vector<Cell>>(std::move(cells));
  words_ = std::make_shared<const std::vector<std::uint64_t>>(std::move(words));
}

const BlockMap::Cell& BlockMap::cell(int batch, int head, int row, int column) const {
  const auto plane =
      static_cast<std::size_t>(batch) * static_cast<std::size_t>(extents_.heads) + static_cast<std::size_t>(head);
  const auto line = plane * static_cast<std::size_t>(rows_) + static_cast<std::size_t>(row);
  return (*cells_)[line * static_cast<std::size_t>(columns_) + static_cast<std::size_t>(column)];
}

bool BlockMap::operator()(const Site& s) const {
  const Cell& c = cell(s.batch, s.head, s.query / kRows, s.key / kTileKeys);
  if (c.cover != Cover::Partial) return c.cover == Cover::Full;
  return ((*words_)[c.words + static_cast<std::size_t>(s.query % kRows)] >> (s.key % kTileKeys)) & 1;
}

Cover BlockMap::cover(const Tile& t) const {
  bool any = false, all = true;
  for (int r = t.query.begin / kRows; r * kRows < t.query.end; ++r)
    for (int c = t.key.begin / kTileKeys; c * kTileKeys < t.key.end; ++c) {
      const Cover cover = cell(t.batch, t.head, r, c).cover;
      any |= cover != Cover::Empty;
      all &= cover == Cover::Full;
    }
  return all ? Cover::Full : any ? Cover::Partial : Cover::Empty;
}

std::string BlockMap::complaint(const Extents& e) const {
  if (e.batches == extents_.batches && e.heads == extents_.heads && e.queries == extents_.queries &&
      e.keys == extents_.keys)
    return {};
  const auto list = [](const Extents& x) {
    const int n[4] = {x.batches, x.heads, x.queries, x.keys};
    return PerSite<bool>::list(n);
  };
  return "block map was made for [batch, heads, queries, keys] = " + list(extents_) + " and is asked for " + list(e) +
         "; make one for these sizes";
}

double BlockMap::fill() const {
  std::size_t visited = 0;
  for (const Cell& c : *cells_) visited += c.cover != Cover::Empty;
  return cells_->empty() ? 0.0 : static_cast<double>(visited) / static_cast<double>(cells_->size());
}

std::vector<float> alibi_slopes(int heads) {
  if (heads < 1) return {};
  int power = 1;
  while (power * 2 <= heads) power *= 2;
  std::vector<float> slopes;
  for (int i = 1; i <= power; ++i) slopes.push_back(static_cast<float>(std::exp2(-8.0 * i / power)));
  for (int i = 1; static_cast<int>(slopes.size()) < heads; i += 2)
    slopes.push_back(static_cast<float>(std::exp2(-4.0 * i / power)));
  return slopes;
}

AnyScore operator|(AnyScore a, AnyScore b) {
  if (!a.stages_) return b;
  if (!b.stages_) return a;
  AnyScore::Stages stages = *a.stages_;
  stages.insert(stages.end(), b.stages_->begin(), b.stages_->end());
  AnyScore joined;
  joined.stages_ = std::make_shared<const AnyScore::Stages>(std::move(stages));
  return joined;
}

std::string AnyScore::complaint(const Extents& e) const {
  if (stages_)
    for (const Stage& s : *stages_)
      if (std::string c = s.complaint(s.self.get(), e); !c.empty()) return c;
  return {};
}

void AnyScore::add_parameters(std::vector<ScoreParameter>& list) const {
  if (stages_)
    for (const Stage& s : *stages_) s.add_parameters(s.self.get(), list);
}

int AnyScore::count_parameters() const {
  int n = 0;
  if (stages_)
    for (const Stage& s : *stages_) n += s.count_parameters(s.self.get());
  return n;
}

void AnyScore::collect_tile(const ScoreTile& x, float* g, float* const* sums) const {
  if (stages_) collect_all(*stages_, 0, x, g, sums);
}
double AnyScore::collect_site(double x, double g, const Site& at, int first, void* to, TakeShare take) const {
  return stages_ ? collect_site_all(*stages_, 0, x, g, at, first, to, take) : g;
}

/// Forward through the stages on the way in, backward on the way out.
void AnyScore::collect_all(const Stages& stages, std::size_t stage, const ScoreTile& x, float* g, float* const* sums) {
  const Stage& s = stages[stage];
  if (stage + 1 < stages.size()) {
    float after[kTileQueries * kTileKeys];
    const ScoreTile y{after, x.query_stride, x.key_stride, x.at};
    detail::for_sites(x, [&](const Site&, std::ptrdiff_t i) { after[i] = x.data[i]; });
    s.view.apply[kApplyScalar](s.view.self, y);
    collect_all(stages, stage + 1, y, g, sums + s.count_parameters(s.self.get()));
  }
  s.view.collect(s.view.self, x, g, sums);
}
double AnyScore::collect_site_all(const Stages& stages, std::size_t stage, double x, double g, const Site& at,
                                  int first, void* to, TakeShare take) {
  const Stage& s = stages[stage];
  if (stage + 1 < stages.size())
    g = collect_site_all(stages, stage + 1, s.view.value(s.view.self, x, at), g, at,
                         first + s.count_parameters(s.self.get()), to, take);
  return s.view.collect_site(s.view.self, x, g, at, first, to, take);
}

template <ApplyTier tier>
void AnyScore::apply_all(const void* stages, const ScoreTile& t) {
  for (const Stage& s : *static_cast<const Stages*>(stages)) s.view.apply[tier](s.view.self, t);
}

void AnyScore::differentiate_all(const void* stages, const ScoreTile& t, float* slope) {
  for (const Stage& s : *static_cast<const Stages*>(stages)) s.view.differentiate(s.view.self, t, slope);
}

ScoreView AnyScore::view() const {
  if (!stages_) return {};
  if (stages_->size() == 1) return stages_->front().view;
  return {stages_.get(),
          [](const void* p, double x, const Site& at) {
            for (const Stage& s : *static_cast<const Stages*>(p)) x = s.view.value(s.view.self, x, at);
            return x;
          },
          [](const void* p, double x, const Site& at) {
            Dual<double> y{x, 1.0};
            for (const Stage& s : *static_cast<const Stages*>(p)) {
              const Dual<double> f = s.view.slope(s.view.self, y.value, at);
              y = {f.value, f.slope * y.slope};
            }
            return y;
          },
          {apply_all<kApplyScalar>, apply_all<kApplyAvx2>, apply_all<kApplyAvx512>},
          differentiate_all,
          [](const void* p, const ScoreTile& x, float* g, float* const* sums) {
            collect_all(*static_cast<const Stages*>(p), 0, x, g, sums);
          },
          [](const void* p, double x, double g, const Site& at, int first, void* to, TakeShare take) {
            return collect_site_all(*static_cast<const Stages*>(p), 0, x, g, at, first, to, take);
          }};
}

}  // namespace fovea
