// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>

/// Texts of errno numbers. If a limit of the process or of the machine is the reason, the text names the limit and what
/// raises it, and its value if that is known.
namespace pkgfs {

/// The text of `errnum`, for example `Too many open files (the limit is 8; raise it with ulimit -n)`.
[[nodiscard]] std::string errno_text(int errnum);

/// The same for the start of a process or a thread. There, EAGAIN means that a limit is reached, and EPERM and ENOSYS
/// mean that a filter of system calls (seccomp) denies the start.
[[nodiscard]] std::string start_text(int errnum);

/// The same for inotify_init1(2), where EMFILE may mean a limit of the user, and for inotify_add_watch(2), where ENOSPC
/// does.
[[nodiscard]] std::string inotify_text(int errnum);

/// Whether this process can open `count` more files.
[[nodiscard]] bool can_open_more(std::size_t count);

/// Raises the limit of open files of this process (ulimit -n) as far as it may. Child processes inherit that.
void raise_open_files();

/// Whether the memory of this process is limited (ulimit -v).
[[nodiscard]] bool has_memory_limit();

}  // namespace pkgfs
