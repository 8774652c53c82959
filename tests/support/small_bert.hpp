// A BERT small enough to be recomputed in plain double precision: a random checkpoint on disk, and the model by the
// paper's formulas.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "support/plain_layers.hpp"
#include "support/scratch.hpp"

namespace plain {

/// A folder of a test's own that checkpoints are written into.
class Folder : public fovea::testing::Scratch {
 public:
  void write(const std::string& name, const std::string& text) const { Scratch::write(name, text); }
  void write(const std::string& name, const nlohmann::json& json) const;
  void write(const std::string& name, const Store& store) const;
};

struct BertSize {
  int width = 24, heads = 3, layers = 2, feed_forward = 37, vocabulary = 31, positions = 19, types = 2;
  double eps = 1e-6;
  std::string prefix = "bert.";
};

nlohmann::json config_of(const BertSize& s);
Store bert_store(const BertSize& s, std::uint64_t seed);
void add_masked_head(Store& store, const BertSize& s);

struct BertRun {
  std::vector<Matrix> hidden;                // [layers + 1] of [tokens][width]
  std::vector<std::vector<Matrix>> weights;  // [layers][heads] of [queries][keys]
};

/// Whether query i of a layer's head sees key j.
using LayerVisible = std::function<bool(int layer, int head, int query, int key)>;
/// Whether the value of a key is zero in a layer's head.
using LayerZero = std::function<bool(int layer, int head, int key)>;

/// Changes what a layer's heads put out, [tokens][width], before they are joined.
using LayerEdit = std::function<void(int layer, Matrix& attended)>;

BertRun run_bert(const Store& store, const BertSize& s, const std::vector<int>& ids, std::vector<int> types = {},
                 const LayerVisible& visible = {}, const std::function<double(double)>& activation = gelu,
                 const LayerZero& zero = {}, const LayerEdit& edit = {});

/// Logits [rows][vocabulary] of the masked-LM head over hidden rows.
Matrix masked_logits(const Store& store, const BertSize& s, const Matrix& hidden);

/// Pooler output [1][width] of one sequence.
Matrix pooled(const Store& store, const BertSize& s, const Matrix& hidden);

}  // namespace plain
