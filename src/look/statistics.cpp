#include "look/statistics.hpp"

#include <cmath>
#include <utility>

#include <fovea/threads.hpp>
#include <fovea/trace.hpp>

#include "look/rows.hpp"

namespace fovea::look {
namespace {

/// The larger; a NaN stays to be seen, which std::max would drop.
double larger(double a, double b) { return std::isnan(a) || a > b ? a : b; }
double mean(double sum, std::int64_t count) { return count > 0 ? sum / static_cast<double>(count) : 0; }

constexpr int kPrevious = -1, kSelf = 0, kNext = 1;  // key − query

/// What the rows of one head add up to.
HeadStatistics summed(const Trace& t, std::size_t rows, bool sinks) {
  HeadStatistics s;
  std::int64_t seeing = 0, free = 0,
               later = 0;  // rows that see a key; that have a choice; that see one and aren't first
  double travelled = 0, mass = 0;
  for (std::size_t i = 0; i < rows; ++i) {
    s.max_abs_error = larger(s.max_abs_error, static_cast<double>(t.error[i]));
    if (t.visible[i] == 0) continue;  // a row that sees nothing has no attention to speak of
    const int choices = t.visible[i] + (sinks ? 1 : 0);
    const auto entropy = static_cast<double>(t.entropy[i]);
    ++seeing;
    s.entropy += entropy;
    s.confidence += static_cast<double>(t.most[i]);
    s.special += static_cast<double>(t.along[i]);
    travelled += static_cast<double>(t.distance[i]), mass += static_cast<double>(t.mass[i]);
    if (choices > 1) s.normalised_entropy += entropy / std::log(choices), ++free;
    s.self += static_cast<double>(t.at[rows + i]), s.next += static_cast<double>(t.at[2 * rows + i]);
    if (i == 0) continue;
    ++later;
    s.sink += static_cast<double>(t.first[i]), s.previous += static_cast<double>(t.at[i]);
  }
  for (double* x : {&s.entropy, &s.confidence, &s.special, &s.self, &s.next}) *x = mean(*x, seeing);
  s.normalised_entropy = mean(s.normalised_entropy, free);
  for (double* x : {&s.sink, &s.previous}) *x = mean(*x, later);
  s.distance = mass > 0 ? travelled / mass : 0;
  return s;
}

}  // namespace

HeadStatistics head_statistics(const models::LayerRecord& record, int sequence, int head, const SpecialKeys& special) {
  const HeadRows rows(record, sequence, head);
  TraceQuery query{.batch = sequence, .head = head, .queries = {0, rows.queries()}};
  query.offsets = {kPrevious, kSelf, kNext};
  if (const auto found = special.find(record.kind); found != special.end()) query.along = found->second;
  HeadStatistics s = summed(trace(record.attention, query), static_cast<std::size_t>(rows.queries()), rows.has_sinks());
  s.kind = record.kind, s.layer = record.layer, s.head = head;
  return s;
}

std::vector<HeadStatistics> all_statistics(std::span<const models::LayerRecord> layers, int sequence,
                                           const SpecialKeys& special) {
  std::vector<std::pair<const models::LayerRecord*, int>> items;
  for (const models::LayerRecord& record : layers)
    for (int head = 0; head < record.q.shape()[2]; ++head) items.emplace_back(&record, head);
  std::vector<HeadStatistics> all(items.size());
  parallel_for(static_cast<std::int64_t>(items.size()), [&](std::int64_t i) {
    const auto [record, head] = items[static_cast<std::size_t>(i)];
    all[static_cast<std::size_t>(i)] = head_statistics(*record, sequence, head, special);
  });
  return all;
}

}  // namespace fovea::look
