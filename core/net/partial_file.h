// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/private_directory.h"
#include "core/base/unique_fd.h"

namespace pkgfs {

/// A file that a download fills, with the hash of its content. A small file beside it (`{path}.from`) holds the origin
/// of the bytes, so that another process can continue the download. Only one thread of all processes may use a path at
/// a time, for which the caller holds a lock. The directory must exist. Other users may write there, but must not be
/// able to replace the file (PrivateDirectory::require_control); no link is followed that they put there, and no file
/// of theirs is used. All methods throw Error naming the path.
class PartialFile {
 public:
  /// Where the bytes come from.
  struct Origin {
    std::string url;
    std::string
        validator;  // a strong ETag or a Last-Modified date: the server still has these bytes if it still agrees
  };

  /// Opens the file, or creates it. Its content is kept if it comes from `url`, else it is removed.
  PartialFile(std::string path, const std::string& url);

  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// None: a download of these bytes can't be continued.
  [[nodiscard]] const std::optional<Origin>& origin() const { return origin_; }

  /// Removes the content and the origin.
  void clear();
  /// Records where the bytes that follow come from.
  void set_origin(Origin origin);
  void append(std::span<const std::byte> piece);
  /// Syncs the file, removes the origin, and returns the hash of the content. Then only `clear` makes the object
  /// usable.
  [[nodiscard]] Sha256 finish();
  /// The open file, after `finish`: its path may lead to another one meanwhile. The object is used up.
  [[nodiscard]] UniqueFd release() { return std::move(fd_); }

  /// Removes the file at `path` and its origin, if they exist.
  static void discard(const std::string& path) noexcept;

 private:
  void hash_content();
  [[nodiscard]] Error failed(const char* what, int errnum) const;

  std::string path_;
  PrivateDirectory directory_;
  std::string name_;
  UniqueFd fd_;
  std::uint64_t size_ = 0;
  std::unique_ptr<Sha256Hasher> hasher_ = std::make_unique<Sha256Hasher>();
  std::optional<Origin> origin_;
};

}  // namespace pkgfs
