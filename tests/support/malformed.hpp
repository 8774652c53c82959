// Safetensors files that must be refused, each for a reason of its own, and JSON texts likewise: the table that the
// tests check and the fuzzers start from.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::testing {

struct Malformed {
  std::string name;      // letters, digits and dashes: also a file name
  std::string bytes;     // of the whole file
  std::string expected;  // a part of the message that no other case has
};

std::string little_endian(std::uint64_t n);

/// A safetensors file from its header's JSON and `data` bytes of zeros.
std::string safetensors_file(std::string_view json, std::size_t data = 0);

/// "name":{…}, one entry of a header.
std::string entry(std::string_view name, std::string_view dtype, std::string_view shape, std::string_view offsets);

/// A file with one tensor "w".
std::string one_tensor(std::string_view dtype, std::string_view shape, std::string_view offsets, std::size_t data);
std::string repeated(std::string_view text, std::size_t times);

/// A header of 62 MB that lists a million tensors, each of them valid.
std::string million_entries();
std::vector<Malformed> malformed_lengths();
std::vector<Malformed> malformed_json();
std::vector<Malformed> malformed_tensors();

/// All of them but million_entries(), which is best written to a file and freed before it is read.
std::vector<Malformed> malformed_files();

/// Files that are well-formed though they look odd: also seeds.
std::vector<Malformed> odd_files();

}  // namespace fovea::testing
