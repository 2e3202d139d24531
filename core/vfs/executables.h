// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

#include "core/base/error.h"
#include "core/vfs/file_system.h"

/// Which files of a container are executable, since containers store no modes (docs/rules/filesystem.md, 9.5). The name
/// decides for most files, so that `ls -l` and `find` needn't read every file. The first bytes decide for the others,
/// when the kernel first asks for the mode of that one file. Name and bytes never change, so the mode never changes.
namespace pkgfs::vfs {

struct OverlayPath;

/// A shorter file is no program.
constexpr std::uint64_t kProgramBytes = 2;

/// False: the file `name` of `directory` is data, whatever it begins with. Costs a few comparisons and no read.
[[nodiscard]] bool is_program_name(const OverlayPath& directory, std::string_view name);

/// Whether a file begins with "#!", or like ELF or WebAssembly. Reads up to four bytes. EIO if they can't be read.
[[nodiscard]] Result<bool> begins_like_a_program(FileSystem& fs, Inode file);

}  // namespace pkgfs::vfs
