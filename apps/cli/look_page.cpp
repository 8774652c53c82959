#include "look_page.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "look/page.hpp"
#include "models/encoder.hpp"
#include "table.hpp"

namespace fovea::cli {

extern const std::string_view kPageTemplate;  // apps/page/bundle/page.html, made by the build

namespace {

constexpr std::string_view kPlace = "<!--fovea:run-->";  // of the template: here comes the run
// Files: a sentence's stays within 2 MB, any within 5 MB.
constexpr std::int64_t kSentence = 2'000'000, kMost = 5'000'000,
                       kMargin = 20'000;  // the margin: what describes the arrays

/// Bytes of arrays whose base64 takes `bytes` in the file.
std::int64_t raw_bytes(std::int64_t bytes) { return std::max<std::int64_t>(bytes, 0) / 4 * 3; }

std::string detail_name(look::Detail d) {
  return d == look::Detail::Exact ? "exact" : d == look::Detail::Rounded ? "rounded" : "strongest";
}

/// The heads found that are of one kind, by their places in the list; the kind that was asked for first.
std::vector<std::pair<std::string, std::vector<int>>> heads_by_kind(const Findings& found) {
  std::vector<std::pair<std::string, std::vector<int>>> kinds{{found.kind, {}}};
  for (std::size_t i = 0; i < found.heads.size(); ++i) {
    const std::string& kind = found.heads[i].statistics.kind;
    auto at = std::ranges::find(kinds, kind, [](const auto& k) { return k.first; });
    if (at == kinds.end()) at = kinds.insert(at, {kind, {}});
    at->second.push_back(static_cast<int>(i));
  }
  return kinds;
}

look::PageGroup group_of(const Run& run, const Findings& found, const std::vector<int>& heads, look::PageRoom room) {
  std::vector<look::PageHead> wanted;
  for (const int i : heads) {
    const HeadStatistics& s = found.heads[static_cast<std::size_t>(i)].statistics;
    const auto record = std::ranges::find_if(
        run.layers(), [&](const models::LayerRecord& r) { return r.kind == s.kind && r.layer == s.layer; });
    wanted.push_back({&*record, s.head});
  }
  // The ranking of the table of heads, as places in this list.
  std::vector<HeadView> ranked;
  for (const int i : heads) ranked.push_back(found.heads[static_cast<std::size_t>(i)]);
  rank_heads(ranked);
  std::vector<int> rank;
  for (const HeadView& view : ranked) {
    const auto at = std::ranges::find_if(wanted, [&](const look::PageHead& h) {
      return h.record->layer == view.statistics.layer && h.head == view.statistics.head;
    });
    rank.push_back(static_cast<int>(at - wanted.begin()));
  }
  std::vector<bool> special;
  for (const Token& t : run.keys(wanted.front().record->kind)) special.push_back(t.special);
  return look::page_group(wanted, rank, 0, special, room);
}

/// What the page must know of a group, and its arrays appended to `bytes`, each from a multiple of 4.
Json describe(const look::PageGroup& group, const std::string& kind, const std::vector<int>& heads,
              std::string& bytes) {
  Json arrays = Json::array();
  for (const look::PageArray& a : group.arrays) {
    bytes.resize((bytes.size() + 3) / 4 * 4);
    arrays.push_back({{"name", a.name},
                      {"dtype", name_of(a.dtype)},
                      {"shape", std::vector<std::int64_t>(a.shape.begin(), a.shape.end())},
                      {"offset", bytes.size()}});
    bytes.append(reinterpret_cast<const char*>(a.bytes.data()), a.bytes.size());
  }
  Json json{{"kind", kind},
            {"queries", kind == "encoder" ? "tokens" : "target_tokens"},  // the list of tokens on each side
            {"keys", kind == "decoder" ? "target_inputs" : "tokens"},
            {"heads", heads},
            {"detail", detail_name(group.detail)},
            {"mask", group.mask}};
  if (group.detail == look::Detail::Strongest) {
    std::vector<int> linked;  // as `heads`: places in the list of all heads
    for (const int i : group.linked) linked.push_back(heads[static_cast<std::size_t>(i)]);
    json.update({{"top", group.top},
                 {"linked", linked},
                 {"tile", {{"queries", group.tile_queries}, {"keys", group.tile_keys}}}});
  }
  json["arrays"] = arrays;
  return json;
}

Json specials_among(const std::vector<Token>& tokens) {
  Json indices = Json::array();
  for (const Token& t : tokens)
    if (t.special) indices.push_back(t.index);
  return indices;
}

/// As many digits as a page shows.
double shortened(double x) { return std::isfinite(x) ? std::stod(fmt::format("{:.4g}", x)) : x; }

Json survey_json(const std::string& kind, const Survey& survey) {
  Json items = Json::array();
  for (const Survey::Item& x : survey.items)
    items.push_back({x.layer, x.head, x.query, x.key, shortened(x.weight), shortened(x.effect)});
  const auto first = [](const std::vector<std::size_t>& all) {
    constexpr std::size_t kShown = 4;
    return std::vector(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(all.size(), kShown)));
  };
  return {{"kind", kind},
          {"metric", survey.metric},
          {"rank_correlation", {{"weight", survey.weight_correlation}, {"local_effect", survey.local_correlation}}},
          {"items", std::move(items)},
          {"idle", first(survey.idle)},
          {"light", first(survey.light)}};
}

std::string sentence(const std::string& path, std::size_t bytes, const Json& group, std::size_t heads) {
  const std::string detail = group["detail"];
  std::string holds = detail == "exact" ? "every weight, exactly" : "every weight, rounded to 16 bits";
  if (detail == "strongest")
    holds = fmt::format("the {} strongest links of each row in {} of {} heads, and maps of all",
                        group["top"].get<int>(), group["linked"].size(), heads);
  return fmt::format("page: {} ({}; {}): open it in a browser, it needs no network", path,
                     bytes_text(static_cast<double>(bytes)), holds);
}

}  // namespace

