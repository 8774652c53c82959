// How layers find their tensors: by name, inside a scope, checked against the shape that the layer expects.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <fovea/tensor.hpp>

namespace fovea::nn {

/// What is known of a tensor before it is read.
struct StoredTensor {
  std::optional<DType> dtype;  // nothing for formats that a source knows and Fovea does not compute with
  std::string_view stored_as;  // "F32", "F8_E4M3"
  Shape shape;
};

/// Named tensors, wherever they come from. Layers know no files, so that a checkpoint, an initialiser and a test look alike.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual std::string where() const = 0;  ///< for messages: the file
  virtual std::vector<std::string> names() const = 0;
  virtual bool contains(const std::string& name) const = 0;
  virtual StoredTensor info(const std::string& name) const = 0;  ///< costs nothing
  virtual Tensor tensor(const std::string& name) const = 0;      ///< may read and allocate all of it
};

/// What the weights are for. Inference may keep them in whatever form is fastest and constant; training computes with the parameters
/// themselves, F32, in memory of their own that may be written to.
enum class Purpose { Inference, Training };

/// What the layers of one model took from a source.
struct Ledger {
  std::set<std::string> used;
  /// Made for training alone, by full name: handles to the very memory that layers compute with. A tensor that several layers share
  /// stands here once.
  std::map<std::string, Tensor> trainable;
  std::map<std::string, Tensor> buffers;  // the same, of what a checkpoint holds and training leaves as it is
  std::map<DType, std::int64_t> parameters;  // elements taken, by dtype as stored
  std::set<std::string> non_finite;          // tensors with a NaN, or an infinity once widened to f32

  std::int64_t total() const;
  DType dtype() const;  ///< that most parameters have; F32 when there are none
};

/// A scope of names in a source: `weights / "encoder" / "layer" / 3`. Copies share one ledger. Borrows the source, until load is done.
class Weights {
 public:
  explicit Weights(const TensorSource& source, Purpose purpose = Purpose::Inference);

  Weights operator/(std::string_view scope) const;
  Weights operator/(int index) const;
  bool contains(std::string_view name) const;
  int numbered() const;  ///< how many scopes 0, 1, 2, … without a gap there are below this one: the layers that are really stored
  std::string full_name(std::string_view name) const;
  std::string where() const;
  Purpose purpose() const { return purpose_; }

  /// The tensor as it is stored, and noted in the ledger. Error naming the tensor, the file, and what was expected when it is missing,
  /// has another shape, or holds no floats. Its shape is known to be right before anything of its size is read or allocated.
  /// For training: the parameter itself, F32, the same memory however often it is asked for.
  Tensor tensor(std::string_view name, const Shape& shape) const;
  Tensor f32(std::string_view name, const Shape& shape) const;  ///< the same, widened
  /// A tensor that is no parameter, widened: training must not change it.
  Tensor buffer(std::string_view name, const Shape& shape) const;
  /// The size of one dimension, for what no config says. Error when the tensor is missing or its rank is another.
  std::int64_t dimension(std::string_view name, int rank, int index) const;

  const Ledger& ledger() const { return *ledger_; }
  /// What training may change: to be watched on a tape, updated in place, and written to checkpoints. Empty unless made for training.
  const std::map<std::string, Tensor>& trainable() const { return ledger_->trainable; }
  /// What nobody took so far, in the source's order.
  std::vector<std::string> unused() const;

 private:
  StoredTensor find(std::string_view name, const std::string& expected) const;
  Tensor read(std::string_view name, const Shape& shape) const;
  Tensor own(std::map<std::string, Tensor>& kept, std::string_view name, const Shape& shape) const;
  const TensorSource* source_;
  Purpose purpose_;
  std::string prefix_;  // empty, or with a dot at its end
  std::shared_ptr<Ledger> ledger_;
};

}  // namespace fovea::nn
