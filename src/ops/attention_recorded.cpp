#include "ops/attention.hpp"
#include "ops/tape.hpp"

namespace fovea {

Attention attend_recorded(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec) {
  Attention attention = attend(q, k, v, spec);
  Tape* tape = Tape::current();
  if (!tape) return attention;
  // A tape knows tensors by their memory, so a handle that owns nothing stands for the sinks.
  Tensor sinks;
  if (!spec.sinks.empty()) sinks = Tensor(DType::F32, {std::ssize(spec.sinks)}, spec.sinks.data(), nullptr);
  tape->record(attention.out, {q, k, v, sinks}, [=](Tape& t, const Tensor& dout) {
    Gradients g = backward(attention, dout);
    t.add(q, std::move(g.dq));
    t.add(k, std::move(g.dk));
    t.add(v, std::move(g.dv));
    t.add(sinks, std::move(g.dsinks));
  });
  return attention;
}

}  // namespace fovea
