// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

/// The pages of mapped files that the kernel can't read: the disk fails, or the file became shorter. A handler of
/// SIGBUS puts a page of zeros in the place of a lost page, so that the load that met it continues. So code that reads
/// mapped bytes asks afterwards whether one of their pages was lost, before it uses them:
///
///     const std::uint64_t before = lost_pages::events();
///     ... read `part` ...
///     lost_pages::check(part, before)
///
/// A page stays lost only as long as its fault lasts: `check` tries at most once a second to read it again.
namespace pkgfs::lost_pages {

namespace detail {
extern std::atomic<std::uint64_t> events;
}

/// How often a page was lost, or read again after that, in this process. Costs one load.
[[nodiscard]] inline std::uint64_t events() { return detail::events.load(std::memory_order_acquire); }
/// Whether any page was ever lost. As long as the answer is no, all mapped bytes are right, and `check` says so.
[[nodiscard]] inline bool ever() { return events() != 0; }

enum class Outcome {
  kRight,  // what was read is what the file has
  kAgain,  // a page was lost and read again meanwhile: the caller reads the bytes once more
  kLost,   // a page of the bytes can't be read: the caller answers EIO
};
/// Whether the mapped bytes `part`, which the caller read after `before = events()`, are those of the file. Bytes that
/// belong to no mapped file are always right. If a page is lost, tries to read it again, unless the last attempt
/// is less than a second ago. That may wait for the disk. Logs the loss of a page and its recovery, each once.
[[nodiscard]] Outcome check(std::span<const std::byte> part, std::uint64_t before);

/// A mapped file in the table that the handler of SIGBUS reads. Installs the handler at first use. The handler passes a
/// fault outside of the files in the table to the handler that was installed before.
class Registration {
 public:
  /// `bytes`: the mapping of all of `fd`, with MAP_SHARED; empty for an empty file. `name` is for messages. Both, and
  /// `fd`, must outlive this object.
  Registration(std::span<const std::byte> bytes, int fd, const std::string& name);
  ~Registration();
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

  /// Whether a page of the file was ever lost.
  [[nodiscard]] bool lost_any() const;

 private:
  std::size_t slot_;
};

}  // namespace pkgfs::lost_pages
