// JSON's class once for all tests (json_instances.cpp): otherwise every one of them makes its members anew, a fifth of what it costs
// to compile.
#pragma once
#include <nlohmann/json.hpp>

extern template class nlohmann::basic_json<>;
extern template class nlohmann::basic_json<nlohmann::ordered_map>;
