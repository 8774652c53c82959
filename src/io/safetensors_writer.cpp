#include "io/safetensors_writer.hpp"

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fovea/error.hpp>

#include "core/checked.hpp"
#include "io/quote.hpp"

namespace fovea::io {
namespace {

/// Calls `write(span)` with the elements of any view in row-major order, gathered into blocks.
template <class Write>
void each_block(const TensorView& view, Write write) {
  const auto element = static_cast<std::size_t>(size_of(view.dtype));
  const auto* data = static_cast<const std::byte*>(view.data);
  if (view.shape.elements() == 0) return;
  // The innermost dimensions that lie densely make one run; the others are counted through.
  std::int64_t run = 1;
  int outer = view.shape.rank();
  while (outer > 0 && (view.shape[outer - 1] == 1 || view.strides[outer - 1] == run)) run *= view.shape[--outer];
  const std::size_t run_bytes = static_cast<std::size_t>(run) * element;

  constexpr std::size_t kBlock = 1 << 18;
  std::vector<std::byte> block;
  block.reserve(outer > 0 ? kBlock : 0);
  Shape index = view.shape;  // of the outer dimensions
  for (int d = 0; d < index.rank(); ++d) index[d] = 0;
  for (int d = 0; d >= 0;) {
    std::int64_t offset = 0;
    for (int i = 0; i < outer; ++i) offset += index[i] * view.strides[i];
    const std::byte* from = data + offset * std::int64_t{size_of(view.dtype)};
    if (run_bytes >= kBlock || outer == 0) {
      write(std::span(from, run_bytes));
    } else {
      if (block.size() + run_bytes > kBlock) write(std::span<const std::byte>(block)), block.clear();
      block.insert(block.end(), from, from + run_bytes);
    }
    for (d = outer - 1; d >= 0 && ++index[d] == view.shape[d]; --d) index[d] = 0;
  }
  if (!block.empty()) write(std::span<const std::byte>(block));
}

}  // namespace

SafeTensorsWriter::SafeTensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : where_(path.string()), file_(path) {
  // The widest elements first: after a header of whole 8 bytes, each tensor then begins at a multiple of its element
  // size.
  std::sort(tensors.begin(), tensors.end(), [](const TensorSpec& a, const TensorSpec& b) {
    return std::tuple(-size_of(a.dtype), std::string_view(a.name)) <
           std::tuple(-size_of(b.dtype), std::string_view(b.name));
  });
  std::int64_t at = 0;
  for (TensorSpec& spec : tensors) {
    const auto bytes = checked_product({spec.shape.elements(), std::int64_t{size_of(spec.dtype)}});
    const auto end = checked_sum(at, bytes.value_or(-1));
    if (!end)
      throw Error(fmt::format("{}: tensor {} {} and those before it are more than 2^63 bytes", where_,
                              in_quotes(spec.name), spec.shape.str()));
    if (spec.name == "__metadata__" || !by_name_.try_emplace(spec.name, slots_.size()).second) {
      throw Error(fmt::format("{}: the name {} {}", where_, in_quotes(spec.name),
                              spec.name == "__metadata__" ? "is the format's own" : "was given to two tensors"));
    }
    slots_.push_back({.spec = std::move(spec), .begin = at, .end = *end, .at = at});
    at = *end;
  }
  const std::string text = header(metadata);
  const std::int64_t start = std::ssize(text);
  const auto size = checked_sum(start, at);
  if (!size) throw Error(fmt::format("{}: would have more than 2^63 bytes", where_));
  for (Slot& slot : slots_) slot.begin += start, slot.end += start, slot.at += start;
  file_.reserve(*size);
  file_.write(0, std::as_bytes(std::span(text)));
}

/// Length and JSON, padded with spaces to whole 8 bytes.
std::string SafeTensorsWriter::header(const std::map<std::string, std::string>& metadata) const {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  std::string text;
  try {
    text = json.dump();
    text.pop_back();
    for (const Slot& slot : slots_) {  // by hand: ordered_json looks through all its keys for each new one
      const nlohmann::ordered_json entry = {
          {"dtype", name_of(slot.spec.dtype)},
          {"shape", std::vector<std::int64_t>(slot.spec.shape.begin(), slot.spec.shape.end())},
          {"data_offsets", {slot.begin, slot.end}}};
      text += fmt::format("{}{}:{}", text.size() > 1 ? "," : "", nlohmann::json(slot.spec.name).dump(), entry.dump());
    }
  } catch (const nlohmann::json::exception&) {
    throw Error(fmt::format("{}: a tensor's name or the metadata are not valid UTF-8", where_));
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + text;
}

SafeTensorsWriter::Slot& SafeTensorsWriter::slot(std::string_view name) {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) throw Error(fmt::format("{}: tensor {} was not declared", where_, in_quotes(name)));
  return slots_[found->second];
}

void SafeTensorsWriter::append(std::string_view name, const TensorView& piece) {
  Slot& to = slot(name);
  const Shape& whole = to.spec.shape;
  const auto last = [](const Shape& s) { return s[s.rank() - 1]; };
  const bool rows = whole.rank() == 0
                        ? piece.shape.rank() == 0
                        : piece.shape.rank() > 0 && (whole.rank() == 1 || last(piece.shape) == last(whole));
  if (piece.dtype != to.spec.dtype || !rows) {
    throw Error(
        fmt::format("{}: tensor {} is {} {}; a piece {} was given to it; expected the same dtype and last dimension",
                    where_, in_quotes(name), name_of(to.spec.dtype), whole.str(), piece.str()));
  }
  if (piece.shape.elements() > (to.end - to.at) / size_of(piece.dtype)) {
    throw Error(fmt::format("{}: tensor {} {} lacks {} elements; a piece {} was given to it", where_, in_quotes(name),
                            whole.str(), (to.end - to.at) / size_of(piece.dtype), piece.str()));
  }
  each_block(piece, [&](std::span<const std::byte> bytes) {
    file_.write(to.at, bytes);
    to.at += std::ssize(bytes);
  });
}

void SafeTensorsWriter::finish() {
  for (const Slot& slot : slots_) {
    if (slot.at == slot.end) continue;
    throw Error(fmt::format("{}: tensor {} {} is not complete: {} bytes of {} were given", where_,
                            in_quotes(slot.spec.name), slot.spec.shape.str(), slot.at - slot.begin,
                            slot.end - slot.begin));
  }
  file_.commit();
}

void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<TensorSpec> specs;
  for (const NamedTensor& t : tensors) specs.push_back({t.name, t.tensor.dtype, t.tensor.shape});
  SafeTensorsWriter writer(path, std::move(specs), metadata);
  for (const NamedTensor& t : tensors) writer.append(t.name, t.tensor);
  writer.finish();
}

}  // namespace fovea::io
