// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/base/unique_fd.h"

namespace pkgfs {

/// A new file that appears under its name only when it is complete. Until then, it has no name, so that the kernel
/// removes it if the process is killed. On a file system that has no such files, it has a hidden name beside the later
/// one.
class OutputFile {
 public:
  /// Prepares the file `path`. If `replaces` is set, it may exist already as a regular file. Throws Error naming
  /// `path`: kUsage if it exists otherwise.
  OutputFile(std::string path, bool replaces);
  /// Throws Error as the constructor does, but makes nothing: for a check before long work.
  static void check(const std::string& path, bool replaces);
  /// Removes the file unless it is published.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// Open for reading and writing.
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Gives the file its name, after its bytes are on the disk. Throws Error naming the path.
  void publish() { publish_as(path_); }
  /// The same with another name in the same directory, for a name that depends on the content.
  void publish_as(const std::string& path);

 private:
  [[noreturn]] void throw_error(int errnum) const;

  std::string path_;
  bool replaces_;
  UniqueFd fd_;
  std::string hidden_;  // the present name; empty: it has none
};

}  // namespace pkgfs
