// SPDX-License-Identifier: MIT
// What a ServedFileSystem remembers of searches that failed.
#include <algorithm>
#include <cerrno>

#include "core/vfs/served_file_system.h"

namespace pkgfs::vfs {
namespace {

/// The names of failed searches come from any program that looks them up.
constexpr std::size_t kMostFailures = 1024;

}  // namespace

const ServedFileSystem::Failure* ServedFileSystem::failure_of(const std::string& path, const std::string& state) const {
  const auto found = failures_.find(path);
  const bool is_of_it = found != failures_.end() && found->second.state == state && Clock::now() < found->second.until;
  return is_of_it ? &found->second : nullptr;
}

void ServedFileSystem::remember(const Search& search, int error, const std::string& reason) {
  if (failures_.size() >= kMostFailures && !failures_.contains(search.path)) {
    failures_.erase(std::ranges::min_element(failures_, {}, [](const auto& each) { return each.second.until; }));
  }
  // A program that gets EAGAIN would try again for ever.
  failures_[search.path] = {.state = search.state,
                            .error = error == EAGAIN || error == kMustWait ? ENOMEM : error,
                            .reason = reason,
                            .until = Clock::now() + kRemembered};
  ++failed_;
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
      text += one->first.substr(prefix.size()) + ": " + one->second.reason + "\n";
    }
  }
  return text;
}

}  // namespace pkgfs::vfs
