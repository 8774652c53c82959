// The one matrix product: C = A·B, or C += A·B, with B in rows of contiguous panel columns. Attention's QKᵀ
// and PV and the linear layers are all calls of it.
//
// A register tile holds kTileRows rows of A against kTileVecs vectors of B. One step along the depth loads kTileVecs
// vectors of B and broadcasts kTileRows numbers of A for kTileRows·kTileVecs FMAs: on AVX-512 10 loads for 24 FMAs,
// which is 5 load cycles beside 12 FMA cycles on two ports each, so the FMA ports are the limit and A needs no packing.
// Where fewer columns are left, a tile has as many rows more: 8 × 3, 12 × 2, 24 × 1 on AVX-512; else its chains of FMAs
// would be too few for two ports of latency 4. Two steps at a time, or the loop's own additions take their share of the
// FMA ports: 2%.
// Every element of C sums over the depth in the same order whatever the tile, so results don't depend on how rows are
// grouped.
#pragma once
#include <cstddef>

namespace fovea::FOVEA_ISA {

/// How A lies in memory: rows of [depth] as usual, or turned, rows of A being columns of memory.
enum class Left { Upright, Turned };

template <Left A>
inline const float* row_of_left(const float* a, std::ptrdiff_t lda, int i) {
  return A == Left::Upright ? a + i * lda : a + i;
}

/// sum [Rows, Vecs·kLanes] = A [Rows, depth] · B [depth, Vecs·kLanes], in registers.
template <Left A, int Rows, int Vecs>
[[gnu::always_inline]] inline void accumulate(const float* a, std::ptrdiff_t lda, const float* b, std::ptrdiff_t ldb,
                                              int depth, Vec (&sum)[Rows][Vecs]) {
#pragma GCC unroll 24
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Vecs; ++j) sum[i][j] = 0.0f;
#pragma GCC unroll 2
  for (int d = 0; d < depth; ++d) {
    Vec right[Vecs];
#pragma GCC unroll 8
    for (int j = 0; j < Vecs; ++j) right[j] = load(b + d * ldb + j * kLanes);
#pragma GCC unroll 24
    for (int i = 0; i < Rows; ++i) {
      const Vec left = A == Left::Upright ? a[i * lda + d] : a[d * lda + i];
#pragma GCC unroll 8
      for (int j = 0; j < Vecs; ++j) sum[i][j] = fma(left, right[j], sum[i][j]);
    }
  }
}

/// A tile leaves the registers: added to what C holds, or written over it.
template <bool Add, int Rows, int Vecs>
[[gnu::always_inline]] inline void store_tile(const Vec (&sum)[Rows][Vecs], float* c, std::ptrdiff_t ldc) {
#pragma GCC unroll 24
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Vecs; ++j) {
      // C joins last: one rounding at its size a tile. Seeding the sum with it cost 64, and 8 times the error at 65,536
      // keys.
      float* to = c + i * ldc + j * kLanes;
      store(to, Add ? load(to) + sum[i][j] : sum[i][j]);
    }
}

/// C [Rows, Vecs·kLanes] of A [Rows, depth] and B [depth, Vecs·kLanes].
template <bool Add, Left A, int Rows, int Vecs>
inline void register_tile(const float* a, std::ptrdiff_t lda, const float* b, std::ptrdiff_t ldb, float* c,
                          std::ptrdiff_t ldc, int depth) {
  Vec sum[Rows][Vecs];
  accumulate<A>(a, lda, b, ldb, depth, sum);
  store_tile<Add>(sum, c, ldc);
}

/// The last rows of a product: fewer than kTileRows.
template <bool Add, Left A, int Vecs, int Rows = kTileRows - 1>
inline void remaining_rows(int rows, const float* a, std::ptrdiff_t lda, const float* b, std::ptrdiff_t ldb, float* c,
                           std::ptrdiff_t ldc, int depth) {
  if constexpr (Rows > 0) {
    if (rows == Rows)
      register_tile<Add, A, Rows, Vecs>(a, lda, b, ldb, c, ldc, depth);
    else
      remaining_rows<Add, A, Vecs, Rows - 1>(rows, a, lda, b, ldb, c, ldc, depth);
  }
}

template <bool Add, Left A, int Vecs>
inline void column_of_tiles(int rows, const float* a, std::ptrdiff_t lda, const float* b, std::ptrdiff_t ldb, float* c,
                            std::ptrdiff_t ldc, int depth) {
  constexpr int kRows = kTileRows * kTileVecs / Vecs;
  int i = 0;
  for (; i + kRows <= rows; i += kRows)
    register_tile<Add, A, kRows, Vecs>(row_of_left<A>(a, lda, i), lda, b, ldb, c + i * ldc, ldc, depth);
  if constexpr (Vecs < kTileVecs)
    for (; i + kTileRows <= rows; i += kTileRows)
      register_tile<Add, A, kTileRows, Vecs>(row_of_left<A>(a, lda, i), lda, b, ldb, c + i * ldc, ldc, depth);
  remaining_rows<Add, A, Vecs>(rows - i, row_of_left<A>(a, lda, i), lda, b, ldb, c + i * ldc, ldc, depth);
}

/// The next columns of a product, Vecs vectors of them or fewer; returns how many vectors.
template <bool Add, Left A, int Vecs = kTileVecs>
inline int next_columns(int vecs, int rows, const float* a, std::ptrdiff_t lda, const float* b, std::ptrdiff_t ldb,
                        float* c, std::ptrdiff_t ldc, int depth) {
  if constexpr (Vecs > 1)
    if (vecs < Vecs || vecs == Vecs + 1)  // five are 3 and 2: one alone asks for more loads than there are FMAs
      return next_columns<Add, A, Vecs - 1>(vecs < Vecs ? vecs : Vecs - 1, rows, a, lda, b, ldb, c, ldc, depth);
  column_of_tiles<Add, A, Vecs>(rows, a, lda, b, ldb, c, ldc, depth);
  return Vecs;
}

/// C [rows, columns] of A [rows, depth] and B [depth, columns]; columns is a multiple of kLanes.
template <bool Add, Left A = Left::Upright>
inline void product(int rows, int columns, int depth, const float* a, std::ptrdiff_t lda, const float* b,
                    std::ptrdiff_t ldb, float* c, std::ptrdiff_t ldc) {
  for (int j = 0; j < columns;)
    j += kLanes * next_columns<Add, A>((columns - j) / kLanes, rows, a, lda, b + j, ldb, c + j, ldc, depth);
}

}  // namespace fovea::FOVEA_ISA
