// What a Model and its Runs share: the model itself, and what lies beside it in the folder.
#pragma once
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>

#include "io/safetensors.hpp"
#include "look/reader.hpp"
#include "models/encoder_decoder.hpp"
#include "models/pooling.hpp"

namespace fovea::look {

struct ModelParts {
  explicit ModelParts(const std::filesystem::path& where)
      : folder(where),
        writes(checked(where)),
        reader(where),
        writer(writes ? models::load_encoder_decoder(where) : nullptr),
        encoder(writer ? models::encoder_half(writer) : models::load_encoder(where)) {
    reader.fit(encoder->summary());
  }

  /// Whether it writes. What headers and config.json say wrong is told here: at once.
  static bool checked(const std::filesystem::path& where) {
    const bool writes = models::is_encoder_decoder(where);
    const io::SafeTensors headers(where);
    return writes;
  }

  /// Read when it is first asked for: only embed() minds what modules.json says.
  const models::Pooling& pooling() const {
    std::call_once(once, [&] { pooling_.emplace(models::Pooling::load(folder, encoder->summary().width)); });
    return *pooling_;
  }

  std::filesystem::path folder;
  bool writes;
  Reader reader;  // read before the weights: what is wrong with it is not told after gigabytes of them
  std::shared_ptr<const models::EncoderDecoder> writer;  // null: the model only reads
  std::shared_ptr<const models::Encoder> encoder;        // the reading half where there is a writer

 private:
  mutable std::once_flag once;
  mutable std::optional<models::Pooling> pooling_;
};

}  // namespace fovea::look
