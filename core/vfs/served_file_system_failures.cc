// SPDX-License-Identifier: MIT
// What a ServedFileSystem remembers of searches that failed.
#include <algorithm>
#include <vector>

#include "core/vfs/served_file_system.h"

namespace pkgfs::vfs {
namespace {

/// The names of failed searches come from any program that looks them up.
constexpr std::size_t kMostFailures = 1024;

}  // namespace

const ServedFileSystem::Failure* ServedFileSystem::failure_of(const std::string& path) const {
  const auto found = failures_.find(path);
  return found == failures_.end() || Clock::now() >= found->second.until ? nullptr : &found->second;
}

void ServedFileSystem::remember(const std::string& path, int error, const std::string& reason) {
  if (failures_.size() >= kMostFailures && !failures_.contains(path)) {
    failures_.erase(std::ranges::min_element(failures_, {}, [](const auto& each) { return each.second.until; }));
  }
  failures_[path] = {.error = error, .reason = reason, .until = Clock::now() + kRemembered};
  ++failed_;
}

std::string ServedFileSystem::problem(Inode inode) {
  const MutexLock lock(mutex_);
  const NodePointer node = is_inner(inode) ? nullptr : find_node(inode);
  if (node == nullptr || node->kind == Kind::kLink) {
    return {};
  }
  if (node->kind != Kind::kNames) {
    const Failure* const failure = failure_of(node->path);
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

void ServedFileSystem::forget_old(Clock::time_point now) {
  std::erase_if(failures_, [&](const auto& each) { return now >= each.second.until; });
  std::vector<NodePointer> old;
  for (const auto& [inode, node] : nodes_) {
    const bool is_old = node->kind == Kind::kLink ? now >= node->until : !node->current;
    if (node->references == 0 && node->slot == kNoSlot && is_old) {
      old.push_back(node);
    }
  }
  for (const NodePointer& node : old) {
    drop(node);
  }
}

}  // namespace pkgfs::vfs
