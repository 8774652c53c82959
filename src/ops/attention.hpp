// Attention on a tape.
#pragma once
#include <fovea/attention.hpp>

namespace fovea {

/// attend() over tensors that the tape keeps. With a tape gradients go to q, k and v through backward(), and to the
/// sinks when a watched tensor lies where spec.sinks points. What `spec` borrows must outlive the tape's backward().
/// F64 runs, and goes back, through the reference.
Attention attend_recorded(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec);

}  // namespace fovea
