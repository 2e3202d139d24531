// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "daemon/keeper/protocol.h"

// How a daemon tells a keeper of its mount that it started before there was one. To start a program takes longer than
// to make a mount, so both are done at the same time.
namespace pkgfs::keeper {

/// What such a keeper has in place of the number of containers and that of the connection in its command line. When it
/// knows the numbers, it writes them there.
inline constexpr const char* kLaterContainers = "later";
inline constexpr const char* kLaterConnection = "connection";

/// The messages of the daemon: this many descriptors come with each, until all have come. They are those of Descriptor
/// from kDevice on. The keeper has no other descriptor above kControl, so the kernel gives them the right numbers.
struct Description {
  char message = kDescription;
  std::array<char, 11> connection{};  // its number, "53", and a NUL
  std::uint32_t containers = 0;
};
inline constexpr std::size_t kDescribedAtOnce = 200;  // the kernel allows 253

// The following is for the keeper.

/// Whether the command line names the mount. kNothing: it isn't that of a keeper.
enum class Told { kNothing, kLater, kAll };
/// Sets `containers` if the command line names the mount.
[[nodiscard]] Told read_command_line(int argc, char** argv, int& containers);
/// Waits for all messages. Then writes the numbers into the command line, and sets `containers`. False: the daemon has
/// ended, or sent something else.
[[nodiscard]] bool receive_description(char** argv, int& containers);

}  // namespace pkgfs::keeper
