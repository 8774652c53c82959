// Beam search as transformers' generate() has it since 2025: of every beam the likeliest continuations; those that end
// go to a list of finished texts with their length-normalised scores, the others run on. Scores are f32, so that ties
// and thresholds fall alike.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <fovea/threads.hpp>

#include "runtime/rules.hpp"
#include "runtime/searches.hpp"

namespace fovea::runtime {
namespace {

constexpr float kOut = -1e9f;  // added to the score of what must not be chosen; the number itself decides some ties

struct Beam {
  std::vector<int> ids;  // from the start token on
  float score = 0;       // running: Σ log p; finished: the same, normalised
  bool finished = false;
  int row = 0;  // running: of the decoding
};

/// Indices of the `count` largest, largest first; of equals the first first.
std::vector<std::size_t> largest(std::span<const float> scores, std::size_t count) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(std::min(count, order.size()));
  std::partial_sort(order.begin(), end, order.end(), [&](std::size_t a, std::size_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  });
  order.erase(end, order.end());
  return order;
}

std::vector<float> scores_of(const std::vector<Beam>& beams) {
  std::vector<float> scores;
  for (const Beam& b : beams) scores.push_back(b.score);
  return scores;
}

std::vector<Beam> chosen(const std::vector<Beam>& beams, std::size_t count) {
  std::vector<Beam> best;
  for (const std::size_t i : largest(scores_of(beams), count)) best.push_back(beams[i]);
  return best;
}

/// The search for one source.
class Search {
 public:
  Search(const Generation& how, const Rules& rules, int first_row) : how_(&how), rules_(&rules) {
    for (int i = 0; i < how.beams; ++i) {
      // All begin alike, so only the first may go on at first.
      running_.push_back({{how.start}, i == 0 ? 0 : kOut, false, first_row + i});
      finished_.push_back({{}, kOut, false, 0});
    }
  }

  bool done() const { return done_; }
  std::vector<Beam>& running() { return running_; }

  /// One more token: `logits` [rows, vocabulary] of the whole decoding.
  void advance(Tensor& logits) {
    const std::vector<Beam> next = continuations(logits);
    finish(next);
    std::vector<Beam> going = next;
    for (Beam& b : going) b.score += b.finished ? kOut : 0;
    running_ = chosen(going, running_.size());
    ++length_;
    const bool may_improve = can_improve();
    improvable_ = improvable_ && may_improve;
    const bool enough = full() && how_->early_stop == EarlyStop::Full;
    done_ = !improvable_ || enough || std::ranges::all_of(next, &Beam::finished);
  }

  std::vector<Written> results() const {
    std::vector<Written> texts;
    for (const Beam& b : finished_)
      if (b.finished && std::ssize(texts) < how_->results) texts.push_back({b.ids, static_cast<double>(b.score)});
    return texts;
  }

 private:
  bool full() const { return std::ranges::all_of(finished_, &Beam::finished); }
  float normaliser(int tokens) const {
    return static_cast<float>(std::pow(static_cast<double>(tokens), how_->length_penalty));
  }

  /// The likeliest of all beams' continuations: enough that `beams` of them go on even when every other one ends.
  std::vector<Beam> continuations(Tensor& logits) const {
    const auto vocabulary = static_cast<std::size_t>(logits.shape()[1]);
    std::vector<float> scores;  // [beams · vocabulary]
    scores.reserve(running_.size() * vocabulary);
    for (const Beam& b : running_) {
      const std::span<float> row = row_of(logits, static_cast<std::size_t>(b.row));
      log_softmax_row(row);
      rules_->apply(b.ids, row);
      for (const float x : row) scores.push_back(x + b.score);
    }
    const std::size_t kept = std::max<std::size_t>(2, 1 + how_->ends.size()) * running_.size();
    std::vector<Beam> next;
    for (const std::size_t at : largest(scores, kept)) {
      const Beam& from = running_[at / vocabulary];
      next.push_back({from.ids, scores[at], false, from.row});
      next.back().ids.push_back(static_cast<int>(at % vocabulary));
      next.back().finished = rules_->ends(next.back().ids.back()) || length_ + 1 >= how_->max_length;
    }
    return next;
  }

  /// Those of the best that end join the finished ones, if they are better.
  void finish(const std::vector<Beam>& next) {
    const bool closed = (full() && how_->early_stop == EarlyStop::Full) || !improvable_;
    std::vector<Beam> merged = finished_;
    for (std::size_t i = 0; i < next.size(); ++i) {
      Beam b = next[i];
      b.finished = b.finished && i < running_.size();  // the others are there only to run on
      b.score = b.score / normaliser(length_) + (closed ? kOut : 0) + (b.finished ? 0 : kOut);
      merged.push_back(std::move(b));
    }
    finished_ = chosen(merged, finished_.size());
  }

  /// Whether the best running beam could still beat a finished one.
  bool can_improve() const {
    const int best_length =
        how_->early_stop == EarlyStop::Never && how_->length_penalty > 0 ? how_->max_length - 1 : length_ - 1;
    const float best = running_.front().score / normaliser(best_length);
    const float worst = std::ranges::min_element(finished_, {}, &Beam::score)->score;
    return std::ranges::any_of(finished_, [&](const Beam& b) { return best > (b.finished ? worst : kOut); });
  }

  const Generation* how_;
  const Rules* rules_;
  std::vector<Beam> running_, finished_;  // [beams] each; best first
  int length_ = 1;                        // of what was written, the start token included
  bool improvable_ = true, done_ = false;
};

}  // namespace

std::vector<std::vector<Written>> beam_search(models::Decoding& decoding, std::size_t sources, const Generation& how) {
  const Rules rules(how);
  std::vector<Search> searches;
  std::vector<int> rows;
  for (std::size_t i = 0; i < sources; ++i) {
    searches.emplace_back(how, rules, static_cast<int>(rows.size()));
    rows.insert(rows.end(), static_cast<std::size_t>(how.beams), static_cast<int>(i));
  }
  decoding.select(rows);
  std::vector<Search*> going;
  for (Search& s : searches) going.push_back(&s);
  while (!going.empty()) {
    std::vector<int> last;
    for (Search* s : going)
      for (const Beam& b : s->running()) last.push_back(b.ids.back());
    Tensor logits = decoding.step(last);  // [rows, vocabulary]
    parallel_for(std::ssize(going), [&](std::int64_t i) { going[static_cast<std::size_t>(i)]->advance(logits); });
    std::erase_if(going, [](const Search* s) { return s->done(); });
    rows.clear();
    for (Search* s : going)
      for (Beam& b : s->running()) {
        const int from = b.row;
        b.row = static_cast<int>(rows.size());
        rows.push_back(from);
      }
    decoding.select(rows);
  }
  std::vector<std::vector<Written>> all;
  for (const Search& s : searches) all.push_back(s.results());
  return all;
}

}  // namespace fovea::runtime
