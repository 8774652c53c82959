#include "ops/tape.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "ops/cut.hpp"

namespace fovea {
namespace {

thread_local Tape* standing = nullptr;

template <class T>
void add_values(Tensor& to, const Tensor& from) {
  T* sum = to.data<T>();
  const T* more = from.data<T>();
  for_runs(to.elements(), kElementsAtOnce,
           [&](std::int64_t first, std::int64_t last) { add_rows(more + first, 1, last - first, sum + first); });
}

}  // namespace

Tape::Tape(std::uint64_t seed, Products products) : seed_(seed), products_(products) {
  if (standing) throw Error("a tape already stands in this thread; let it end before another one begins");
  standing = this;
}

Tape::~Tape() {
  if (standing == this) standing = nullptr;  // after backward() another one may stand
}

Tape* Tape::current() { return standing; }

void Tape::watch(const Tensor& leaf) {
  tracked_[leaf.raw()] = true;
  leaves_.push_back(leaf);
}

bool Tape::tracks(const Tensor& t) const { return !t.empty() && tracked_.contains(t.raw()); }

bool Tape::record(const Tensor& out, std::span<const Tensor> inputs, Step step) {
  if (std::ranges::none_of(inputs, [this](const Tensor& t) { return tracks(t); })) return false;
  tracked_.try_emplace(out.raw(), false);
  entries_.push_back({out, std::move(step)});
  return true;
}

void Tape::add(const Tensor& t, Tensor gradient) {
  if (!tracks(t)) return;
  if (gradient.elements() != t.elements() || gradient.dtype() != t.dtype()) {
    throw Error(fmt::format("a gradient is {} and its tensor {}; expected one of the same kind", gradient.view().str(),
                            t.view().str()));
  }
  const auto at = gradients_.find(t.raw());
  if (at == gradients_.end()) {
    // Two tensors may share one until more is added to either; what a caller takes away is its own.
    const bool own = gradient.unique() || !tracked_.at(t.raw());
    gradients_.emplace(t.raw(), own ? std::move(gradient) : gradient.clone());
    return;
  }
  if (!at->second.unique()) at->second = at->second.clone();
  if (t.dtype() == DType::F64)
    add_values<double>(at->second, gradient);
  else
    add_values<float>(at->second, gradient);
}

Tensor Tape::sum(const Tensor& t) {
  if (!tracks(t)) return {};
  const auto [at, first] = gradients_.try_emplace(t.raw());
  if (first) at->second = Tensor(t.dtype(), t.shape());
  if (!at->second.unique()) at->second = at->second.clone();
  return at->second.reshape(t.shape());
}

void Tape::backward(const Tensor& loss) {
  if (loss.elements() != 1)
    throw Error(fmt::format("backward starts from one number; the loss is {}", loss.view().str()));
  standing = nullptr;  // steps may use operators themselves, and must not record
  Tensor one(loss.dtype(), loss.shape());
  if (one.dtype() == DType::F64)
    *one.data<double>() = 1;
  else
    *one.data<float>() = 1;
  add(loss, std::move(one));
  while (!entries_.empty()) {
    Entry entry = std::move(entries_.back());
    entries_.pop_back();
    const auto found = gradients_.find(entry.out.raw());
    if (found == gradients_.end()) continue;
    const Tensor dout = found->second.reshape(entry.out.shape());
    if (!tracked_.at(entry.out.raw())) gradients_.erase(found);
    entry.step(*this, dout);
  }
}

Tensor Tape::gradient(const Tensor& t) const {
  if (!tracks(t) || !tracked_.at(t.raw())) {
    throw Error(fmt::format("the gradient of a tensor {} was asked for, and nobody watched it; call watch first",
                            t.view().str()));
  }
  const auto found = gradients_.find(t.raw());
  return found == gradients_.end() ? Tensor(t.dtype(), t.shape()) : found->second.reshape(t.shape());
}

}  // namespace fovea
