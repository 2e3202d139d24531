// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "core/base/unique_fd.h"

namespace pkgfs::fuse {

/// Mapped memory of fixed size that a daemon hands on to its successor: a memfd whose size is sealed. A page takes
/// memory when it is first accessed. If the system has no memory then, the access raises SIGBUS. So call `allocate`
/// before. Move-only.
class SharedMemory {
 public:
  /// New memory, all zeros. `name` is shown in /proc; `what` begins the messages of errors. Throws Error if there is no
  /// memory or no descriptor.
  [[nodiscard]] static SharedMemory create(const char* name, std::size_t bytes, const std::string& what);
  /// The memory in `file`, which another daemon created. Throws Error(kCorrupt) if the size isn't sealed, and
  /// Error(kUnsupported) if it isn't `bytes`. The caller checks the content.
  [[nodiscard]] static SharedMemory adopt(UniqueFd file, std::size_t bytes, const std::string& what);
  /// Memory of this process alone, without a file. Throws Error.
  [[nodiscard]] static SharedMemory unshared(std::size_t bytes, const std::string& what);

  SharedMemory(SharedMemory&& other) noexcept;
  SharedMemory& operator=(SharedMemory&&) = delete;
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory();

  /// -1: unshared. execve(2) closes it.
  [[nodiscard]] int fd() const { return file_.get(); }
  [[nodiscard]] std::byte* data() const { return bytes_.data(); }
  /// Gives a part its memory. False: the system has none. Thread-safe.
  [[nodiscard]] bool allocate(std::size_t offset, std::size_t bytes) const;

 private:
  SharedMemory(UniqueFd file, std::size_t bytes, const std::string& what);

  UniqueFd file_;
  std::span<std::byte> bytes_;
};

}  // namespace pkgfs::fuse
