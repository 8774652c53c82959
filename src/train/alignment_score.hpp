// How well a translator's attention to its source tells which words correspond: the alignment error rate against the
// links that the grammar knows.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "demo/corpus.hpp"
#include "models/encoder_decoder.hpp"

namespace fovea::train {

/// How links are read: from one decoder layer and some of its heads.
struct AlignmentReading {
  int layer = 0;
  std::vector<int> heads;
  /// How strong word i's link to token j is: the sum over heads of the weight A_ij; or, with norms, what came from
  /// there, ‖Σ A_ij W_O v_j‖ (Kobayashi et al. 2020, arXiv 2004.10102).
  bool norms = false;
  double share = 1;  // of a row's strongest link, from which on a token is linked too; 1: the strongest alone
};

struct AlignmentScore {
  std::int64_t links = 0, gold = 0, both = 0;
  /// 1 − (|A∩S| + |A∩P|) / (|A| + |S|), where all of the grammar's links are sure and possible at once (Och & Ney 2003,
  /// doi 10.1162/089120103321337421).
  double error_rate() const;
};

/// Each French word of the expected translation, at the step that predicts it, is linked to the token that its link is
/// strongest to, and to those of at least that share of it; </s> is no token to be linked to. One score for each
/// reading.
std::vector<AlignmentScore> score_alignment(const models::EncoderDecoder& model,
                                            std::span<const demo::SentencePair> pairs,
                                            std::span<const AlignmentReading> readings);

/// Of every set of a layer's heads, by weights and by norms, with several shares, the one with the lowest error over
/// the first training sentences.
AlignmentReading choose_reading(const models::EncoderDecoder& model);

}  // namespace fovea::train
