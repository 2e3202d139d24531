// SPDX-License-Identifier: MIT
// Part of the tests' precompiled header: the two kinds of JSON values are compiled once, in json_instances.cc, not in
// every test. That is a fifth of the compiler's work.
#pragma once

#include <nlohmann/json.hpp>

extern template class nlohmann::basic_json<>;
extern template class nlohmann::basic_json<nlohmann::ordered_map>;
