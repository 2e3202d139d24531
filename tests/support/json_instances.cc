// SPDX-License-Identifier: MIT
#include "tests/support/json_instances.h"

template class nlohmann::basic_json<>;
template class nlohmann::basic_json<nlohmann::ordered_map>;
