// SPDX-License-Identifier: MIT
#include "core/vfs/absent_names.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace pkgfs::vfs {
namespace {

constexpr std::size_t kHead = sizeof(Inode) + 1;

}  // namespace

void AbsentNames::lose() noexcept {
  bytes_[kHead - 1] = '\0';  // nothing follows
  used_ = kBytes + 1;
}

void AbsentNames::add(Inode directory, std::string_view name) noexcept {
  if (used_.load(std::memory_order_relaxed) > kBytes) {
    return;
  }
  const std::size_t size = kHead + name.size();
  const std::size_t at = used_.fetch_add(size, std::memory_order_relaxed);
  if (at + size > kBytes) {
    if (at + kHead <= kBytes) {
      bytes_[at + kHead - 1] = '\0';  // nothing follows
    }
    return;
  }
  std::memcpy(&bytes_[at], &directory, sizeof(directory));
  bytes_[at + kHead - 1] = static_cast<char>(static_cast<unsigned char>(name.size()));
  std::memcpy(&bytes_[at + kHead], name.data(), name.size());
}

bool AbsentNames::copy_to(std::vector<Absent>& names) const {
  const std::size_t used = used_.load(std::memory_order_relaxed);
  for (std::size_t at = 0; at + kHead <= std::min(used, kBytes);) {
    Absent absent{};
    std::memcpy(&absent.directory, &bytes_[at], sizeof(absent.directory));
    const std::size_t length = static_cast<unsigned char>(bytes_[at + kHead - 1]);
    if (length == 0 || at + kHead + length > kBytes) {
      break;
    }
    absent.name.assign(&bytes_[at + kHead], length);
    names.push_back(std::move(absent));
    at += kHead + length;
  }
  return used <= kBytes;
}

}  // namespace pkgfs::vfs
