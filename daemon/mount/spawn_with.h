// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace pkgfs {

/// Starts `program` with the command line `words` and, as its descriptors from 3 on, duplicates of `descriptors`. The
/// standard streams stay as they are, and so does the environment, but for `more`: "NAME=value" of variables that this
/// process doesn't have. No other descriptor reaches the program. Returns the process. Throws Error. Any thread may
/// call it.
[[nodiscard]] pid_t spawn_with(const std::vector<int>& descriptors, const std::string& program,
                               std::vector<std::string> words, std::vector<std::string> more);

/// Starts the program `name`, which is looked for in the directories of PATH, with the command line `words` and the
/// environment `environment`. Its only descriptors are duplicates of `descriptors`, from 0 on: at least the three
/// standard streams. It blocks and ignores no signal. Nothing if there is no such program. Throws Error. Any thread may
/// call it.
[[nodiscard]] std::optional<pid_t> spawn_found(const std::vector<int>& descriptors, const std::string& name,
                                               std::vector<std::string> words, std::vector<std::string> environment);

/// What execve(2) takes of `words`, which must live as long as the result.
[[nodiscard]] std::vector<char*> pointers_to(std::vector<std::string>& words);

/// The words of the command line of `process`. Empty if it has ended, or this process may not see it.
[[nodiscard]] std::vector<std::string> command_line_of(pid_t process);

}  // namespace pkgfs
