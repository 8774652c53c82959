// Caches kept in pages: keys and values of many sequences in one pool, each sequence a list of pages (Kwon et al. 2023,
// arXiv 2309.06180). Kernels read the rows where they lie; nothing is copied or put in order.
//
//   // example: two sequences in pages of 16, of which they share the first
//   std::vector<int> tokens = {40, 20}, table = {0, 2, 1, 0, 3, -1};  // [batch, blocks], which page holds which rows
//   Attention a = attend(q, paged(k_pool, table), paged(v_pool, table), lengths({}, tokens));
//   // end
#pragma once
#include <span>

#include <fovea/tensor.hpp>

namespace fovea {

/// Keys or values as attend() takes them: a pool of pages and a table; or, without a table, a tensor.
struct PagedView {
  TensorView pool;             // [pages, page_size, kv_heads, dim], any strides and page size
  std::span<const int> table;  // [batch, blocks]; pages may be shared. Past a sequence's length anything may stand.
  bool is_paged = false;

  PagedView() = default;
  explicit PagedView(const TensorView& tensor) : pool(tensor) {}  // [batch, keys, kv_heads, dim]
  PagedView(const TensorView& pool, std::span<const int> table) : pool(pool), table(table), is_paged(true) {}
};

/// Both are borrowed. Lengths come from lengths(…, keys); without them every sequence has blocks · page_size keys.
inline PagedView paged(const TensorView& pool, std::span<const int> table) { return {pool, table}; }
PagedView paged(Tensor&&, std::span<const int>) = delete;

}  // namespace fovea
