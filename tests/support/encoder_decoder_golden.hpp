// A folder of an encoder–decoder in tests/golden/data, loaded, with the batch that an independent implementation ran on
// it.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "io/safetensors.hpp"
#include "models/encoder_decoder.hpp"

namespace fovea::testing {

inline std::string golden_folder(const std::string& name) { return FOVEA_TEST_DATA "/" + name; }

struct EncoderDecoderGolden {
  std::string name;
  std::unique_ptr<models::EncoderDecoder> model;
  io::SafeTensors expected;  // expected.safetensors
  std::vector<models::Sequence> sources, targets;

  explicit EncoderDecoderGolden(const std::string& name_)
      : name(name_),
        model(models::load_encoder_decoder(golden_folder(name_))),
        expected(golden_folder(name_) + "/expected.safetensors"),
        sources(sequences("sources", "source_lengths")),
        targets(sequences("targets", "target_lengths")) {}

 private:
  std::vector<models::Sequence> sequences(const char* ids_name, const char* lengths_name) const {
    const Tensor ids = expected.tensor(ids_name), lengths = expected.tensor(lengths_name);
    std::vector<models::Sequence> all;
    auto at = ids.values<std::int32_t>().begin();
    for (const std::int32_t n : lengths.values<std::int32_t>()) {
      all.push_back({std::vector<int>(at, at + n), {}});
      at += n;
    }
    return all;
  }
};

}  // namespace fovea::testing
