// What a Model and its Runs share: the model itself, and what lies beside it in the folder.
#pragma once
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>

#include "look/reader.hpp"
#include "models/encoder_decoder.hpp"
#include "models/pooling.hpp"

namespace fovea::look {

struct ModelParts {
  explicit ModelParts(const std::filesystem::path& where)
      : folder(where),
        writer(models::is_encoder_decoder(where) ? models::load_encoder_decoder(where) : nullptr),
        encoder(writer ? models::encoder_half(writer) : models::load_encoder(where)),
        reader(where, encoder->summary()) {}

  /// Read when it is first asked for: only embed() minds what modules.json says.
  const models::Pooling& pooling() const {
    std::call_once(once, [&] { pooling_.emplace(models::Pooling::load(folder, encoder->summary().width)); });
    return *pooling_;
  }

  std::filesystem::path folder;
  std::shared_ptr<const models::EncoderDecoder> writer;  // null: the model only reads
  std::shared_ptr<const models::Encoder> encoder;        // the reading half where there is a writer
  Reader reader;

 private:
  mutable std::once_flag once;
  mutable std::optional<models::Pooling> pooling_;
};

}  // namespace fovea::look
