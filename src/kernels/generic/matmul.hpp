// The one matrix product: C = A·B, or C += A·B, sums in f32, with B in rows of contiguous panel columns. Attention's
// QKᵀ and PV, their gradients and the linear layers are all calls of it. Numbers are f32, or bf16, of which two lie
// side by side along the depth (pair_product.hpp): a `Step` says how many, and what one step along the depth does.
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

/// One step along the depth: kNumbers of A meet as many of each column of B.
template <class T>
struct Step;
template <>
struct Step<float> {
  static constexpr int kNumbers = 1;
  using Right = Vec;  // of kLanes columns
  static Vec left(const float* a) { return *a; }
  static Vec right(const float* b) { return load(b); }
  static Vec add(Vec sum, Vec left, Vec right) { return fma(left, right, sum); }
};

template <Left A, class T>
inline const T* row_of_left(const T* a, std::ptrdiff_t lda, int i) {
  return A == Left::Upright ? a + i * lda : a + i * Step<T>::kNumbers;
}

/// sum [Rows, Vecs·kLanes] += numbers of one step of A [Rows] and B [Vecs·kLanes].
template <Left A, int Rows, int Vecs, class T>
[[gnu::always_inline]] inline void add_step(const T* a, std::ptrdiff_t lda, const T* b, Vec (&sum)[Rows][Vecs]) {
  constexpr int k = Step<T>::kNumbers;
  typename Step<T>::Right right[Vecs];
#pragma GCC unroll 8
  for (int j = 0; j < Vecs; ++j) right[j] = Step<T>::right(b + j * kLanes * k);
#pragma GCC unroll 24
  for (int i = 0; i < Rows; ++i) {
    const auto left = Step<T>::left(A == Left::Upright ? a + i * lda : a + i * k);
#pragma GCC unroll 8
    for (int j = 0; j < Vecs; ++j) sum[i][j] = Step<T>::add(sum[i][j], left, right[j]);
  }
}

/// Nothing beside a product.
struct Alone {
  static constexpr int kTimes = 0, kParts = 1;
  void operator()(int, int) const {}
};

/// sum [Rows, Vecs·kLanes] = A [Rows, depth] · B [depth, Vecs·kLanes], in registers. lda counts numbers of an upright
/// A, and as ldb columns where numbers of a step lie side by side: [depth / kNumbers, columns, kNumbers].
/// beside(i, part) is called for kTimes · kParts small pieces of other work, spread along the depth: for the ports that
/// products leave idle. It is a copy, so that what it knows stays in registers.
template <Left A, int Rows, int Vecs, class T, class F = Alone>
[[gnu::always_inline]] inline void accumulate(const T* a, std::ptrdiff_t lda, const T* b, std::ptrdiff_t ldb, int depth,
                                              Vec (&sum)[Rows][Vecs], F beside = {}) {
  constexpr int k = Step<T>::kNumbers;
#pragma GCC unroll 24
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Vecs; ++j) sum[i][j] = 0.0f;
  const std::ptrdiff_t next = A == Left::Upright ? k : lda * k;
  int left = depth / k;
  if constexpr (F::kTimes > 0) {
    const int each = left / (F::kTimes * F::kParts);
    for (int i = 0; i < F::kTimes; ++i)
#pragma GCC unroll 8
      for (int part = 0; part < F::kParts; ++part) {
        beside(i, part);
#pragma GCC unroll 2
        for (int d = 0; d < each; ++d, a += next, b += ldb * k) add_step<A>(a, lda, b, sum);
      }
    left -= each * F::kTimes * F::kParts;
  }
#pragma GCC unroll 2
  for (int d = 0; d < left; ++d, a += next, b += ldb * k) add_step<A>(a, lda, b, sum);
}

template <int Rows, int Vecs>
[[gnu::always_inline]] inline void scale_tile(Vec (&sum)[Rows][Vecs], Vec factor) {
#pragma GCC unroll 24
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Vecs; ++j) sum[i][j] = sum[i][j] * factor;
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

