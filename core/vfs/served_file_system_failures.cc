// SPDX-License-Identifier: MIT
// Searches of a ServedFileSystem that take too long, and what it remembers of those that failed.
#include <algorithm>
#include <cerrno>
#include <chrono>

#include "core/vfs/served_file_system.h"

namespace pkgfs::vfs {
namespace {

/// The names of failed searches come from any program that looks them up.
constexpr std::size_t kMostFailures = 1024;
/// For so long, a failure for want of memory, threads or descriptors is remembered: packages are closed meanwhile.
constexpr auto kShort = std::chrono::seconds(1);

}  // namespace

const ServedFileSystem::Failure* ServedFileSystem::failure_of(const std::string& path, const std::string& state) const {
  const auto found = failures_.find(path);
  const bool is_of_it = found != failures_.end() && found->second.state == state && Clock::now() < found->second.until;
  return is_of_it ? &found->second : nullptr;
}

void ServedFileSystem::remember(const Search& search, int error, const std::string& reason) {
  if (search.to_close) {
    return;  // a program that asks later is to get an attempt of its own
  }
  if (failures_.size() >= kMostFailures && !failures_.contains(search.path)) {
    failures_.erase(std::ranges::min_element(failures_, {}, [](const auto& each) { return each.second.until; }));
  }
  // A program that gets EAGAIN would try again for ever.
  const int shown = error == EAGAIN || error == kMustWait ? ENOMEM : error;
  const bool is_of_machine = shown == ENOMEM || shown == EMFILE || shown == ENFILE;
  failures_[search.path] = {.state = search.state,
                            .error = shown,
                            .reason = reason,
                            .until = Clock::now() + (is_of_machine ? kShort : kRemembered)};
  ++failed_;
}

ServedFileSystem::Search ServedFileSystem::time_out(Search& search, Clock::time_point now) {
  const std::uint64_t progress = search.begun ? names_.progress(search.number) : 0;
  const bool goes_on = progress > search.seen;
  const std::string limit = std::to_string(options_.patience.count()) + " ms (--timeout)";
  ServedNames::Finding finding{.tree = nullptr, .link = {}, .error = ETIMEDOUT, .reason = {}};
  finding.reason = goes_on         ? "it isn't complete after " + limit + "; its download goes on"
                   : progress == 0 ? "no thread was free for it within " + limit
                                   : "no answer within " + limit;
  take(search, finding);
  Search late = search;
  late.kept = search.kept = goes_on;
  search.seen = progress;
  search.waiters.clear();
  if (goes_on) {
    search.deadline = now + options_.patience;
  }
  return late;
}

std::string ServedFileSystem::problem(Inode inode) {
  const MutexLock lock(mutex_);
  const NodePointer node = is_inner(inode) ? nullptr : find_node(inode);
  if (node == nullptr || node->kind == Kind::kLink) {
    return {};
  }
  if (node->kind != Kind::kNames) {
    const Failure* const failure = failure_of(node->path, node->state);
    return node->kind == Kind::kFailed ? node->text : failure == nullptr ? std::string() : failure->reason;
  }
  constexpr std::size_t kMost = 60000;  // of an attribute
  std::string text;
  const std::string prefix = node->path.empty() ? "" : node->path + "/";
  for (auto one = failures_.lower_bound(prefix); one != failures_.end() && one->first.starts_with(prefix); ++one) {
    if (one->first.find('/', prefix.size()) == std::string::npos && Clock::now() < one->second.until &&
        text.size() + one->second.reason.size() < kMost) {
      std::string line = one->first.substr(prefix.size()) + ": " + one->second.reason;
      std::ranges::replace(line, '\n', ' ');
      text += line + "\n";
    }
  }
  return text;
}

}  // namespace pkgfs::vfs
