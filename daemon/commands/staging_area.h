// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"

namespace pkgfs {

/// A hidden directory `.pkgfs-…` in which an extraction prepares its files. It is locked as long as this object lives.
/// So another process can see whether a killed process has left it. The destructor removes it with all its contents,
/// unless it holds files of the user (`hold`).
class StagingArea {
 public:
  /// The names of the directories that `prepare` makes in it.
  static constexpr const char* kNew = "new";            // new entries that are still to be moved up
  static constexpr const char* kReplaced = "replaced";  // the entries that they replaced, each under its own path
  static constexpr const char* kUndone = "undone";      // new entries that were moved up and taken back

  /// Makes the hidden directory in `place`, a descriptor that must outlive this. If there is a prefix, its name is
  /// `.PREFIX.pkgfs-…`. Throws Error `what`.
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

  /// The area holds files of the user from now on: the destructor doesn't remove it, but `remove` does.
  void hold() { is_held_ = true; }
  /// The area holds no files of the user any more.
  void let_go() { is_held_ = false; }
  [[nodiscard]] bool is_held() const { return is_held_; }
  /// The caller has renamed the directory: from now on, nothing removes it.
  void release() { name_.clear(); }
  void remove();
  /// Frees the file descriptors that were kept for `remove` and for an undo.
  void use_reserve();

 private:
  /// An undo holds an old place and a new one, of two directories each.
  static constexpr std::size_t kReserved = 4;

  int place_;
  std::array<UniqueFd, kReserved> reserve_;  // so that a process without free descriptors can clean up
  std::string name_;                         // empty when it is gone
  UniqueFd fd_;
  UniqueFd fresh_;
  UniqueFd replaced_;
  UniqueFd undone_;
  bool is_held_ = false;
};

/// Makes and opens a directory that only this user can enter. If that fails, returns an empty descriptor and sets
/// errno. It fails, too, if the name exists (EEXIST).
[[nodiscard]] UniqueFd make_private_directory(int place, const std::string& name);

/// The names in a directory; `failed` is 0 or an errno number.
[[nodiscard]] std::vector<std::string> entry_names(int directory, int& failed);

/// Warns of each area in `place` that a killed process left, and says what to do with it. `path` is that of `place`.
void warn_of_leftovers(int place, const std::string& path);
/// The same for extractions that were to make the directory `path`. Their areas are in `place`, the directory that was
/// to contain it. `prefix` is the one that they gave to StagingArea.
void warn_of_leftovers_beside(int place, std::string_view prefix, const std::string& path);

}  // namespace pkgfs
