// trace(attention, query): what the rows and columns of one head add up to, in a second pass over its scores that holds
// O(rows + keys) memory: nothing of n × n is written down.
#pragma once
#include <span>
#include <vector>

#include <fovea/attention.hpp>

namespace fovea {

/// What is asked, of one head.
struct TraceQuery {
  int batch = 0, head = 0;
  Range queries = {};                          // rows
  std::span<const float> along = {};           // [keys] f of Σ_j A_ij f_j; empty: not asked
  std::vector<int> offsets = {};               // of the weights A_i,i+offset
  bool rows = true;                            // what rows add up to, and the proof; false: columns and tiles alone
  bool received = false;                       // the columns' sums …
  std::span<const float> received_share = {};  // … each row counted by so much, [rows]; empty: by 1
  bool tiles = false;                          // mass and maximum of tiles of 64 × 64
};

/// All of them over the rows that were asked for; vectors of what was not asked are empty. A row that sees nothing has
/// zeros. `sink` shares are in no sum over keys; a learned sink is one more term of the entropy.
struct Trace {
  std::vector<int> visible;      // [rows] keys that the mask shows
  std::vector<float> mass;       // [rows] Σ_j A_ij: 1, or less what a sink took
  std::vector<float> entropy;    // [rows] H_i, nats (Clark et al. 2019, arXiv 1906.04341)
  std::vector<float> most;       // [rows] max_j A_ij (Voita et al. 2019, arXiv 1905.09418)
  std::vector<float> distance;   // [rows] Σ_j A_ij |i − j|, as rows and keys are numbered
  std::vector<float> first;      // [rows] A_i0
  std::vector<float> along;      // [rows] Σ_j A_ij f_j
  std::vector<float> at;         // [offsets, rows] A_i,i+offset; 0 where there is no such key
  std::vector<float> error;      // [rows] max over channels of |Σ_j A_ij v_j − o_i|: the proof of all of it
  std::vector<double> received;  // [keys] Σ_i share_i A_ij (column mass; Zhang et al. 2023, arXiv 2306.14048)
  std::vector<float> tile_mass, tile_peak;  // [⌈rows / 64⌉, ⌈keys / 64⌉] Σ A and max A
};

/// Error when there is no such head or row. The same bits for any number of threads.
Trace trace(const Attention& a, const TraceQuery& query);

}  // namespace fovea
