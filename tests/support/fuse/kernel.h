// SPDX-License-Identifier: MIT
#pragma once

#include <linux/fuse.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "fuse/adapter.h"
#include "fuse/servers.h"

struct fuse_buf;
struct fuse_session;

namespace pkgfs::test {

/// The body of a reply, and its errno (0: none).
struct Reply {
  int error = 0;
  std::string body;

  template <typename T>
  [[nodiscard]] T as() const {
    T value{};
    std::memcpy(&value, body.data(), std::min(sizeof(T), body.size()));
    return value;
  }
};

/// The kernel's end of a FUSE device, over a socket pair: sends requests to an adapter and takes its replies. Not
/// thread-safe. Throws std::runtime_error if a reply doesn't come or isn't one.
class Kernel {
 public:
  /// This libfuse was built without sessions that aren't mounted.
  struct Unavailable : std::runtime_error {
    using std::runtime_error::runtime_error;
  };

  /// Sends INIT, which the caller's thread answers. `capabilities`: flags of FUSE_INIT beside those that every
  /// supported kernel has. With `servers`, threads of Servers take the requests, as in a mount; without, the caller's
  /// thread does (`serve`).
  explicit Kernel(fuse::Adapter& adapter, std::uint32_t capabilities = 0, const fuse::ServerOptions* servers = nullptr);
  ~Kernel();
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  [[nodiscard]] const Reply& init_answer() const { return init_; }

  /// Further requests are those of this thread; 0 before: of one that the daemon can't name.
  void use_thread(std::uint32_t thread) { thread_ = thread; }
  Reply ask(fuse_opcode opcode, std::uint64_t node, const void* body, std::size_t size);
  Reply lookup(std::uint64_t directory, std::string_view name);
  /// The node that a name leads to; 0 where there is none.
  std::uint64_t node(std::uint64_t directory, std::string_view name);

  // What `ask` does, one after the other.

  /// Sends a request; its number.
  std::uint64_t send(fuse_opcode opcode, std::uint64_t node, const void* body, std::size_t size);
  /// Sends the last request again, as FUSE_NOTIFY_RESEND does: its number changes. Returns the new one.
  std::uint64_t send_again();
  /// Receives the request and answers it on this thread. Not with `servers`.
  void serve();
  /// The reply to the request that was sent last.
  Reply receive();

  /// The next reply to any request, with the request's number; nothing if none comes within `patience`. As the kernel
  /// does, takes no second reply to a request, and none to an INTERRUPT of a request that was answered.
  std::optional<std::pair<std::uint64_t, Reply>> receive_any(std::chrono::milliseconds patience);
  /// Awaits a reply to a request that was sent to an earlier daemon.
  void expect(std::uint64_t request);
  /// How many second replies have come so far.
  [[nodiscard]] unsigned late_replies() const { return late_replies_; }
  /// Ends the connection, as an unmount does.
  void hang_up();
  [[nodiscard]] fuse::Servers& servers() { return *servers_; }

 private:
  int kernel_ = -1;
  fuse_session* session_ = nullptr;
  std::unique_ptr<fuse_buf> buffer_;
  std::unique_ptr<fuse::Servers> servers_;
  std::string request_;
  std::string answer_;
  std::uint64_t unique_ = 0;
  std::set<std::uint64_t> unanswered_;
  std::map<std::uint64_t, std::uint64_t> interrupted_;  // by INTERRUPT requests
  unsigned late_replies_ = 0;
  std::uint32_t thread_ = 0;
  Reply init_;
};

}  // namespace pkgfs::test
