// SPDX-License-Identifier: MIT
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace pkgfs {

/// The names in the root of the file system on `device` ("0:53") on which, or below which, another file system is
/// mounted. Looks into the mount tables of `for_each_mount_table`.
[[nodiscard]] std::set<std::string> covered_names(const std::string& device);

/// Adds those of one mount table to `names`.
void add_covered_names(std::string_view mountinfo, std::string_view device, std::set<std::string>& names);

}  // namespace pkgfs
