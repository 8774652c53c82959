// fovea embed: sentence embeddings, pooled and normalised as the model's folder says.
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fovea/model.hpp>

#include "command.hpp"
#include "io/safetensors_writer.hpp"
#include "look.hpp"
#include "model_flags.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

struct EmbedOptions {
  Common common;
  ModelFlags model;
  std::vector<std::string> texts;
  std::string output;
  bool look = false;
};

double cosine(std::span<const float> a, std::span<const float> b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    ab += x * y, aa += x * x, bb += y * y;
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

std::span<const float> row(const Tensor& embeddings, std::size_t i) {
  const auto dim = static_cast<std::size_t>(embeddings.shape()[1]);
  return embeddings.values<float>().subspan(i * dim, dim);
}

void print(const EmbedOptions& o, const Tensor& embeddings) {
  constexpr std::size_t kNumbers = 4, kCompared = 8;
  const auto dim = static_cast<std::size_t>(embeddings.shape()[1]), count = o.texts.size();
  say(fmt::format("{} text{}, {} numbers each", count, count == 1 ? "" : "s", dim), 2);
  fmt::print("\n");
  Table vectors({{"#", true, false, Ink::Dim}, {"text", false, true}, {"length", true}, {"starts with"}});
  for (std::size_t i = 0; i < count; ++i) {
    const std::span vector = row(embeddings, i);
    double squares = 0;
    for (const float x : vector) squares += static_cast<double>(x) * static_cast<double>(x);
    std::string numbers;
    for (std::size_t d = 0; d < std::min(kNumbers, dim); ++d)
      numbers += (d == 0 ? "" : " ") + number_text(vector[d], 3);
    vectors.row({std::to_string(i + 1), o.texts[i], number_text(std::sqrt(squares), 4),
                 numbers + (dim > kNumbers ? " …" : "")});
  }
  vectors.print();
  if (count > 1) {
    const std::size_t compared = std::min(count, kCompared);
    fmt::print("\n");
    say(compared < count ? fmt::format("cosine similarity of the first {} (--json has all embeddings)", compared)
                         : "cosine similarity",
        2);
    std::vector<Table::Column> columns{{"#", true, false, Ink::Dim}};
    for (std::size_t i = 0; i < compared; ++i) columns.push_back({std::to_string(i + 1), true});
    columns.push_back({"text", false, true});
    Table similarities(columns);
    for (std::size_t i = 0; i < compared; ++i) {
      std::vector<std::string> cells{std::to_string(i + 1)};
      for (std::size_t j = 0; j < compared; ++j)
        cells.push_back(number_text(cosine(row(embeddings, i), row(embeddings, j)), 3));
      cells.push_back(o.texts[i]);
      similarities.row(cells);
    }
    similarities.print();
  }
  if (o.output.empty() && count == 1 && !o.look) {
    fmt::print("\n");
    suggest({{"fovea", "embed", "--model", o.model.model, o.texts.front(), "A second text to compare it with"}});
  }
}

Json to_json(const EmbedOptions& o, const Tensor& embeddings) {
  Json rows = Json::array();
  for (std::size_t i = 0; i < o.texts.size(); ++i) {
    Json vector = Json::array();
    for (const float x : row(embeddings, i)) vector.push_back(short_decimal(x));
    rows.push_back(std::move(vector));
  }
  return {{"model", o.model.model}, {"dim", embeddings.shape()[1]}, {"embeddings", std::move(rows)}};
}

void run(EmbedOptions& o) {
  const Model model = o.model.load();
  if (o.texts.empty()) o.texts = stdin_lines();
  for (const std::string& text : o.texts) {
    check_utf8(text);
    if (is_blank(text)) throw Error("a text is empty; there is nothing to embed");
  }
  if (o.look && o.texts.size() > 1)
    throw Error(fmt::format("--look looks into one text; {} were given", o.texts.size()));
  int cut = 0;
  const Tensor embeddings = model.embed(o.texts, o.model.truncate, &cut);  // F32 [texts, width]
  ModelFlags::report_cut(cut);
  if (!o.output.empty()) {
    const io::NamedTensor named{"embeddings", embeddings.view()};
    io::write_safetensors(o.output, {&named, 1});
    note(fmt::format("wrote {}", o.output));
  }
  if (!o.common.json) {
    print(o, embeddings);
    if (o.look) look_after(o.common, o.model, model, o.texts.front(), "", nullptr);
    return;
  }
  Json json = to_json(o, embeddings);
  if (o.look) look_after(o.common, o.model, model, o.texts.front(), "", &json);
  print_json(json);
}

Job declare_embed(Flags& flags) {
  auto o = std::make_shared<EmbedOptions>();
  flags.add_option("TEXT", o->texts, "texts, each quoted (default: the lines of standard input)")->type_name("TEXT …");
  flags.add_option("-o,--output", o->output, "also write them: `embeddings` F32 [texts, dim]")
      ->type_name("FILE.safetensors");
  flags.add_flag("--look", o->look, "of one text: also what it attended to");
  o->model.declare(flags);
  o->common.declare(flags);
  return [o] { run(*o); };
}

}  // namespace

const Command kEmbed{"embed", "sentence embeddings, pooled as the model's folder says", "[TEXT …] [options]",
                     "  fovea embed --model build/models/minilm \"A cat sat\" \"Stocks fell\"\n"
                     "  printf 'one\\ntwo\\n' | fovea embed --model build/models/minilm --json\n"
                     "  fovea embed --model build/models/minilm \"A cat\" -o cat.safetensors\n",
                     declare_embed};

}  // namespace fovea::cli
