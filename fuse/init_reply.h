// SPDX-License-Identifier: MIT
#pragma once

#include <linux/fuse.h>

#include <cstddef>
#include <cstring>
#include <span>

namespace pkgfs::fuse {

/// Calls `change`, a function of (const fuse_init_in&, fuse_init_out&), with what the kernel's INIT request `request`
/// offers and what `reply` agrees to. Writes the latter back. Both spans begin with the header of their message. Does
/// nothing if one of them is too short, as that of an older kernel, or if `reply` reports an error.
template <typename Change>
void change_init_reply(std::span<const std::byte> request, std::span<std::byte> reply, Change&& change) {
  struct {
    fuse_in_header header;
    fuse_init_in init;
  } asked{};
  struct {
    fuse_out_header header;
    fuse_init_out init;
  } answer{};
  if (request.size() < sizeof(asked) || reply.size() < sizeof(answer)) {
    return;
  }
  std::memcpy(&asked, request.data(), sizeof(asked));
  std::memcpy(&answer, reply.data(), sizeof(answer));
  if (answer.header.error != 0) {
    return;
  }
  change(asked.init, answer.init);
  std::memcpy(reply.data(), &answer, sizeof(answer));
}

}  // namespace pkgfs::fuse
