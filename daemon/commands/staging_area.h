// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"

namespace pkgfs {

/// A hidden directory `.pkgfs-…` for an extraction, in the directory whose contents it prepares. It is locked while it
/// lives, so that another process can see whether it was left behind. It is removed with all that is in it, unless it
/// holds what can't be lost.
class StagingArea {
 public:
  /// What `prepare` makes in it.
  static constexpr const char* kNew = "new";            // what shall go up
  static constexpr const char* kReplaced = "replaced";  // what that has replaced, each file under its own path
  static constexpr const char* kUndone = "undone";      // what went up and was taken back

  /// Makes it in `place`, which must outlive this: `.PREFIX.pkgfs-…` if there is a prefix. Throws Error `what`.
  StagingArea(int place, std::string_view prefix, const std::string& what);
  ~StagingArea();
  StagingArea(const StagingArea&) = delete;
  StagingArea& operator=(const StagingArea&) = delete;

  /// Makes and opens the three directories. Throws Error `what`.
  void prepare(const std::string& what);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] int fresh() const { return fresh_.get(); }
  [[nodiscard]] int replaced() const { return replaced_.get(); }
  [[nodiscard]] int undone() const { return undone_.get(); }

  /// It has files of the user now: only `remove` removes it.
  void hold() { is_held_ = true; }
  void let_go() { is_held_ = false; }
  [[nodiscard]] bool is_held() const { return is_held_; }
  /// The directory got another name, and is nothing to remove any more.
  void release() { name_.clear(); }
  void remove();

 private:
  int place_;
  std::string name_;  // empty when it is gone
  UniqueFd fd_;
  UniqueFd fresh_;
  UniqueFd replaced_;
  UniqueFd undone_;
  bool is_held_ = false;
};

/// Makes and opens a directory that only this user can enter. None and errno if it fails, EEXIST included.
[[nodiscard]] UniqueFd make_private_directory(int place, const std::string& name);

/// The names in a directory; `failed` is 0 or an errno number.
[[nodiscard]] std::vector<std::string> entry_names(int directory, int& failed);

/// Warns of each area in `place` that a killed process left, and says what to do with it. `path` is that of `place`.
void warn_of_leftovers(int place, const std::string& path);
/// The same for the extractions that were to make `path`, and whose areas were in its parent `place`, for StagingArea's
/// `prefix`.
void warn_of_leftovers_beside(int place, std::string_view prefix, const std::string& path);

}  // namespace pkgfs
