// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>

namespace pkgfs {

/// Calls `body` in a child process that has the rights of `user`, `group` and the user's other groups, and no others.
/// Returns its result (0 to 127), or throws the Error that it has thrown. Throws Error if the child can't have these
/// rights, or doesn't end within `limit`: it may wait in the kernel for ever, and this process gives up on it. This
/// process must be root, and have no other thread. The child has no open files.
[[nodiscard]] int call_as_user(uid_t user, gid_t group, const std::function<int()>& body,
                               std::chrono::milliseconds limit);

}  // namespace pkgfs
