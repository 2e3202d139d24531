// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/webc/container.h"
#include "core/webc/tree.h"

namespace pkgfs::webc {

/// The problems that `verify` has found so far: one message for each, at most `kMaxProblems`.
class Problems {
 public:
  /// `source` begins every message. Appends to `out`, which must outlive this.
  Problems(std::string source, std::vector<std::string>& out) : source_(std::move(source)), out_(out) {}
  void add(const std::string& text) {
    if (!full()) {
      out_.push_back(source_ + ": " + text);
    }
  }
  [[nodiscard]] bool full() const { return out_.size() >= kMaxProblems; }

 private:
  std::string source_;
  std::vector<std::string>& out_;
};

/// Whether `path`, which starts in a directory `depth` levels below a root, climbs above the root. It is judged as
/// text: links in it are not followed.
[[nodiscard]] bool climbs_out(std::string_view path, std::size_t depth);

/// Whether `stored` is the SHA-256 of `of`.
[[nodiscard]] bool is_sha256(std::span<const std::byte> stored, std::span<const std::byte> of);

/// Checks one directory tree by the rows for entries of docs/rules/webc-format.md, 11. `atoms` is true for the tree of
/// the atoms section.
void verify_tree(const Tree& tree, bool atoms, VerifyDepth depth, Problems& problems);

}  // namespace pkgfs::webc
