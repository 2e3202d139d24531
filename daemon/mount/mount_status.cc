// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_status.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/xattr.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "core/webc/parse_json.h"
#include "daemon/cli/text_output.h"
#include "daemon/mount/run_bounded.h"
#include "daemon/mount/writable_run.h"
#include "fuse/statistics_ioctl.h"

namespace pkgfs {
namespace {

constexpr const char* kStatistics = "user.pkgfs.stats";
constexpr int kAnswered = 0;
constexpr int kDead = 1;
constexpr int kNoAnswer = 2;  // no statistics: `probe_mounts` finds out whether it lives

/// What a child process writes for its parent.
struct Answer {
  std::size_t size = 0;
  char text[65536 - sizeof(std::size_t)];  // NOLINT(modernize-avoid-c-arrays): more than an attribute can have
};

/// Memory, all zeroes at first, that this process shares with its child processes.
class SharedAnswers {
 public:
  explicit SharedAnswers(std::size_t count) : bytes_(count * sizeof(Answer)) {
    if (count == 0) {
      return;
    }
    void* const place = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED) {
      throw system_error("Unable to get memory to ask the mounts", errno);
    }
    answers_ = static_cast<Answer*>(place);
  }
  ~SharedAnswers() {
    if (answers_ != nullptr) {
      ::munmap(answers_, bytes_);
    }
  }
  SharedAnswers(const SharedAnswers&) = delete;
  SharedAnswers& operator=(const SharedAnswers&) = delete;

  [[nodiscard]] Answer& operator[](std::size_t index) const { return answers_[index]; }