/// C [Rows, Vecs·kLanes] of A [Rows, depth] and B [depth, Vecs·kLanes], with other work beside it as in accumulate().
template <bool Add, Left A, int Rows, int Vecs, class T, class F = Alone>
inline void register_tile(const T* a, std::ptrdiff_t lda, const T* b, std::ptrdiff_t ldb, float* c, std::ptrdiff_t ldc,
                          int depth, float factor, const F& beside = {}) {
  Vec sum[Rows][Vecs];
  accumulate<A>(a, lda, b, ldb, depth, sum, beside);
  if (!Add && factor != 1) scale_tile(sum, factor);
  store_tile<Add>(sum, c, ldc);
}

/// The last rows of a product: fewer than kTileRows.
template <bool Add, Left A, int Vecs, int Rows = kTileRows - 1, class T>
inline void remaining_rows(int rows, const T* a, std::ptrdiff_t lda, const T* b, std::ptrdiff_t ldb, float* c,
                           std::ptrdiff_t ldc, int depth, float factor) {
  if constexpr (Rows > 0) {
    if (rows == Rows)
      register_tile<Add, A, Rows, Vecs>(a, lda, b, ldb, c, ldc, depth, factor);
    else
      remaining_rows<Add, A, Vecs, Rows - 1>(rows, a, lda, b, ldb, c, ldc, depth, factor);
  }
}

template <bool Add, Left A, int Vecs, class T, class F>
inline void column_of_tiles(int rows, const T* a, std::ptrdiff_t lda, const T* b, std::ptrdiff_t ldb, float* c,
                            std::ptrdiff_t ldc, int depth, float factor, const F& beside) {
  constexpr int kRows = kTileRows * kTileVecs / Vecs;
  int i = 0;
  if constexpr (F::kTimes > 0) {
    register_tile<Add, A, kRows, Vecs>(a, lda, b, ldb, c, ldc, depth, factor, beside);
    i = kRows;
  }
  for (; i + kRows <= rows; i += kRows)
    register_tile<Add, A, kRows, Vecs>(row_of_left<A>(a, lda, i), lda, b, ldb, c + i * ldc, ldc, depth, factor);
  if constexpr (Vecs < kTileVecs)
    for (; i + kTileRows <= rows; i += kTileRows)
      register_tile<Add, A, kTileRows, Vecs>(row_of_left<A>(a, lda, i), lda, b, ldb, c + i * ldc, ldc, depth, factor);
  remaining_rows<Add, A, Vecs>(rows - i, row_of_left<A>(a, lda, i), lda, b, ldb, c + i * ldc, ldc, depth, factor);
}

/// The next columns of a product, Vecs vectors of them or fewer; returns how many vectors.
template <bool Add, Left A, int Vecs = kTileVecs, class T, class F = Alone>
inline int next_columns(int vecs, int rows, const T* a, std::ptrdiff_t lda, const T* b, std::ptrdiff_t ldb, float* c,
                        std::ptrdiff_t ldc, int depth, float factor, const F& beside = {}) {
  if constexpr (Vecs > 1)
    if (vecs < Vecs || vecs == Vecs + 1)  // five are 3 and 2: one alone asks for more loads than there are FMAs
      return next_columns<Add, A, Vecs - 1>(vecs < Vecs ? vecs : Vecs - 1, rows, a, lda, b, ldb, c, ldc, depth, factor,
                                            beside);
  column_of_tiles<Add, A, Vecs>(rows, a, lda, b, ldb, c, ldc, depth, factor, beside);
  return Vecs;
}

/// C [rows, columns] of A [rows, depth] and B [depth, columns]; columns is a multiple of kLanes, depth of kNumbers.
/// Times a factor where nothing is added to. With work beside it, the first register tile gets that, and must be whole:
/// kTileRows·kTileVecs rows are enough.
template <bool Add, Left A = Left::Upright, class T, class F = Alone>
inline void product(int rows, int columns, int depth, const T* a, std::ptrdiff_t lda, const T* b, std::ptrdiff_t ldb,
                    float* c, std::ptrdiff_t ldc, const F& beside = {}, float factor = 1) {
  int j = 0;
  if constexpr (F::kTimes > 0)
    j = kLanes * next_columns<Add, A>(columns / kLanes, rows, a, lda, b, ldb, c, ldc, depth, factor, beside);
  while (j < columns)
    j += kLanes * next_columns<Add, A>((columns - j) / kLanes, rows, a, lda, b + j * Step<T>::kNumbers, ldb, c + j, ldc,
                                       depth, factor);
}

}  // namespace fovea::FOVEA_ISA
