// SPDX-License-Identifier: MIT
#include "core/vfs/notice_queue.h"

#include <utility>

#include "core/vfs/live_nodes.h"

namespace pkgfs::vfs {
namespace {

using Item = NoticeQueue::Item;

/// The item that `prepare` has made, or none.
std::list<Item>& prepared() {
  static thread_local std::list<Item> item;
  return item;
}

std::list<Item> one_item() {
  std::list<Item> item;
  item.swap(prepared());
  if (item.empty()) {
    item.emplace_back();
  }
  return item;
}

}  // namespace

void NoticeQueue::prepare(std::size_t name_bytes) {
  std::list<Item>& item = prepared();
  if (item.empty()) {
    item.emplace_back();
  }
  item.front().notice.name.reserve(name_bytes);
}

void NoticeQueue::add(LiveNode& node) {
  std::list<Item> item = one_item();
  item.front().node = &node;
  item.front().notice.inode = inode_of(node);
  const MutexLock lock(mutex_);
  items_.splice(items_.end(), item);
}

void NoticeQueue::add(Notice notice) {
  std::list<Item> item = one_item();
  item.front().notice = std::move(notice);
  const MutexLock lock(mutex_);
  items_.splice(items_.end(), item);
}

bool NoticeQueue::add_below(std::size_t most, Inode inode, std::string_view name) {
  std::list<Item> item = one_item();
  item.front().notice.inode = inode;
  item.front().notice.name.assign(name);
  const MutexLock lock(mutex_);
  if (named_ >= most) {
    return false;
  }
  items_.splice(items_.end(), item);
  ++named_;
  return true;
}

std::list<Item> NoticeQueue::take() noexcept {
  std::list<Item> all;
  const MutexLock lock(mutex_);
  all.swap(items_);
  named_ = 0;
  return all;
}

}  // namespace pkgfs::vfs