 private:
  std::size_t bytes_;
  Answer* answers_ = nullptr;
};

/// The statistics of a mount that has no attributes. Returns their size, or -1 with `errno`.
ssize_t ask_by_ioctl(const char* path, Answer& answer) {
  const UniqueFd root(::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::size_t size = 0;
  for (unsigned piece = 0; root && piece < fuse::kStatisticsPieces; ++piece) {
    const int got = size + fuse::kStatisticsPiece > sizeof(answer.text)
                        ? -1
                        : ::ioctl(root.get(), fuse::statistics_ioctl(piece), answer.text + size);
    if (got < 0) {
      return -1;
    }
    size += static_cast<std::size_t>(got);
    if (static_cast<std::size_t>(got) < fuse::kStatisticsPiece) {
      return static_cast<ssize_t>(size);
    }
  }
  return root ? static_cast<ssize_t>(size) : -1;
}

/// Runs in a child process.
int ask(const char* mountpoint, Answer& answer) {
  const char* const path = enter_copy(mountpoint);
  ssize_t size = ::getxattr(path, kStatistics, answer.text, sizeof(answer.text));
  if (size < 0 && errno == EOPNOTSUPP) {
    size = ask_by_ioctl(path, answer);
  }
  if (size < 0) {
    return errno == ENOTCONN ? kDead : kNoAnswer;
  }
  answer.size = static_cast<std::size_t>(size);
  return kAnswered;
}

template <typename T>
std::optional<T> member(const nlohmann::ordered_json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && found != object.end() && found->is_number() ? std::optional(found->get<T>())
                                                                           : std::nullopt;
}

MountState state_from(const webc::Json& statistics) {
  if (!statistics.is_object()) {
    return MountState::kLive;
  }
  const auto lazy = statistics.find("lazy");
  if (lazy != statistics.end() && lazy->is_object() && lazy->contains("state") && (*lazy)["state"] == "tampered") {
    return MountState::kTampered;
  }
  return statistics.contains("changed") ? MountState::kChanged : MountState::kLive;
}

/// Null for what isn't an object: any user can mount a file system of this type.
webc::Json statistics_from(std::string_view text) { return webc::parse_object(text).value_or(nullptr); }

}  // namespace

std::optional<pid_t> MountStatus::pid() const {
  const auto said = member<pid_t>(statistics, "pid");
  return said || !owner ? said : std::optional(owner->pid);
}

std::optional<std::int64_t> MountStatus::since() const {
  const auto said = member<std::int64_t>(statistics, "since");
  return said || !owner ? said : std::optional(owner->started);
}

std::optional<std::uint64_t> MountStatus::requests() const {
  if (!statistics.is_object() || !statistics.contains("requests")) {
    return std::nullopt;
  }
  std::uint64_t all = 0;
  for (const auto& count : statistics["requests"]) {
    all += count.is_number_unsigned() ? count.get<std::uint64_t>() : 0;
  }
  return all;
}

std::optional<LazyStatus> MountStatus::lazy() const {
  const auto found = statistics.is_object() ? statistics.find("lazy") : statistics.end();
  if (!statistics.is_object() || found == statistics.end() || !found->is_object()) {
    return std::nullopt;
  }
  const auto is_word = [&](const char* name, std::string_view word) {
    return found->contains(name) && (*found)[name] == word;
  };
  const auto count = [&](const char* name) {
    return found->contains(name) && (*found)[name].is_number_unsigned() ? (*found)[name].get<std::uint64_t>() : 0;
  };
  LazyStatus lazy{.whole = is_word("state", "whole"),
                  .bytes = count("bytes"),
                  .local = count("local"),
                  .in_background = found->contains("background") && (*found)["background"] == true,
                  .problem = {}};
  lazy.local = std::min(lazy.local, lazy.bytes);
  if (found->contains("problem") && (*found)["problem"].is_string()) {
    lazy.problem = (*found)["problem"].get<std::string>();
  }
  return lazy;
}

unsigned LazyStatus::percent() const {
  constexpr double kPercent = 100;
  return bytes == 0 ? 0 : static_cast<unsigned>(kPercent * static_cast<double>(local) / static_cast<double>(bytes));
}

std::string LazyStatus::text() const {
  return fmt::format("lazy {} %: {} of {} are local{}{}", percent(), size_text(local), size_text(bytes),
                     problem.empty() ? "" : "; ", problem);
}

std::vector<MountStatus> ask_mounts(std::vector<MountEntry> mounts, std::chrono::milliseconds limit) {
  const SharedAnswers answers(mounts.size());
  const auto codes =
      run_bounded(mounts.size(), [&](std::size_t i) { return ask(mounts[i].asked_path().c_str(), answers[i]); }, limit);
  std::vector<MountStatus> all;
  std::vector<std::size_t> unsure;
  std::vector<std::string> paths;
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    MountStatus status;
    status.entry = std::move(mounts[i]);
    if (!codes[i]) {
      status.state = MountState::kStuck;
    } else if (*codes[i] == kDead) {
      status.state = MountState::kDead;
    } else if (*codes[i] == kNoAnswer) {
      unsure.push_back(i);
      paths.push_back(status.entry.asked_path());
    } else {
      status.statistics = statistics_from(std::string_view(answers[i].text, answers[i].size));
      status.state = state_from(status.statistics);
    }
    all.push_back(std::move(status));
  }
  const std::vector<MountState> states = probe_mounts(paths, limit);
  for (std::size_t i = 0; i < unsure.size(); ++i) {
    all[unsure[i]].state = states[i];
  }
  // The overlay of a writable mount may be a program, fuse-overlayfs, which can end before the daemon below it.
  unsure.clear();
  paths.clear();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].entry.served_at.empty() && all[i].state != MountState::kDead && all[i].state != MountState::kStuck) {
      unsure.push_back(i);
      paths.push_back(all[i].entry.mountpoint);
    }
  }
  const std::vector<MountState> above = probe_mounts(paths, limit);
  for (std::size_t i = 0; i < unsure.size(); ++i) {
    if (above[i] == MountState::kDead || above[i] == MountState::kStuck) {
      all[unsure[i]].state = above[i];
    }
  }
  for (MountStatus& status : all) {
    if (!status.pid() && status.state != MountState::kDead) {
      status.owner = find_owner(status.entry);
    }
  }
  return all;
}

std::vector<MountEntry> our_mounts() {
  const std::vector<MountEntry> table = read_mount_table();
  std::vector<MountEntry> ours;
  for (const MountEntry& entry : table) {
    if (entry.type == kMountType) {
      ours.push_back(entry);
      show_as_overlay(ours.back(), table);
    }
  }
  return ours;
}

}  // namespace pkgfs
