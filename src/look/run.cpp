// A run that can be looked into: every question goes to the functions beside this file.
#include <algorithm>
#include <mutex>
#include <numeric>

#include <fmt/format.h>

#include <fovea/model.hpp>

#include "look/links.hpp"
#include "look/statistics.hpp"
#include "look/words.hpp"
#include "models/encoder.hpp"

namespace fovea {

constexpr int kSequence = 0;  // a run is one text

/// A run doesn't change, so its heads are read once, whoever asks first.
struct Run::Heads {
  std::once_flag once;
  std::vector<HeadStatistics> all;
};

Run::Run(std::shared_ptr<const models::Encoder> model, std::shared_ptr<const models::Result> result)
    : model_(std::move(model)), result_(std::move(result)), heads_(std::make_shared<Heads>()) {}

const models::Summary& Run::model() const { return model_->summary(); }
const std::vector<models::LayerRecord>& Run::layers() const { return result_->layers; }
const std::vector<Tensor>& Run::hidden() const { return result_->hidden_states; }

std::vector<int> Run::find(std::string_view selector) const { return look::find_tokens(text, tokens, selector); }

const std::vector<HeadStatistics>& Run::heads() const {
  std::call_once(heads_->once, [&] { heads_->all = look::all_statistics(layers(), kSequence); });
  return heads_->all;
}

double Run::max_abs_error() const {
  double worst = 0;
  for (const HeadStatistics& head : heads())
    if (!(head.max_abs_error <= worst)) worst = head.max_abs_error;  // a NaN is an error too
  return worst;
}

namespace {

std::vector<int> all_below(int n) {
  std::vector<int> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

/// The chosen ones in ascending order, each once; all of them when nothing was chosen.
std::vector<int> chosen(const char* what, std::vector<int> wanted, int count) {
  if (wanted.empty()) return all_below(count);
  for (const int i : wanted)
    if (i < 0 || i >= count)
      throw Error(fmt::format("{} {}: the model has {}s 0 to {}; choose among them", what, i, what, count - 1));
  std::ranges::sort(wanted);
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  return wanted;
}

std::vector<const models::LayerRecord*> records_of_kind(const std::vector<models::LayerRecord>& layers,
                                                        const std::string& kind) {
  std::vector<const models::LayerRecord*> found;
  for (const models::LayerRecord& record : layers)
    if (record.kind == (kind.empty() ? layers.front().kind : kind)) found.push_back(&record);
  if (found.empty() && !layers.empty())
    throw Error(fmt::format("kind \"{}\": this model has no such attention; it has \"{}\"", kind, layers.front().kind));
  return found;
}

}  // namespace

std::vector<Link> Run::links(const LinkQuery& query) const {
  if (query.top < 1) throw Error(fmt::format("top {}: ask for at least one link", query.top));
  const auto records = records_of_kind(layers(), query.kind);
  look::Field field;
  for (const int layer : chosen("layer", query.layers, static_cast<int>(records.size())))
    field.layers.push_back(records[static_cast<std::size_t>(layer)]);
  field.heads = chosen("head", query.heads, model().heads);
  field.queries = query.token.empty() ? all_below(static_cast<int>(tokens.size())) : find(query.token);
  if (query.skip_special) {
    for (const Token& t : tokens) field.left_out.push_back(t.special);
    if (query.token.empty())
      std::erase_if(field.queries, [&](int q) { return tokens[static_cast<std::size_t>(q)].special; });
  }
  return look::strongest_links(field, kSequence, query.top);
}

}  // namespace fovea
