#include "nn/weights.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include <fovea/threads.hpp>

#include "core/convert.hpp"

namespace fovea::nn {
namespace {

bool finite(float x) { return (std::bit_cast<std::uint32_t>(x) & 0x7f800000u) != 0x7f800000u; }
bool finite(bf16 x) { return (x.bits & 0x7f80u) != 0x7f80u; }
bool finite(f16 x) { return (x.bits & 0x7c00u) != 0x7c00u; }
bool finite(double x) { return std::abs(x) <= double{std::numeric_limits<float>::max()}; }

// Integer tests without an early exit: a loop that vectorises reads the file at the speed of memory.
template <class T>
bool run_finite(const T* x, std::int64_t n) {
  bool all = true;
  for (std::int64_t i = 0; i < n; ++i) all &= finite(x[i]);
  return all;
}

template <class T>
bool all_finite(const T* x, std::int64_t n) {
  constexpr std::int64_t kRun = 1 << 18;
  std::atomic<bool> all = true;
  parallel_for((n + kRun - 1) / kRun, [&](std::int64_t i) {
    if (!run_finite(x + i * kRun, std::min(kRun, n - i * kRun))) all = false;
  });
  return all;
}

bool all_finite(const Tensor& t) {
  return by_float(t.dtype(), [&]<class T>(const T*) { return all_finite(t.data<T>(), t.elements()); });
}

}  // namespace

std::int64_t Ledger::total() const {
  return std::accumulate(parameters.begin(), parameters.end(), std::int64_t{0},
                         [](std::int64_t sum, const auto& entry) { return sum + entry.second; });
}

DType Ledger::dtype() const {
  const auto most = std::max_element(parameters.begin(), parameters.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == parameters.end() ? DType::F32 : most->first;
}

Weights::Weights(const TensorSource& source, Purpose purpose)
    : source_(&source), purpose_(purpose), ledger_(std::make_shared<Ledger>()) {}

Weights Weights::operator/(std::string_view scope) const {
  Weights inner = *this;
  if (!scope.empty()) inner.prefix_ += fmt::format("{}.", scope);
  return inner;
}

Weights Weights::operator/(int index) const { return *this / fmt::format("{}", index); }

std::string Weights::full_name(std::string_view name) const { return prefix_ + std::string(name); }

std::string Weights::where() const { return source_->where(); }

bool Weights::contains(std::string_view name) const { return source_->contains(full_name(name)); }

int Weights::numbered() const {
  std::set<int> numbers;
  for (const std::string& name : source_->names()) {
    if (!name.starts_with(prefix_)) continue;
    const char* begin = name.data() + prefix_.size();
    int number = 0;
    const auto [stop, error] = std::from_chars(begin, name.data() + name.size(), number);
    if (error == std::errc() && stop != begin && *stop == '.') numbers.insert(number);
  }
  int count = 0;
  while (numbers.contains(count)) ++count;
  return count;
}

StoredTensor Weights::find(std::string_view name, const std::string& expected) const {
  const std::string full = full_name(name);
  if (!source_->contains(full)) {
    throw Error(
        fmt::format("{}: tensor \"{}\" is missing: expected {}; the file is incomplete or of another architecture than "
                    "its config.json says",
                    where(), full, expected));
  }
  return source_->info(full);
}

Tensor Weights::read(std::string_view name, const Shape& shape) const {
  const StoredTensor found = find(name, fmt::format("shape {}", shape.str()));
  const std::string full = full_name(name);
  const auto fail = [&](std::string_view expected) {
    throw Error(fmt::format("{}: tensor \"{}\" is {} {}: expected {}", where(), full, found.stored_as,
                            found.shape.str(), expected));
  };
  if (!(found.shape == shape))
    fail(fmt::format("shape {} from config.json; the two do not belong together", shape.str()));
  if (!found.dtype || !is_float(*found.dtype)) fail("F32, BF16, F16 or F64; quantised weights are not supported");
  const Tensor t = source_->tensor(full);
  if (ledger_->used.insert(full).second) {
    ledger_->parameters[t.dtype()] += t.elements();
    if (!all_finite(t)) ledger_->non_finite.insert(full);
  }
  return t;
}

/// A tensor of this model's own that may be written to: a source may hand out memory that it shares with others.
Tensor Weights::own(std::map<std::string, Tensor>& kept, std::string_view name, const Shape& shape) const {
  const std::string full = full_name(name);
  if (const auto known = kept.find(full); known != kept.end() && known->second.shape() == shape) return known->second;
  const Tensor stored = read(name, shape), widened = stored.to(DType::F32);
  return kept[full] = widened.raw() == stored.raw() ? widened.clone() : widened;
}

Tensor Weights::tensor(std::string_view name, const Shape& shape) const {
  return purpose_ == Purpose::Training ? own(ledger_->trainable, name, shape) : read(name, shape);
}

Tensor Weights::f32(std::string_view name, const Shape& shape) const { return tensor(name, shape).to(DType::F32); }

Tensor Weights::buffer(std::string_view name, const Shape& shape) const {
  return purpose_ == Purpose::Training ? own(ledger_->buffers, name, shape) : read(name, shape).to(DType::F32);
}

std::int64_t Weights::dimension(std::string_view name, int rank, int index) const {
  const StoredTensor found = find(name, fmt::format("a tensor of rank {}", rank));
  if (found.shape.rank() != rank) {
    throw Error(fmt::format("{}: tensor \"{}\" has shape {}: expected rank {}", where(), full_name(name),
                            found.shape.str(), rank));
  }
  return found.shape[index];
}

std::vector<std::string> Weights::unused() const {
  std::vector<std::string> left = source_->names();
  std::erase_if(left, [&](const std::string& name) { return ledger_->used.contains(name); });
  return left;
}

}  // namespace fovea::nn
