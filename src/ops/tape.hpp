// The tape: while one stands in a thread, operators record how to go back, so that the same code that infers can be
// differentiated.
#pragma once
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fovea/tensor.hpp>

#include "ops/panels.hpp"

namespace fovea {

/// Reverse-mode differentiation (Linnainmaa 1970; Griewank & Walther 2008). From its construction to its end a tape is
/// what the operators of its thread record on; without one they record nothing, keep nothing and may work in place.
///
///     Tape tape;
///     tape.watch(weight);
///     const Tensor loss = cross_entropy(linear(x, weight, bias), targets);
///     tape.backward(loss);
///     tape.gradient(weight);
///
/// A tensor is known by its memory: handles and reshapes of one tensor are one. What was recorded must not be written
/// to before backward().
class Tape {
 public:
  /// What an operator does on the way back: reads the gradient of its output, adds to those of its inputs by add().
  using Step = std::function<void(Tape& tape, const Tensor& dout)>;

  /// `seed` drives whatever is random in training (dropout); `products` are those of linear layers in F32, there and
  /// back: with Bf16 training is of mixed precision (Micikevicius et al. 2018). Error when a tape already stands in
  /// this thread.
  explicit Tape(std::uint64_t seed = 0, Products products = Products::F32);
  /// A tape of the model as it is when it is used: nothing random (dropout) happens under it.
  struct Still {};
  explicit Tape(Still) : Tape() { still_ = true; }
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// The tape of this thread, or null: then nobody will ask for gradients.
  static Tape* current();
  /// Those of the current tape; F32 without one.
  static Products current_products() { return current() ? current()->products_ : Products::F32; }

  void watch(const Tensor& leaf);      ///< its gradient is wanted
  bool tracks(const Tensor& t) const;  ///< whether t is watched, or was made from something that is
  /// An operator made `out` from `inputs`. Kept when any of them is tracked; the step must hold what it reads. False
  /// when nothing was kept.
  bool record(const Tensor& out, std::span<const Tensor> inputs, Step step);
  bool record(const Tensor& out, std::initializer_list<Tensor> inputs, Step step) {
    return record(out, std::span(inputs.begin(), inputs.size()), std::move(step));
  }
  /// Adds to a tensor's gradient; without effect where t is not tracked. Memory that nobody else holds is taken over.
  void add(const Tensor& t, Tensor gradient);
  /// The sum so far (zeros at first) in t's shape, for steps that add to a part of it in place; empty where t is not
  /// tracked.
  Tensor sum(const Tensor& t);

  /// Keeps what a recorded attention borrows (the ends of packed sequences) until the tape ends.
  void keep(std::shared_ptr<const void> borrowed) { kept_.push_back(std::move(borrowed)); }

  /// Walks back from `loss`, F32 or F64 of one element, in the reverse order of recording. Once for each tape.
  void backward(const Tensor& loss);
  /// d loss / d t for a watched tensor, in its shape; zeros when the loss does not depend on it.
  Tensor gradient(const Tensor& t) const;

  /// A number of its own for each operator that draws random numbers, in order of recording.
  std::uint64_t next_stream() { return streams_++; }
  std::uint64_t seed() const { return seed_; }
  Products products() const { return products_; }
  bool still() const { return still_; }

 private:
  struct Entry {
    Tensor out;
    Step step;
  };
  std::vector<Entry> entries_;
  std::unordered_map<const void*, bool> tracked_;      // by memory; true: a leaf, whose gradient is kept
  std::unordered_map<const void*, Tensor> gradients_;  // by memory
  std::vector<Tensor> leaves_;                         // keeps their memory, so that no address is used twice
  std::vector<std::shared_ptr<const void>> kept_;
  std::uint64_t seed_, streams_ = 0;
  Products products_;
  bool still_ = false;
};

}  // namespace fovea
