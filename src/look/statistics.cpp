#include "look/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include <fovea/threads.hpp>

#include "look/rows.hpp"

namespace fovea::look {
namespace {

double surprise(double a) { return a == 0 ? 0 : -a * std::log(a); }
/// The larger; a NaN stays to be seen, which std::max would drop.
double larger(double a, double b) { return std::isnan(a) || a > b ? a : b; }
double mean(double sum, std::int64_t count) { return count > 0 ? sum / static_cast<double>(count) : 0; }

/// What the rows of one head add up to.
class Sums {
 public:
  /// sink: the virtual column's weight; choices: how many columns the row could look at, the virtual one included.
  void add(int query, std::span<const float> row, double sink, int choices) {
    if (choices == 0) return;  // a row that sees nothing has no attention to speak of
    double entropy = surprise(sink), strongest = 0;
    for (std::size_t j = 0; j < row.size(); ++j) {
      const double a = static_cast<double>(row[j]);
      entropy += surprise(a);
      strongest = larger(strongest, a);
      travelled_ += a * std::abs(query - static_cast<int>(j));
      mass_ += a;
    }
    ++rows_;
    entropy_ += entropy;
    strongest_ += strongest;
    if (choices > 1) normalised_ += entropy / std::log(choices), ++free_rows_;
    if (query == 0) return;
    ++later_rows_;
    first_ += static_cast<double>(row[0]);
    if (query <= static_cast<int>(row.size()))
      previous_ += static_cast<double>(row[static_cast<std::size_t>(query - 1)]);
  }

  void write(HeadStatistics& s) const {
    s.entropy = mean(entropy_, rows_);
    s.normalised_entropy = mean(normalised_, free_rows_);
    s.confidence = mean(strongest_, rows_);
    s.sink = mean(first_, later_rows_);
    s.previous = mean(previous_, later_rows_);
    s.distance = mass_ > 0 ? travelled_ / mass_ : 0;
  }

 private:
  std::int64_t rows_ = 0, free_rows_ = 0,
               later_rows_ = 0;  // that see a key; that have a choice; that see one and aren't first
  double entropy_ = 0, normalised_ = 0, strongest_ = 0, first_ = 0, previous_ = 0, travelled_ = 0, mass_ = 0;
};

}  // namespace

HeadStatistics head_statistics(const models::LayerRecord& record, int sequence, int head) {
  const HeadRows rows(record, sequence, head);
  const bool sinks = !record.attention.spec().sinks.empty();
  const auto keys = static_cast<std::size_t>(rows.keys());
  HeadStatistics s;
  s.kind = record.kind, s.layer = record.layer, s.head = head;
  Sums sums;
  for (int begin = 0; begin < rows.queries(); begin += rows.band()) {
    const Range band{begin, std::min(begin + rows.band(), rows.queries())};
    const std::vector<float> weights = rows.weights(band);  // [rows, keys]
    for (int query = band.begin; query < band.end; ++query) {
      const std::span row(weights.data() + static_cast<std::size_t>(query - begin) * keys, keys);
      const int visible = rows.visible(query);
      sums.add(query, row, rows.sink(query), visible + (visible > 0 && sinks ? 1 : 0));
      s.max_abs_error = larger(s.max_abs_error, rows.max_abs_error(query, row));
    }
  }
  sums.write(s);
  return s;
}

std::vector<HeadStatistics> all_statistics(std::span<const models::LayerRecord> layers, int sequence) {
  std::vector<std::pair<const models::LayerRecord*, int>> items;
  for (const models::LayerRecord& record : layers)
    for (int head = 0; head < record.q.shape()[2]; ++head) items.emplace_back(&record, head);
  std::vector<HeadStatistics> all(items.size());
  parallel_for(static_cast<std::int64_t>(items.size()), [&](std::int64_t i) {
    const auto [record, head] = items[static_cast<std::size_t>(i)];
    all[static_cast<std::size_t>(i)] = head_statistics(*record, sequence, head);
  });
  return all;
}

}  // namespace fovea::look
