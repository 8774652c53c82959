// What a Model and its Runs share: the model itself, and what lies beside it in the folder.
#pragma once
#include <cstdint>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "io/safetensors.hpp"
#include "look/reader.hpp"
#include "models/encoder_decoder.hpp"
#include "models/pooling.hpp"

namespace fovea::look {

struct ModelParts {
  explicit ModelParts(const std::filesystem::path& where) : ModelParts(where, Opened(where)) {}

  /// Read when it is first asked for: only embed() minds what modules.json says.
  const models::Pooling& pooling() const {
    std::call_once(once, [&] { pooling_.emplace(models::Pooling::load(folder, encoder->summary().width)); });
    return *pooling_;
  }

  std::filesystem::path folder;
  bool writes;
  Reader reader;
  std::shared_ptr<const models::EncoderDecoder> writer;  // null: the model only reads
  std::shared_ptr<const models::Encoder> encoder;        // the reading half where there is a writer

 private:
  /// What stands in the folder, loaded. The tokenizer is read beside small weights (it takes as long as a megabyte of
  /// them), but before large ones: what is wrong with it is not told after gigabytes.
  struct Opened {
    explicit Opened(const std::filesystem::path& where) : writes(models::is_encoder_decoder(where)) {
      constexpr std::int64_t kSmall = std::int64_t{64} << 20;
      const io::SafeTensors headers(where);  // what they and config.json say wrong is told here: at once
      std::int64_t bytes = 0;
      for (const io::TensorInfo& t : headers.tensors()) bytes += t.end - t.begin;
      std::future<Reader> reading =
          std::async(bytes > kSmall ? std::launch::deferred : std::launch::async, [&] { return Reader(where); });
      if (bytes > kSmall) reader.emplace(reading.get());
      try {
        if (writes) writer = models::load_encoder_decoder(where);
        encoder = writer ? models::encoder_half(writer) : models::load_encoder(where);
      } catch (...) {
        if (!reader) reading.get();  // of two complaints the tokenizer's comes first
        throw;
      }
      if (!reader) reader.emplace(reading.get());
    }
    bool writes;
    std::optional<Reader> reader;
    std::shared_ptr<const models::EncoderDecoder> writer;
    std::shared_ptr<const models::Encoder> encoder;
  };
  ModelParts(const std::filesystem::path& where, Opened opened)
      : folder(where),
        writes(opened.writes),
        reader(std::move(*opened.reader)),
        writer(std::move(opened.writer)),
        encoder(std::move(opened.encoder)) {
    reader.fit(encoder->summary());
  }

  mutable std::once_flag once;
  mutable std::optional<models::Pooling> pooling_;
};

}  // namespace fovea::look
