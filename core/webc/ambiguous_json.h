// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

namespace pkgfs::webc {

/// Refuses a JSON text that two readers may understand differently: one with a byte order mark, with a NUL, behind
/// which some parsers read nothing, or with a key that an object has twice. Throws Error(kCorrupt) with line, column
/// and byte offset, or if the text is nested too deep (base/limits.h). Finds no other fault: `parse_json` does.
void refuse_ambiguous_json(std::string_view text);

}  // namespace pkgfs::webc
