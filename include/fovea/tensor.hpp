// Tensors: typed views over the caller's memory, run-time views, and the owning kind.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>

#include <fovea/dtype.hpp>
#include <fovea/error.hpp>

namespace fovea {

inline constexpr int kMaxRank = 8;

/// Up to kMaxRank dimensions (or strides) without a heap allocation.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const std::int64_t> dims);  ///< throws Error above kMaxRank dimensions
  int rank() const { return rank_; }
  std::int64_t operator[](int i) const { return dims_[static_cast<std::size_t>(i)]; }
  std::int64_t& operator[](int i) { return dims_[static_cast<std::size_t>(i)]; }
  const std::int64_t* begin() const { return dims_.data(); }
  const std::int64_t* end() const { return dims_.data() + rank_; }
  std::int64_t elements() const;  ///< product of the dimensions; throws Error if it overflows
  bool operator==(const Shape& other) const;
  std::string str() const;  ///< "[1, 4096, 32, 128]"
 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

/// Row-major strides, in elements.
Shape contiguous_strides(const Shape& shape);

/// The caller's memory seen as a tensor of rank R: `View q(data, {batch, time, heads, head_dim})`. Never copies, never
/// owns.
template <class T, int R>
struct View {
  T* data = nullptr;
  std::array<std::int64_t, R> shape{}, strides{};  // strides in elements

  View() = default;
  View(T* data, const std::int64_t (&dims)[R]) : View(data, std::to_array(dims)) {}
  View(T* data, const std::int64_t (&dims)[R], const std::int64_t (&steps)[R])
      : data(data), shape(std::to_array(dims)), strides(std::to_array(steps)) {}
  View(T* data, const std::array<std::int64_t, R>& dims) : data(data), shape(dims) {
    std::int64_t step = 1;
    for (int i = R - 1; i >= 0; --i)
      strides[static_cast<std::size_t>(i)] = step, step *= shape[static_cast<std::size_t>(i)];
  }
  View(T* data, const std::array<std::int64_t, R>& dims, const std::array<std::int64_t, R>& steps)
      : data(data), shape(dims), strides(steps) {}

  template <class... I>
  T& operator()(I... index) const {
    static_assert(sizeof...(I) == R, "View: as many indices as dimensions");
    std::int64_t at = 0;
    int d = 0;
    ((at += static_cast<std::int64_t>(index) * strides[static_cast<std::size_t>(d++)]), ...);
    return data[at];
  }
  operator View<const T, R>() const requires(!std::is_const_v<T>) { return {data, shape, strides}; }
};
template <class T, std::size_t R>
View(T*, const std::int64_t (&)[R]) -> View<T, static_cast<int>(R)>;
template <class T, std::size_t R>
View(T*, const std::int64_t (&)[R], const std::int64_t (&)[R]) -> View<T, static_cast<int>(R)>;
template <class T, std::size_t R>
View(T*, const std::array<std::int64_t, R>&) -> View<T, static_cast<int>(R)>;

/// A view whose dtype and rank are known at run time only. Read-only, never owns.
struct TensorView {
  DType dtype = DType::F32;
  const void* data = nullptr;
  Shape shape, strides;  // strides in elements

  TensorView() = default;
  TensorView(DType dtype, const void* data, Shape shape) : TensorView(dtype, data, shape, contiguous_strides(shape)) {}
  TensorView(DType dtype, const void* data, Shape shape, Shape strides)
      : dtype(dtype), data(data), shape(shape), strides(strides) {}
  template <class T, int R>
  TensorView(const View<T, R>& v)  // NOLINT: a view is a view
      : dtype(dtype_of<T>), data(v.data), shape(std::span(v.shape)), strides(std::span(v.strides)) {}

  bool contiguous() const;
  std::string str() const;  ///< "F32 [1, 4096, 32, 128]"
};

/// An owning tensor, contiguous, 64-byte aligned, zeroed. A copy is a handle to the same memory; clone() copies the
/// elements.
class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, Shape shape);
  /// The same with whatever the memory held: for those who write every element.
  static Tensor unset(DType dtype, Shape shape);
  /// Memory that `owner` keeps alive (a mapped file, say); it is taken as contiguous and never written.
  Tensor(DType dtype, Shape shape, const void* data, std::shared_ptr<const void> owner);

  DType dtype() const { return view_.dtype; }
  const Shape& shape() const { return view_.shape; }
  std::int64_t elements() const { return view_.shape.elements(); }
  std::int64_t bytes() const { return elements() * size_of(dtype()); }
  bool empty() const { return view_.data == nullptr; }
  /// Whether this is the only handle to memory that Tensor allocated: then nobody sees it written.
  bool unique() const { return allocated_ && owner_.use_count() == 1; }
  const TensorView& view() const& { return view_; }
  operator const TensorView&() const& { return view_; }  // NOLINT: a tensor is viewable
  operator TensorView() const&& = delete;                // the memory would be gone before the view is used

  const void* raw() const { return view_.data; }
  void* raw() { return const_cast<void*>(view_.data); }  // NOLINT: owning tensors are writable
  template <class T>
  const T* data() const {
    check(dtype_of<T>);
    return static_cast<const T*>(view_.data);
  }
  template <class T>
  T* data() {
    check(dtype_of<T>);
    return static_cast<T*>(raw());
  }
  template <class T>
  std::span<const T> values() const {
    return {data<T>(), static_cast<std::size_t>(elements())};
  }
  template <class T>
  std::span<T> values() {
    return {data<T>(), static_cast<std::size_t>(elements())};
  }
  /// A typed view; throws Error when dtype or rank differ.
  template <class T, int R>
  View<const T, R> as() const {
    return {data<T>(), dims<R>()};
  }
  template <class T, int R>
  View<T, R> as() {
    return {data<T>(), dims<R>()};
  }

  Tensor reshape(Shape shape) const;  ///< same memory, other shape; throws Error unless the element count is the same
  Tensor to(DType dtype) const;       ///< a converted copy (floats only), or the same handle when nothing changes
  Tensor clone() const;

 private:
  void check(DType wanted) const;
  void check_rank(int wanted) const;
  template <int R>
  std::array<std::int64_t, R> dims() const {
    check_rank(R);
    std::array<std::int64_t, R> d{};
    for (int i = 0; i < R; ++i) d[static_cast<std::size_t>(i)] = view_.shape[i];
    return d;
  }
  TensorView view_;
  std::shared_ptr<const void> owner_;
  bool allocated_ = false;  // by Tensor itself
};

/// One element of a float tensor view as double, whatever its dtype. For tests, reports and the reference, not for hot
/// loops.
double element(const TensorView& t, std::span<const std::int64_t> index);

}  // namespace fovea