std::string json_for_html(const Json& json) {
  std::string safe;
  for (const char c : json.dump(-1, ' ', false, Json::error_handler_t::replace)) {
    if (c == '<' || c == '>' || c == '&')
      safe += fmt::format("\\u{:04x}", static_cast<int>(c));  // outside strings JSON has none of them
    else
      safe += c;
  }
  return safe;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](std::size_t k) {
      return k < bytes.size() ? static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[k])) : 0u;
    };
    const std::uint32_t word = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    for (int shift = 18; shift >= 0; shift -= 6) text += kDigits[word >> shift & 63];
  }
  const std::size_t padding = (3 - bytes.size() % 3) % 3;
  for (std::size_t i = 0; i < padding; ++i) text[text.size() - 1 - i] = '=';
  return text;
}

LookPage::LookPage(const std::string& path) : path_(path) {
  if (!path.empty()) file_.emplace(path);
}

std::string LookPage::write(const Run& run, const Findings& found, Json json) {
  Json proofs = Json::array(), groups = Json::array();
  for (const HeadView& view : found.heads) proofs.push_back(view.statistics.max_abs_error);
  Json specials{{"tokens", specials_among(run.tokens)}};
  if (run.writes()) specials["target_inputs"] = specials_among(run.target_inputs());
  json["text"] = run.text;
  json["page"] = {{"program", "fovea " FOVEA_VERSION},
                  {"special", specials},
                  {"proofs", proofs},
                  {"open", {{"queries", found.queries}}}};

  Json surveys = Json::array();
  for (const auto& [kind, survey] : found.surveys) surveys.push_back(survey_json(kind, survey));
  json["page"]["surveys"] = std::move(surveys);

  const auto fixed = static_cast<std::int64_t>(kPageTemplate.size() + json_for_html(json).size()) + kMargin;
  const std::int64_t room = raw_bytes(kMost - fixed);
  if (room == 0)
    throw Error(
        fmt::format("{}: the {} tokens of this text alone take more than a page's {}; take a shorter text, or "
                    "--export the weights",
                    path_, run.tokens.size(), bytes_text(static_cast<double>(kMost))));
  std::string bytes;
  const auto kinds = heads_by_kind(found);
  for (const auto& [kind, heads] : kinds) {
    const auto share = [&](std::int64_t all) { return all / static_cast<std::int64_t>(kinds.size()); };
    groups.push_back(describe(
        group_of(run, found, heads, {.bytes = share(room), .exact_bytes = share(raw_bytes(kSentence - fixed))}), kind,
        heads, bytes));
  }
  json["page"]["groups"] = groups;

  const std::size_t place = kPageTemplate.find(kPlace);
  const std::string page = fmt::format(
      "{}<script id=\"run\" type=\"application/json\">{}</script>\n<script id=\"arrays\" "
      "type=\"text/plain\">{}</script>{}",
      kPageTemplate.substr(0, place), json_for_html(json), base64(bytes), kPageTemplate.substr(place + kPlace.size()));
  file_->write(0, std::as_bytes(std::span(page)));
  file_->commit();
  return sentence(path_, page.size(), groups.front(), found.heads.size());
}

}  // namespace fovea::cli
