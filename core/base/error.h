// SPDX-License-Identifier: MIT
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace pkgfs {

/// What kind of thing went wrong; decides the exit code (daemon/cli/exit_code.h), and what is worth another attempt.
enum class ErrorCode {
  kUsage,        // the command line or an option is wrong
  kNotFound,     // a package, version, file, volume or mountpoint isn't there
  kCorrupt,      // a container, manifest or downloaded file is damaged or hostile
  kUnsupported,  // understood, but not something pkgfs does
  kResolve,      // the dependency tree can't be resolved
  kLoad,         // resolved, but the packages don't fit together
  kPermission,   // the operating system refused
  kBusy,         // mountpoint in use, lock held
  kIo,           // reading or writing failed
  kFull,         // the disk or the user's share of it is full
  kMount,        // the kernel or fusermount3 refused the mount
  kNetwork,      // a registry or a server can't be reached, or answers nonsense
  kInterrupted,  // a signal asked us to stop
  kInternal,     // a bug of ours
};

/// The one error of everything that happens before a mount answers: thrown, with a chain of messages, outermost first.
/// A message names the thing, the place and the cause. Code on the read path returns `Result` instead.
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message);
  Error(ErrorCode code, std::vector<std::string> chain);

  /// Adds an outer message in front of the chain: "what we were doing when that happened".
  Error& context(std::string outer) &;
  Error&& context(std::string outer) &&;

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }
  [[nodiscard]] const std::vector<std::string>& chain() const noexcept { return chain_; }
  /// The outermost message.
  [[nodiscard]] const std::string& message() const noexcept { return chain_.front(); }
  /// All messages, one a line, "  caused by: " in front of every inner one. Messages that their outer one already ends
  /// with are left out.
  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

 private:
  void render();

  ErrorCode code_;
  std::vector<std::string> chain_;
  std::string text_;
};

/// An `Error` of `code` for the current value of `errno`: "{what}: {strerror}".
[[nodiscard]] Error system_error(std::string_view what, int errnum);

/// A value or a positive errno number. For the read path: never allocates, never throws.
template <typename T>
using Result = tl::expected<T, int>;

/// Makes the failure of a `Result` from an errno number.
[[nodiscard]] inline tl::unexpected<int> fail(int errnum) { return tl::unexpected<int>(errnum); }

}  // namespace pkgfs
