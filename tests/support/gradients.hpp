// One table of operators, and what is asked of each: gradients that central differences agree with, in both precisions.
#pragma once
#include <functional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include <fovea/tensor.hpp>

namespace fovea::testing {

/// What an operator differentiates by. `single`: it takes this one in F32 whatever the precision of the others.
struct Argument {
  Shape shape;
  bool single = false;
};

/// f in the precision of its inputs; what it computes may have any shape.
struct Differentiable {
  std::string name;
  std::vector<Argument> inputs;
  std::function<Tensor(std::span<const Tensor>)> f;
  friend void PrintTo(const Differentiable& c, std::ostream* out) { *out << c.name; }
};

/// Inputs of a case, F64 (or F32 where `single`): multiples of 2⁻¹⁰ between −1 and 1, none nearer to 0 than 1/64, so
/// that they and their neighbours are exact in f32, and no step crosses a kink at 0.
std::vector<Tensor> inputs_of(const Differentiable& c);
std::vector<Tensor> to_f32(const std::vector<Tensor>& inputs);

/// f(inputs), and the gradients of Σ dout ∘ f(inputs) towards every input, through a tape.
struct Found {
  Tensor out;
  std::vector<Tensor> gradients;
};
Found run_on_tape(const Differentiable& c, const std::vector<Tensor>& inputs, const Tensor& dout);
/// The same gradients for fixed numbers as dout.
std::vector<Tensor> tape_gradients(const Differentiable& c, const std::vector<Tensor>& inputs);
/// The same for one input by differences of the fourth order, f in F64.
std::vector<double> difference_gradients(const Differentiable& c, const std::vector<Tensor>& inputs, std::size_t which);

/// Of a model in f32: the largest element of `gradient` against central differences of `loss` around that element of
/// `parameter` (differences of the others would be noise). `zero`: nothing there changes the loss.
void expect_largest_slope(const std::string& name, Tensor parameter, const Tensor& gradient,
                          const std::function<double()>& loss, bool zero = false);

/// max |a − b| / max |b|; infinite when b is 0 throughout, for then nothing was tested.
double relative_distance(const Tensor& a, std::span<const double> b);
std::vector<double> doubles(const Tensor& t);

}  // namespace fovea::testing
