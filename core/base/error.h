// SPDX-License-Identifier: MIT
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace pkgfs {

/// The kind of a failure. It decides the exit code (daemon/cli/exit_code.h), and whether the volume plugin tries again.
/// Whether a request over HTTP is tried again: HttpError::is_transient.
enum class ErrorCode {
  kUsage,        // the command line or an option is wrong
  kNotFound,     // a package, version, file, volume or mount point doesn't exist
  kCorrupt,      // a container, manifest or downloaded file is damaged or hostile
  kUnsupported,  // valid, but pkgfs doesn't support it
  kResolve,      // the dependency tree can't be resolved
  kLoad,         // the dependency tree is resolved, but its packages don't fit together
  kPermission,   // the operating system refused
  kBusy,         // a mount point is in use, or another process holds a lock
  kIo,           // reading or writing failed
  kFull,         // the disk or the user's quota is full
  kMount,        // the kernel or fusermount3 refused the mount
  kNetwork,      // a registry or a server can't be reached or gives an invalid reply
  kInterrupted,  // a signal asked pkgfs to stop
  kInternal,     // a bug in pkgfs
};

/// The exception that pkgfs throws. Code on the read path, which answers requests of the kernel, returns `Result`
/// instead. An Error holds a chain of messages, the outermost first; each inner one is the cause of the message before
/// it. A message names the operation, its object and the cause.
///
/// When a message is added, it is made printable (printable.h) and cut to `kLongestMessage` characters. So a name or
/// path from outside can neither begin a line of its own nor drive a terminal. Line breaks stay only if the code that
/// adds the message asks for that (`LineBreaks::kKept`).
class Error : public std::exception {
 public:
  enum class LineBreaks {
    kEscaped,  // a line break is shown as `\x0a`
    kKept,     // line breaks stay; the parts from outside must be printable already
  };

  Error(ErrorCode code, std::string message, LineBreaks breaks = LineBreaks::kEscaped);
  Error(ErrorCode code, std::vector<std::string> chain);
  /// Has the chain of `cause`, but another code.
  Error(ErrorCode code, const Error& cause);

  /// Adds `outer` in front of the chain: the operation during which the failure happened.
  Error& context(std::string outer) &;
  Error&& context(std::string outer) &&;
  /// Adds `cause`, or all messages of `cause`, at the end of the chain.
  Error& caused_by(std::string cause, LineBreaks breaks = LineBreaks::kEscaped);
  Error& caused_by(const Error& cause);

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }
  /// Whether memory or file descriptors ran out, or a process or a thread couldn't be started. Such an error doesn't
  /// show that a file is damaged.
  [[nodiscard]] bool is_of_machine() const noexcept { return is_of_machine_; }
  /// Whether it says nothing about its object: `is_of_machine`, or a signal asked pkgfs to stop. Code that leaves
  /// damaged objects out passes such an error on.
  [[nodiscard]] bool is_of_run() const noexcept { return is_of_machine_ || code_ == ErrorCode::kInterrupted; }
  [[nodiscard]] const std::vector<std::string>& chain() const noexcept { return chain_; }
  /// The outermost message.
  [[nodiscard]] const std::string& message() const noexcept { return chain_.front(); }
  /// All messages, each on a line of its own, with "  caused by: " in front of every inner one. A message is left out
  /// if the one before it already ends with it.
  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

 protected:
  /// For an Error that has the chain of `cause` in it.
  void keep_origin(const Error& cause) noexcept { is_of_machine_ = is_of_machine_ || cause.is_of_machine_; }

 private:
  friend Error system_error(std::string_view what, int errnum);
  friend Error os_error(const std::string& what, int errnum);
  friend Error start_error(std::string_view what, int errnum);
  friend Error current_error();

  void render();

  ErrorCode code_;
  bool is_of_machine_ = false;
  std::vector<std::string> chain_;
  std::string text_;
};

/// The Error `{what}: {text of errnum}`, with the code that fits `errnum`. The text names the limit that was reached
/// (system_limits.h).
[[nodiscard]] Error system_error(std::string_view what, int errnum);
/// The same for a process or a thread that can't be started.
[[nodiscard]] Error start_error(std::string_view what, int errnum);
/// The Error of the exception that is being handled, whatever its type. Call it in a `catch (...)`.
[[nodiscard]] Error current_error();

/// The same as `system_error`, but with a chain of two messages: `what`, and the text of `errnum` as its cause.
[[nodiscard]] Error os_error(const std::string& what, int errnum);

/// A value or a positive errno number. For the read path: a failure neither allocates nor throws.
template <typename T>
using Result = tl::expected<T, int>;

/// The failure of a `Result`, from a positive errno number.
[[nodiscard]] inline tl::unexpected<int> fail(int errnum) { return tl::unexpected<int>(errnum); }

}  // namespace pkgfs
