// A run's attention as tensors in a file: the one place where n × n is written, and even here it is never held.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include <fovea/model.hpp>
#include <fovea/tile.hpp>

namespace fovea::look {

/// Bytes of the tensors that an export of these queries holds; `kind`: of that kind of attention alone, empty: of every
/// kind. Of a kind with fewer queries, those that it has.
std::int64_t export_bytes(const Run& run, Range queries, const std::string& kind = {});
/// The most queries whose export stays within `bytes`; 0 when not even one does.
int queries_within(const Run& run, std::int64_t bytes, const std::string& kind = {});
/// As many queries as the kind with the most of them has.
int exported_queries(const Run& run, const std::string& kind = {});
/// Writes attention.{kind}.{layer} F32 [heads, queries, keys], lse.{kind}.{layer} F32 [heads, queries] and
/// hidden.{kind}.{layer} F32 [tokens, width], layer 0 being the embedding ("cross" has none). Error when there are no
/// such queries; a file is left whole or not at all.
void export_run(const Run& run, Range queries, const std::filesystem::path& file, const std::string& kind = {});

}  // namespace fovea::look
