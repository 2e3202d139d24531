// SPDX-License-Identifier: MIT
// How PackageNames asks the registries again for links that it has found locally.
#include <chrono>
#include <exception>
#include <memory>
#include <system_error>
#include <vector>

#include "core/base/log.h"
#include "daemon/serve/package_names.h"

namespace pkgfs {
namespace {

/// For so long, a link isn't checked again.
constexpr auto kCheckPause = std::chrono::seconds(10);
/// Programs choose the names of links.
constexpr std::size_t kMostChecks = 1024;

}  // namespace

void PackageNames::check_later(const std::string& path, const std::string& link) {
  const auto now = std::chrono::steady_clock::now();
  const auto task = std::make_shared<Task>();
  task->path = path;
  {
    const MutexLock lock(mutex_);
    std::erase_if(checks_, [&](const auto& each) {
      return each.second.task == nullptr && now - each.second.begun >= kCheckPause;
    });
    if (stopping_ || checks_.size() >= kMostChecks || !checks_.emplace(path, Check{task, now}).second) {
      return;
    }
  }
  try {
    checking_.add([this, task, link] { check_link(task, link); });
  } catch (const std::system_error& error) {
    log::debug("\"{}\" isn't checked: no thread can be started: {}", path, error.what());
    end_check(path);
  }
}

void PackageNames::check_link(const TaskPointer& task, const std::string& link) {
  {
    const MutexLock lock(mutex_);
    if (const auto check = checks_.find(task->path); check != checks_.end()) {
      check->second.begun = std::chrono::steady_clock::now();  // it may have waited for a free thread
    }
  }
  task->is_running = true;
  try {
    const Finding finding = find_link(*task, syntax_of_path(task->path), flags_, false);
    if (finding.link != link && link_changed_) {
      link_changed_(task->path, finding.link);
    }
  } catch (const std::exception& error) {
    log::debug("\"{}\" still leads to \"{}\": {}", task->path, link, error.what());
  }
  end_check(task->path);
}

void PackageNames::end_check(const std::string& path) {
  const MutexLock lock(mutex_);
  if (const auto check = checks_.find(path); check != checks_.end()) {
    check->second.task = nullptr;
  }
}

void PackageNames::end_late() {
  const auto now = std::chrono::steady_clock::now();
  std::vector<TaskPointer> late;
  {
    const MutexLock lock(mutex_);
    for (const auto& [path, check] : checks_) {
      if (check.task != nullptr && check.task->is_running && now - check.begun >= patience()) {
        late.push_back(check.task);
      }
    }
  }
  for (const TaskPointer& task : late) {
    task->running.cancel();
  }
}

}  // namespace pkgfs
