#include "look/choice.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace fovea::look {

std::vector<int> all_below(int n) {
  std::vector<int> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

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
  if (found.empty() && !layers.empty()) {
    std::string kinds;
    for (const models::LayerRecord& record : layers)
      if (kinds.find(record.kind) == kinds.npos)
        kinds += fmt::format("{}\"{}\"", kinds.empty() ? "" : ", ", record.kind);
    throw Error(fmt::format("kind \"{}\": this model has no such attention; it has {}", kind, kinds));
  }
  return found;
}

}  // namespace fovea::look
