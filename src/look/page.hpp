// What an offline page holds of a run's attention, within a number of bytes. What does not fit is left out by a rule
// that the page can state. How it is written down: docs/look.md.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <fovea/tensor.hpp>

#include "models/encoder.hpp"

namespace fovea::look {

enum class Detail {
  Exact,     // every weight and every local effect, as F32
  Rounded,   // every one of them, as F16
  Strongest  // the strongest links of each row with their weights as F32, and tiles of all
};

/// Little-endian, row-major.
struct PageArray {
  std::string name;
  DType dtype;
  Shape shape;
  std::vector<std::byte> bytes;
};

struct PageHead {
  const models::LayerRecord* record;
  int head;
};

/// Heads over the same queries and keys. Letters: H heads, Q queries, K keys, M distinct masks, R heads whose rows are
/// kept, L links of a row, T tiles a side.
///
/// always     value_norm [H or R, K]: ‖W_O v_j‖; sink [H or R, Q] where heads have learned sinks
/// with masks visible U32 [M, Q]: n_i
/// all edges  weight, effect [H, Q, K]; seen U8 [M, Q, ⌈K/8⌉], bit j of a row's bytes (from the lowest) is key j
/// Strongest  key U16 or U32 [R, Q, L] (largest value: no link), weight F32, effect F16 [R, Q, L], heaviest first;
///            entropy, special F16 [R, Q]: of the whole row, nats and the share of special tokens and sinks;
///            mass, peak F16 [H, T, T]: a tile's weights summed over keys and averaged over queries, and its largest;
///            cover U8 [M, T, T]: 0 hidden, 1 in part, 2 visible
///
/// An effect that is not defined (the edge is all that its row has) is infinity.
struct PageGroup {
  int queries = 0, keys = 0;
  Detail detail = Detail::Exact;
  int top = 0;                          // L
  std::vector<int> linked;              // Strongest: the heads, by their place in the list, whose rows are kept
  int tile_queries = 0, tile_keys = 0;  // Strongest: the sides of a tile
  std::vector<int> mask;                // [H] place among the distinct masks, −1: everything is visible
  std::vector<PageArray> arrays;
};

/// What a page may take.
struct PageRoom {
  std::int64_t bytes = 0;        // of all arrays
  std::int64_t exact_bytes = 0;  // up to which every weight is given as F32
};

/// `rank`: which heads come first when there is no room for all rows; a permutation of the heads. `special` [keys]: the
/// keys that the tokenizer added. Arrays never take more than the room. Error when it holds nothing worth looking at.
PageGroup page_group(std::span<const PageHead> heads, std::span<const int> rank, int sequence,
                     const std::vector<bool>& special, PageRoom room);

}  // namespace fovea::look
