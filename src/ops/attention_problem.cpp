#include "ops/attention_problem.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include <fmt/format.h>

namespace fovea {
namespace {

constexpr const char* kLayout = "[batch, time, heads, head_dim]";

void check_tensor(const char* name, const TensorView& t) {
  if (t.shape.rank() != 4) throw Error(fmt::format("{} is {}; expected rank 4, {}", name, t.str(), kLayout));
  if (!is_float(t.dtype)) throw Error(fmt::format("{} is {}; attention takes F64, F32, BF16 or F16", name, t.str()));
  for (const std::int64_t n : t.shape)
    if (n < 0 || n > std::numeric_limits<int>::max() / 2)
      throw Error(fmt::format("{} is {}; every dimension must be between 0 and 2^30", name, t.str()));
  if (!t.data && t.shape.elements() > 0)
    throw Error(fmt::format("{} is {} but its data pointer is null", name, t.str()));
}

void check_same(const char* name, const TensorView& t, int dim, const char* what, const char* other_name,
                const TensorView& other) {
  if (t.shape[dim] == other.shape[dim]) return;
  throw Error(fmt::format("{} is {} and {} is {}: their {} must be equal ({} against {})", name, t.str(), other_name,
                          other.str(), what, t.shape[dim], other.shape[dim]));
}

void check_shapes(const TensorView& q, const TensorView& k, const TensorView& v) {
  check_tensor("q", q), check_tensor("k", k), check_tensor("v", v);
  if (k.dtype != q.dtype || v.dtype != q.dtype)
    throw Error(fmt::format("q is {}, k is {}, v is {}: they must have one dtype; convert with Tensor::to",
                            name_of(q.dtype), name_of(k.dtype), name_of(v.dtype)));
  check_same("k", k, 0, "batch sizes", "q", q);
  check_same("v", v, 0, "batch sizes", "q", q);
  check_same("v", v, 1, "numbers of keys", "k", k);
  check_same("v", v, 2, "kv_heads", "k", k);
  check_same("k", k, 3, "head_dim", "q", q);
  const std::int64_t heads = q.shape[2], kv_heads = k.shape[2];
  if (heads == 0) throw Error(fmt::format("q is {}: heads is 0; expected at least 1", q.str()));
  if (kv_heads == 0 || heads % kv_heads != 0)
    throw Error(
        fmt::format("q is {} and k is {}: kv_heads ({}) must divide heads ({})", q.str(), k.str(), kv_heads, heads));
  if (q.shape[3] == 0) throw Error(fmt::format("q is {}: head_dim is 0; expected at least 1", q.str()));
}

Operand operand(const TensorView& t) {
  return {const_cast<void*>(t.data), t.dtype, t.strides[0], t.strides[1], t.strides[2], t.strides[3]};
}

/// What a cache looks like to who counts: [batch, keys, kv_heads, dim], of no memory of its own.
TensorView sequences_of(const char* name, const PagedView& x, const TensorView& q) {
  if (!x.is_paged) return x.pool;
  if (x.pool.shape.rank() != 4)
    throw Error(
        fmt::format("{} is {} in pages; expected rank 4, [pages, page_size, kv_heads, head_dim]", name, x.pool.str()));
  const std::int64_t batch = q.shape.rank() > 0 ? q.shape[0] : 0, entries = std::ssize(x.table);
  if (x.pool.shape[1] < 1) throw Error(fmt::format("{} is {} in pages of no rows", name, x.pool.str()));
  if (batch < 1 ? entries != 0 : entries % batch != 0)
    throw Error(
        fmt::format("{}: its page table has {} entries for {} batch rows; expected as many for each, [batch, "
                    "blocks]",
                    name, entries, batch));
  TensorView all = x.pool;
  all.shape[0] = batch;
  all.shape[1] = batch < 1 ? 0 : entries / batch * x.pool.shape[1];
  return all;
}

/// Only pages that hold a row are looked at.
void check_table(const char* name, const PagedView& x, const Problem& p) {
  const auto pages = x.pool.shape[0];
  const auto size = static_cast<int>(x.pool.shape[1]), blocks = static_cast<int>(std::ssize(x.table)) / p.batches;
  for (int b = 0; b < p.batches; ++b)
    for (int i = 0; i < (p.keys_of(b) + size - 1) / size; ++i) {
      const int page =
          x.table[static_cast<std::size_t>(b) * static_cast<std::size_t>(blocks) + static_cast<std::size_t>(i)];
      if (page < 0 || page >= pages)
        throw Error(
            fmt::format("{}: page table [{}, {}] is {}; there are {} pages, counted from 0, and batch row {} has "
                        "{} keys",
                        name, b, i, page, pages, b, p.keys_of(b)));
    }
}

std::vector<int> checked_lengths(const char* name, std::span<const int> lengths, int batches, int longest) {
  if (static_cast<int>(lengths.size()) != batches)
    throw Error(fmt::format("{} has {} entries for {} batch rows; give one per row", name, lengths.size(), batches));
  for (std::size_t b = 0; b < lengths.size(); ++b)
    if (lengths[b] < 0 || lengths[b] > longest)
      throw Error(fmt::format("{}[{}] is {}; expected 0 to {}, the tensor's time", name, b, lengths[b], longest));
  return {lengths.begin(), lengths.end()};
}

/// Ascending ends → begins and lengths.
void split(const char* name, std::span<const int> ends, int time, std::vector<int>* begin, std::vector<int>* length) {
  int last = 0;
  for (std::size_t i = 0; i < ends.size(); ++i) {
    if (ends[i] < last || ends[i] > time)
      throw Error(fmt::format("packed: {} ends[{}] is {}; expected {} to {}: ascending, within time", name, i, ends[i],
                              last, time));
    begin->push_back(last);
    length->push_back(ends[i] - last);
    last = ends[i];
  }
}

}  // namespace

PreparedProblem::PreparedProblem(const TensorView& q, const PagedView& k_rows, const PagedView& v_rows,
                                 const AttentionSpec& spec) {
  const TensorView k = sequences_of("k", k_rows, q), v = sequences_of("v", v_rows, q);
  check_shapes(q, k, v);
  Problem& p = problem;
  p.q = operand(q), p.k = operand(k), p.v = operand(v);
  p.batches = static_cast<int>(q.shape[0]);
  p.queries = static_cast<int>(q.shape[1]);
  p.keys = static_cast<int>(k.shape[1]);
  p.heads = static_cast<int>(q.shape[2]);
  p.kv_heads = static_cast<int>(k.shape[2]);
  p.head_dim = static_cast<int>(q.shape[3]);
  p.value_dim = static_cast<int>(v.shape[3]);
  time_ = q.shape[1];
  p.out.dtype = spec.output.value_or(q.dtype);
  if (!is_float(p.out.dtype))
    throw Error(fmt::format("output dtype is {}; expected F64, F32, BF16 or F16", name_of(p.out.dtype)));

  p.scale = spec.scale.value_or(1 / std::sqrt(static_cast<double>(p.head_dim)));
  if (!std::isfinite(p.scale) || !std::isfinite(static_cast<float>(p.scale)))
    throw Error(fmt::format("scale is {}; expected a finite number", p.scale));
  if (!spec.sinks.empty()) {
    if (static_cast<int>(spec.sinks.size()) != p.heads)
      throw Error(fmt::format("sinks has {} entries for {} heads; give one per head", spec.sinks.size(), p.heads));
    p.sinks = spec.sinks.data();
  }
  if (!spec.packed.queries.empty() || !spec.packed.keys.empty()) {
    if (!spec.lengths.queries.empty() || !spec.lengths.keys.empty())
      throw Error("lengths and packed exclude each other: packed sequences have no padding");
    set_packed(spec.packed);
  } else {
    set_lengths(spec.lengths);
  }
  if (k_rows.is_paged || v_rows.is_paged) set_pages(k_rows, v_rows);
  const Extents extents{p.batches, p.heads, p.queries, p.keys};
  for (const std::string& complaint : {spec.mask.complaint(extents), spec.score.complaint(extents)})
    if (!complaint.empty()) throw Error(complaint);
  p.mask = spec.mask.view();
  p.score = spec.score.view();
}

void PreparedProblem::set_lengths(const Lengths& lengths) {
  Problem& p = problem;
  if (!lengths.queries.empty())
    q_lengths_ = checked_lengths("q_lengths", lengths.queries, p.batches, p.queries), p.q_lengths = q_lengths_.data();
  if (!lengths.keys.empty())
    kv_lengths_ = checked_lengths("kv_lengths", lengths.keys, p.batches, p.keys), p.kv_lengths = kv_lengths_.data();
}

void PreparedProblem::set_pages(const PagedView& k, const PagedView& v) {
  Problem& p = problem;
  if (p.q_begin) throw Error("packed: sequences packed along time cannot have caches in pages; give lengths instead");
  // A cache has room for more than a problem asks for: the problem is as long as its longest row.
  if (p.kv_lengths && p.batches > 0) p.keys = std::ranges::max(kv_lengths_);
  for (const auto& [name, x, operand] : {std::tuple("k", &k, &p.k), std::tuple("v", &v, &p.v)}) {
    if (!x->is_paged || p.batches == 0) continue;
    check_table(name, *x, p);
    operand->table = x->table.data();
    operand->page_size = static_cast<int>(x->pool.shape[1]);
    operand->blocks = static_cast<int>(std::ssize(x->table)) / p.batches;
  }
}

void PreparedProblem::set_packed(const Packed& packed) {
  Problem& p = problem;
  if (p.batches != 1)
    throw Error(
        fmt::format("packed: q has batch {}; packed sequences lie along time in tensors of batch 1", p.batches));
  if (packed.queries.size() != packed.keys.size())
    throw Error(fmt::format("packed: {} query sequences and {} key sequences; expected as many", packed.queries.size(),
                            packed.keys.size()));
  split("query", packed.queries, p.queries, &q_begin_, &q_lengths_);
  split("key", packed.keys, p.keys, &kv_begin_, &kv_lengths_);
  p.batches = static_cast<int>(q_begin_.size());
  p.q.batch = p.k.batch = p.v.batch = 0;
  p.queries = q_lengths_.empty() ? 0 : std::ranges::max(q_lengths_);
  p.keys = kv_lengths_.empty() ? 0 : std::ranges::max(kv_lengths_);
  p.q_lengths = q_lengths_.data(), p.kv_lengths = kv_lengths_.data();
  p.q_begin = q_begin_.data(), p.kv_begin = kv_begin_.data();
}

void PreparedProblem::set_results(const Tensor& out, const Tensor& lse) {
  const std::int64_t batch = problem.q_begin ? 0 : 1;
  const Shape& s = out.view().strides;
  problem.out = {const_cast<void*>(out.raw()), out.dtype(), batch * s[0], s[1], s[2], s[3]};
  set_lse(lse);
}

void PreparedProblem::set_lse(const Tensor& lse) {
  problem.lse = const_cast<float*>(lse.data<float>());
  problem.lse_head = time_;
  problem.lse_batch = problem.q_begin ? 0 : problem.heads * time_;
}

std::int64_t PreparedProblem::lse_offset(int batch, int head, int query) const {
  const std::int64_t row = problem.q_begin ? problem.q_begin[batch] + query : query;
  return ((problem.q_begin ? 0 : batch) * std::int64_t{problem.heads} + head) * time_ + row;
}

std::int64_t PreparedProblem::out_offset(int batch, int head, int query) const {
  const std::int64_t row = problem.q_begin ? problem.q_begin[batch] + query : batch * time_ + query;
  return (row * problem.heads + head) * problem.value_dim;
}

Tensor to_be_filled(DType dtype, const Shape& shape, const int* lengths) {
  return lengths ? Tensor(dtype, shape) : Tensor::unset(dtype, shape);
}

}  // namespace fovea
