// SPDX-License-Identifier: MIT
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace pkgfs {

/// The kind of a failure. It decides the exit code (daemon/cli/exit_code.h) and whether another attempt can help.
enum class ErrorCode {
  kUsage,        // the command line or an option is wrong
  kNotFound,     // a package, version, file, volume or mount point doesn't exist
  kCorrupt,      // a container, manifest or downloaded file is damaged or hostile
  kUnsupported,  // valid, but not supported by pkgfs
  kResolve,      // the dependency tree can't be resolved
  kLoad,         // resolved, but the packages don't fit together
  kPermission,   // the operating system refused
  kBusy,         // a mount point is in use, a lock is held
  kIo,           // reading or writing failed
  kFull,         // the disk or the user's quota is full
  kMount,        // the kernel or fusermount3 refused the mount
  kNetwork,      // a registry or a server can't be reached or gives an invalid reply
  kInterrupted,  // a signal asked pkgfs to stop
  kInternal,     // a bug in pkgfs
};

/// The exception of all code that runs before a mount serves requests; code on the read path returns `Result` instead.
/// Holds a chain of messages, the outermost first. A message names the operation, its object and the cause.
///
/// Each message is made printable (printable.h) and bounded when it is added, because names and paths from outside are
/// in it: none begins a line or drives a terminal. A message has several lines only if its author says so.
class Error : public std::exception {
 public:
  enum class LineBreaks {
    kEscaped,  // one line
    kKept,     // those that the author wrote; the parts from outside must be printable already
  };

  Error(ErrorCode code, std::string message, LineBreaks breaks = LineBreaks::kEscaped);
  Error(ErrorCode code, std::vector<std::string> chain);
  /// The chain of `cause` with another code.
  Error(ErrorCode code, const Error& cause);

  /// Adds `outer` in front of the chain: the operation during which the failure happened.
  Error& context(std::string outer) &;
  Error&& context(std::string outer) &&;
  /// Adds `cause`, or its chain, at the end of the chain.
  Error& caused_by(std::string cause, LineBreaks breaks = LineBreaks::kEscaped);
  Error& caused_by(const Error& cause);

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }
  /// Whether the process or the machine had no memory or file descriptors left. It says nothing about the file.
  [[nodiscard]] bool is_of_machine() const noexcept { return is_of_machine_; }
  [[nodiscard]] const std::vector<std::string>& chain() const noexcept { return chain_; }
  /// The outermost message.
  [[nodiscard]] const std::string& message() const noexcept { return chain_.front(); }
  /// All messages, one a line, with "  caused by: " in front of every inner one. A message is left out if the one
  /// before it already ends with it.
  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

 private:
  friend Error system_error(std::string_view what, int errnum);
  friend Error os_error(const std::string& what, int errnum);

  void render();

  ErrorCode code_;
  bool is_of_machine_ = false;
  std::vector<std::string> chain_;
  std::string text_;
};

/// The Error `{what}: {text of errnum}`, with the code that fits `errnum`.
[[nodiscard]] Error system_error(std::string_view what, int errnum);

/// The same as a chain of two messages: `what`, and the text of `errnum` as its cause.
[[nodiscard]] Error os_error(const std::string& what, int errnum);

/// A value or a positive errno number. For the read path: a failure neither allocates nor throws.
template <typename T>
using Result = tl::expected<T, int>;

/// The failure of a `Result`, from a positive errno number.
[[nodiscard]] inline tl::unexpected<int> fail(int errnum) { return tl::unexpected<int>(errnum); }

}  // namespace pkgfs
