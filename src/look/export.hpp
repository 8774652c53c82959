// A run's attention as tensors in a file: the one place where n × n is written, and even here it is never held.
#pragma once
#include <cstdint>
#include <filesystem>

#include <fovea/model.hpp>
#include <fovea/tile.hpp>

namespace fovea::look {

/// Bytes of the tensors that an export of these queries holds.
std::int64_t export_bytes(const Run& run, Range queries);
/// The most queries whose export stays within `bytes`; 0 when not even one does.
int queries_within(const Run& run, std::int64_t bytes);
/// Writes attention.{kind}.{layer} F32 [heads, queries, keys], lse.{kind}.{layer} F32 [heads, queries] and
/// hidden.{kind}.{layer} F32 [tokens, width], layer 0 being the embedding. Error when the run has no such queries; a
/// file is left whole or not at all.
void export_run(const Run& run, Range queries, const std::filesystem::path& file);

}  // namespace fovea::look
